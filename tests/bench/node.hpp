// A node in miniature: a bridge in a namespace of its own and two pods on it, one that connects and one that serves.
#pragma once

#include <cstdint>

#include "base/unique_fd.hpp"
#include "patu/netns.hpp"

namespace patu::test {

// How the pods' packets travel.
enum class Way : std::uint8_t {
  bridged,  // from pod to pod
  routed,   // through the node's own stack, where rules are: the pods' gateway
};

struct Node {
  Netns host;
  Netns client;
  Netns server;       // every backend's address is its own
  UniqueFd listener;  // there
};
Node make_node(Way way);

}  // namespace patu::test
