// RTM_NEWROUTE, RTM_NEWNEIGH and their siblings.
#include "nl/route.hpp"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/try.hpp"

namespace patu::nl {
namespace {

std::uint8_t family_of(const IpAddress& address) noexcept { return address.is_v4() ? AF_INET : AF_INET6; }

ndmsg neighbour_header(std::uint32_t ifindex, const IpAddress& address) noexcept {
  ndmsg header{};
  header.ndm_family = family_of(address);
  header.ndm_ifindex = static_cast<int>(ifindex);
  return header;
}

// The table as a number beyond 255 is in RTA_TABLE; the header then says RT_TABLE_COMPAT.
Result<std::uint32_t> table_of(const rtmsg& header, const AttrRange& attributes) {
  const auto table = attributes.find(RTA_TABLE);
  if (!table) return header.rtm_table;
  return table->as<std::uint32_t>();
}

Result<> read(const AttrRange& attributes, std::uint16_t type, std::uint32_t& out) {
  if (const auto attr = attributes.find(type)) {
    PATU_TRY_LET(value, attr->as<std::uint32_t>());
    out = value;
  }
  return {};
}

Result<Prefix> destination_of(const rtmsg& header, const AttrRange& attributes) {
  IpAddress network = header.rtm_family == AF_INET ? IpAddress::v4(0, 0, 0, 0) : IpAddress();
  if (const auto attr = attributes.find(RTA_DST)) {
    PATU_TRY_LET(address, attr->address());
    network = address;
  }
  return Prefix::make(network, header.rtm_dst_len);
}

Result<Route> parse_route(const rtmsg& header, const AttrRange& attributes) {
  PATU_TRY_LET(destination, destination_of(header, attributes), "RTA_DST");
  Route route{destination};
  route.scope = header.rtm_scope;
  if (const auto attr = attributes.find(RTA_GATEWAY)) {
    PATU_TRY_LET(gateway, attr->address(), "RTA_GATEWAY");
    route.gateway = gateway;
  }
  PATU_TRY_LET(table, table_of(header, attributes), "RTA_TABLE");
  route.table = table;
  PATU_TRY(read(attributes, RTA_OIF, route.ifindex), "RTA_OIF");
  PATU_TRY(read(attributes, RTA_PRIORITY, route.priority), "RTA_PRIORITY");
  if (const auto metrics = attributes.find(RTA_METRICS)) {
    PATU_TRY(read(AttrRange(*metrics), RTAX_MTU, route.mtu), "RTAX_MTU");
    PATU_TRY(read(AttrRange(*metrics), RTAX_ADVMSS, route.advmss), "RTAX_ADVMSS");
  }
  return route;
}

}  // namespace

Request add_route(const Route& route) {
  rtmsg header{};
  header.rtm_family = family_of(route.destination.network());
  header.rtm_dst_len = static_cast<unsigned char>(route.destination.length());
  header.rtm_table = route.table == 0 ? RT_TABLE_MAIN : RT_TABLE_UNSPEC;
  header.rtm_protocol = RTPROT_STATIC;
  header.rtm_scope = route.scope;
  header.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header);
  if (route.destination.length() != 0) request.put_address(RTA_DST, route.destination.network());
  if (route.gateway) request.put_address(RTA_GATEWAY, *route.gateway);
  request.put(RTA_OIF, route.ifindex);
  if (route.table != 0) request.put(RTA_TABLE, route.table);
  if (route.priority != 0) request.put(RTA_PRIORITY, route.priority);
  if (route.mtu == 0 && route.advmss == 0) return request;
  return request.nest(RTA_METRICS, [&] {
    if (route.mtu != 0) request.put(RTAX_MTU, route.mtu);
    if (route.advmss != 0) request.put(RTAX_ADVMSS, route.advmss);
  });
}

Result<std::vector<Route>> list_routes(Socket& socket) {
  Request request(RTM_GETROUTE, NLM_F_DUMP, rtmsg{});
  std::vector<Route> out;
  const auto on_message = [&](const Message& message) -> Result<> {
    if (message.type() != RTM_NEWROUTE) return fail(Errc::protocol, "netlink answer is not a route");
    PATU_TRY_LET(header, message.body<rtmsg>());
    const bool ip = header.rtm_family == AF_INET || header.rtm_family == AF_INET6;
    if (header.rtm_type != RTN_UNICAST || !ip) return {};
    PATU_TRY_LET(route, parse_route(header, message.attributes(sizeof(rtmsg))));
    out.push_back(route);
    return {};
  };
  PATU_TRY(socket.dump(request, on_message, [&] { out.clear(); }));
  return out;
}

Result<bool> is_local(Socket& socket, const IpAddress& address) {
  rtmsg header{};
  header.rtm_family = family_of(address);
  header.rtm_dst_len = address.is_v4() ? 32 : 128;
  Request request(RTM_GETROUTE, 0, header);
  request.put_address(RTA_DST, address);
  bool local = false;
  const auto on_reply = [&](std::size_t, const Message& message) -> Result<> {
    PATU_TRY_LET(route, message.body<rtmsg>());
    local = message.type() == RTM_NEWROUTE && route.rtm_type == RTN_LOCAL;
    return {};
  };
  auto answered = socket.batch({&request, 1}, on_reply);
  if (answered) return local;
  const int error = answered.error().error.os_error();
  if (error == ENETUNREACH || error == EHOSTUNREACH) return false;
  return fail(std::move(answered.error().error));
}

Request set_neighbour(std::uint32_t ifindex, const IpAddress& address, const MacAddress& mac) {
  ndmsg header = neighbour_header(ifindex, address);
  header.ndm_state = NUD_STALE;
  Request request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, header);
  return request.put_address(NDA_DST, address).put_mac(NDA_LLADDR, mac);
}

Request delete_neighbour(std::uint32_t ifindex, const IpAddress& address) {
  return Request(RTM_DELNEIGH, 0, neighbour_header(ifindex, address)).put_address(NDA_DST, address);
}

}  // namespace patu::nl
