// Namespaces by the numbers that other namespaces know them by.
#pragma once

#include <cstdint>

#include "nl/socket.hpp"

namespace patu::nl {

// Whether the namespace that this number stands for (Link::peer_netnsid) still has users. What lived in one that has none is
// taken down some time later. Errors: io, timed_out, protocol.
Result<bool> is_netns_alive(Socket& socket, std::int32_t netnsid);

}  // namespace patu::nl
