// Running another CNI plugin, as section 4 of the specification has it: found in CNI_PATH, same environment, same configuration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cni {

struct Delegation {
  std::string type;                      // of the plugin: a file's name, no path
  std::string path;                      // CNI_PATH
  std::vector<std::string> environment;  // "KEY=value": the whole environment that the plugin gets
  std::string_view input;                // the configuration, on its standard input
};

// What it printed. Its standard error is the caller's. Its own error object becomes the Failure, code and text kept; a plugin
// that is not found, cannot be run, is killed or prints something else is a Failure that says so. Bounded: 1 MiB of output.
// In a multi-threaded process: no state of the caller's changes, no signal handler, every descriptor but 0 to 2 is closed.
std::string delegate(const Delegation& delegation);

}  // namespace cni
