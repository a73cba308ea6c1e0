// The node's own addresses in the map `addresses`: node ports, and external and host addresses, are served there.
#pragma once

#include <vector>

#include "nl/socket.hpp"
#include "services/store.hpp"

namespace patu::services {

// Makes the map have exactly the addresses that the namespace of `node`, a socket of it, has now; writes nothing if it has them.
// Puts right first what a dead writer left. Returns them, sorted.
// Errors: exhausted (the map is full; nothing was changed), busy (addresses change all the time), timed_out, io.
Result<std::vector<IpAddress>> refresh_node_addresses(Store& store, nl::Socket& node);

// The same if nobody has ever done so, or who did was killed half-way.
Result<> ensure_node_addresses(Store& store, nl::Socket& node);
// Whether a frontend of the service is served only where the address is the node's.
bool needs_node_addresses(const Service& service) noexcept;

}  // namespace patu::services
