// Routes and neighbours.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nl/socket.hpp"
#include "patu/types.hpp"

namespace patu::nl {

struct Route {
  Prefix destination;
  std::optional<IpAddress> gateway = {};
  std::uint32_t ifindex = 0;
  std::uint32_t table = 0;     // 0: the main table, in requests only
  std::uint32_t priority = 0;  // 0: the kernel's default, which in IPv6 it tells as 1024
  std::uint32_t mtu = 0;       // 0: none of its own
  std::uint32_t advmss = 0;
  std::uint8_t scope = 0;  // in IPv6 always universe

  bool operator==(const Route&) const noexcept = default;
};

// A unicast route, RTPROT_STATIC. Fails with already_exists if there is one of the same destination, table and priority: without
// NLM_F_EXCL an IPv4 route would come before that one, and an IPv6 route make a multipath route of both.
Request add_route(const Route& route);

// Unicast routes of all tables. Errors: io, timed_out, protocol.
Result<std::vector<Route>> list_routes(Socket& socket);

// Whether packets for the address are taken in, in the socket's namespace. An IPv6 address becomes local some time after it was
// added, by a work item of the kernel's, also with IFA_F_NODAD. Errors: io, timed_out, protocol.
Result<bool> is_local(Socket& socket, const IpAddress& address);

// Makes the neighbour table of a link say so from now on: NUD_STALE, replacing whatever was learnt before, so that the
// entry is checked when it is used and no lie can stay.
Request set_neighbour(std::uint32_t ifindex, const IpAddress& address, const MacAddress& mac);
Request delete_neighbour(std::uint32_t ifindex, const IpAddress& address);

}  // namespace patu::nl
