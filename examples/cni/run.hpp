// One call of the plugin, from environment and input to what it prints: what the program and the library have in common.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cni {

struct Outcome {
  int status = 0;       // the exit status: 0, or 1 with an error object as the output
  std::string output;   // for standard output
  std::string remarks;  // for people, on standard error
};

// `role` is the name that the plugin was called by, or a path that ends with it: host-local and loopback are what they say,
// everything else is the bridge. `environment` is of "KEY=value". Never throws but for want of memory.
Outcome run(std::string_view role, std::span<const std::string> environment, std::string_view input);

// The answer where there is no input to run() with.
Outcome unreadable(int error_number);

// What a plugin says that is called without a command.
std::string about(std::string_view role);

}  // namespace cni
