// What a runtime asks for: the command and its parameters, as the environment has them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <patu/types.hpp>

namespace cni {

enum class Command { add, del, check, gc, status, version };

// What CNI_ARGS may say to this plugin; the last of a key counts.
struct Arguments {
  std::optional<patu::IpAddress> ip = {};
  std::optional<patu::MacAddress> mac = {};
};

struct Request {
  Command command = Command::version;
  std::optional<patu::AttachmentId> id = {};  // set for ADD, DEL and CHECK
  std::string netns;                          // a path; empty with DEL: it is gone
  std::string path;                           // CNI_PATH
  bool own_netns_allowed = false;             // CNI_NETNS_OVERRIDE
  Arguments arguments;
  std::vector<std::string> environment;  // all of it, for a delegated plugin
};

// Of an environment as "KEY=value"; the first of a key counts, as with getenv(3).
std::string_view variable(std::span<const std::string> environment, std::string_view name);

// All that is missing is named in one message. Throws Failure.
Request parse_request(std::span<const std::string> environment);

// ^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$: container ids and the names of networks.
bool is_identifier(std::string_view text);

}  // namespace cni
