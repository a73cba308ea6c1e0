// A network in the sandbox, and what the kernel says about it by other ways than the library.
#pragma once

#include <string>
#include <vector>

#include "instance.hpp"

namespace patu::test {

NetworkOptions network_options(const char* bridge = "patu0", const char* v4 = "10.200.0.0/24",
                               const char* v6 = "fd00:200::/64");

// What there is, counted by ip(8) and by raw bpf(2) calls.
struct Census {
  std::size_t interfaces = 0;  // of the test's namespace, all of them
  std::size_t leases = 0;
  std::size_t attachments = 0;
  std::size_t pods = 0;
  std::size_t descriptors = 0;
  std::size_t threads = 0;

  static Census take();
  bool operator==(const Census&) const = default;
};
std::string to_string(const Census& census);

// The instance and the network are gone after the test, and with them all that a test left on the bridge.
struct NetworkFixture : InstanceFixture {
  NetworkOptions network_options_;
  Network network;

  explicit NetworkFixture(const NetworkOptions& wanted = network_options(),
                          const DatapathOptions& instance = datapath_options());
  ~NetworkFixture();

  Attachment attach(const std::string& container, const Netns& pod) {
    return must(network.attach({id(container), &pod}));
  }
};

// The namespace of the test, where the bridge is.
inline Netns here() { return must(Netns::current()); }
// Nothing is to be said about any attachment.
void check_well(const Network& network);

std::size_t count_of(const std::string& text, const std::string& part);

// Creates that many namespaces.
std::vector<Netns> make_pods(std::size_t count);

// Whether one datagram from a namespace arrives in the other, with no second try.
bool reaches(const Netns& from, const Netns& to, const IpAddress& address);

}  // namespace patu::test
