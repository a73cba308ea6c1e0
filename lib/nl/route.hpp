// Routes and neighbours.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nl/socket.hpp"
#include "patu/types.hpp"

namespace patu::nl {

struct Route {
  std::optional<Prefix> destination;  // empty: default
  std::optional<IpAddress> gateway;
  std::uint32_t ifindex = 0;
};

// A default route of the gateway's family in the main table, RTPROT_STATIC. Fails with already_exists if there is one.
Request add_default_route(std::uint32_t ifindex, const IpAddress& gateway);

// Routes of the main table. Errors: io, timed_out, protocol.
Result<std::vector<Route>> list_routes(Socket& socket);

// Whether packets for the address are taken in, in the socket's namespace. An IPv6 address becomes local some time after it was
// added, by a work item of the kernel's, also with IFA_F_NODAD. Errors: io, timed_out, protocol.
Result<bool> is_local(Socket& socket, const IpAddress& address);

// Makes the neighbour table of a link say so from now on: NUD_STALE, replacing whatever was learnt before, so that the
// entry is checked when it is used and no lie can stay.
Request set_neighbour(std::uint32_t ifindex, const IpAddress& address, const MacAddress& mac);
Request delete_neighbour(std::uint32_t ifindex, const IpAddress& address);

}  // namespace patu::nl
