// What contenders do: connect by TCP or UDP, or send a datagram, and be timed.
#pragma once

#include <functional>

#include "contest.hpp"
#include "patu/types.hpp"

namespace patu::test {

using Target = std::function<Endpoint()>;  // where to go next

// Ways to prepare a contender.
std::function<Sample()> tcp_connects(const Target& target, int listener_fd);
std::function<Sample()> udp_connects(const Target& target);
std::function<Sample()> udp_sends_from_one_socket(const Target& target);
std::function<Sample()> udp_sends_from_new_sockets(const Target& target);

}  // namespace patu::test
