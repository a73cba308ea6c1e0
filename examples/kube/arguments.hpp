// The command line of patu-kube.
#pragma once

#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <patu/patu.hpp>

namespace kube {

enum class Command { help, apply, list, explain, remove };

struct Arguments {
  Command command = Command::help;
  patu::DatapathOptions datapath;
  bool json = false;
  // apply
  std::string file;
  std::string node;      // default: the host's name
  bool dry_run = false;  // also delete
  bool allow_empty = false;
  bool node_ports_on_loopback = false;
  bool reserve_node_ports = false;
  // list, delete: namespace/name[:port]
  std::vector<std::string> names;
  bool all = false;
  // explain
  patu::Endpoint to;
  patu::Protocol protocol = patu::Protocol::tcp;
  std::string netns;
};

// What is wrong with the command line.
class Misuse final : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Without the program's own name. Throws Misuse.
Arguments parse_arguments(std::span<const char* const> words);
const char* help_text() noexcept;

}  // namespace kube
