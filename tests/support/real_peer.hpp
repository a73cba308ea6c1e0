// Whom a socket really talks to, by /proc/net: getpeername(2) tells what its owner asked for.
#pragma once

#include <optional>

#include "patu/types.hpp"

namespace patu::test {

// In the caller's network namespace. Empty if the kernel's table has not the socket.
std::optional<Endpoint> real_peer(int socket_fd, Protocol protocol);

}  // namespace patu::test
