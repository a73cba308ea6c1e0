// RTM_NEWLINK and its siblings.
#include "nl/link.hpp"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/try.hpp"

namespace patu::nl {
namespace {

ifinfomsg header_for(std::uint32_t ifindex) noexcept {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(ifindex);
  return header;
}

Request set_flags(std::uint32_t ifindex, std::uint32_t flags, std::uint32_t which = IFF_UP) noexcept {
  ifinfomsg header = header_for(ifindex);
  header.ifi_flags = flags;
  header.ifi_change = which;
  return Request(RTM_SETLINK, 0, header);
}

// More than one queue makes veth wait for a synchronize_net().
void put_one_queue(Request& request) noexcept {
  request.put<std::uint32_t>(IFLA_NUM_TX_QUEUES, 1).put<std::uint32_t>(IFLA_NUM_RX_QUEUES, 1);
}

// Statistics are two thirds of a link's message, and nobody here reads them.
Request& skip_statistics(Request& request) noexcept {
  return request.put<std::uint32_t>(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

template <class T>
Result<> read(const AttrRange& attributes, std::uint16_t type, T& out) {
  if (const auto attr = attributes.find(type)) {
    PATU_TRY_LET(value, attr->as<T>());
    out = value;
  }
  return {};
}

Result<> read(const AttrRange& attributes, std::uint16_t type, std::string& out) {
  if (const auto attr = attributes.find(type)) {
    PATU_TRY_LET(text, attr->string());
    out = text;
  }
  return {};
}

Result<> read(const AttrRange& attributes, std::uint16_t type, bool& out) {
  std::uint8_t value = 0;
  PATU_TRY(read(attributes, type, value));
  out = value != 0;
  return {};
}

Result<> read_kind(const AttrRange& linkinfo, Link& link) {
  PATU_TRY(read(linkinfo, IFLA_INFO_KIND, link.kind), "IFLA_INFO_KIND");
  std::string master;
  PATU_TRY(read(linkinfo, IFLA_INFO_SLAVE_KIND, master), "IFLA_INFO_SLAVE_KIND");
  const auto port = linkinfo.find(IFLA_INFO_SLAVE_DATA);
  if (master != "bridge" || !port) return {};
  PATU_TRY(read(AttrRange(*port), IFLA_BRPORT_MODE, link.hairpin), "IFLA_BRPORT_MODE");
  PATU_TRY(read(AttrRange(*port), IFLA_BRPORT_ISOLATED, link.isolated), "IFLA_BRPORT_ISOLATED");
  return {};
}

Result<std::optional<Link>> find(Socket& socket, Request request) {
  std::optional<Link> out;
  auto result = socket.batch({&request, 1}, [&](std::size_t, const Message& message) -> Result<> {
    PATU_TRY_LET(link, parse_link(message));
    out = std::move(link);
    return {};
  });
  if (result) return out;
  Error error = std::move(result.error().error);
  if (error.os_error() == ENODEV) return std::nullopt;
  return fail(std::move(error));
}

}  // namespace

Request create_veth(const VethSpec& spec) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  request.put_string(IFLA_IFNAME, spec.name.view()).put_mac(IFLA_ADDRESS, spec.mac).put(IFLA_MTU, spec.mtu);
  if (spec.master != 0) request.put(IFLA_MASTER, spec.master);
  put_one_queue(request);
  const auto peer = [&] {
    request.put_raw(ifinfomsg{});
    request.put_string(IFLA_IFNAME, spec.peer_name.view());
    request.put_mac(IFLA_ADDRESS, spec.peer_mac).put(IFLA_MTU, spec.mtu);
    if (spec.peer_netns_fd >= 0) request.put(IFLA_NET_NS_FD, spec.peer_netns_fd);
    put_one_queue(request);
  };
  return request.nest(IFLA_LINKINFO, [&] {
    request.put_string(IFLA_INFO_KIND, "veth");
    request.nest(IFLA_INFO_DATA, [&] { request.nest(VETH_INFO_PEER, peer); });
  });
}

Request create_bridge(const BridgeSpec& spec) {
  ifinfomsg header{};
  header.ifi_flags = spec.up ? IFF_UP : 0;
  header.ifi_change = IFF_UP;
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, header);
  request.put_string(IFLA_IFNAME, spec.name.view()).put_mac(IFLA_ADDRESS, spec.mac).put(IFLA_MTU, spec.mtu);
  return request.nest(IFLA_LINKINFO, [&] { request.put_string(IFLA_INFO_KIND, "bridge"); });
}

Request delete_link(std::uint32_t ifindex) { return Request(RTM_DELLINK, 0, header_for(ifindex)); }

Request delete_link(const IfName& name) {
  return Request(RTM_DELLINK, 0, ifinfomsg{}).put_string(IFLA_IFNAME, name.view());
}

Request delete_link_group(std::uint32_t group) { return Request(RTM_DELLINK, 0, ifinfomsg{}).put(IFLA_GROUP, group); }

Request set_link_up(std::uint32_t ifindex) { return set_flags(ifindex, IFF_UP); }

Request set_link_up(const IfName& name) { return set_flags(0, IFF_UP).put_string(IFLA_IFNAME, name.view()); }

Request set_announcing_link_up(std::uint32_t ifindex) {
  Request request = set_flags(ifindex, IFF_UP);
  const auto settings = [&] { request.put<std::uint32_t>(IPV4_DEVCONF_ARP_NOTIFY, 1); };
  return request.nest(IFLA_AF_SPEC, [&] { request.nest(AF_INET, [&] { request.nest(IFLA_INET_CONF, settings); }); });
}

Request set_link_down(std::uint32_t ifindex) { return set_flags(ifindex, 0); }

Request set_link_alias(const IfName& name, std::string_view alias) {
  // Without the zero: the kernel stores what it gets, and counts a zero towards its limit of 255.
  return Request(RTM_SETLINK, 0, ifinfomsg{})
      .put_string(IFLA_IFNAME, name.view())
      .put_bytes(IFLA_IFALIAS, std::as_bytes(std::span(alias)));
}

Request set_link_group(std::uint32_t ifindex, std::uint32_t group) {
  return Request(RTM_SETLINK, 0, header_for(ifindex)).put(IFLA_GROUP, group);
}

Request set_link_master(std::uint32_t ifindex, std::uint32_t master) {
  return Request(RTM_SETLINK, 0, header_for(ifindex)).put(IFLA_MASTER, master);
}

Request set_link_promiscuous(std::uint32_t ifindex, bool promiscuous) {
  return set_flags(ifindex, promiscuous ? IFF_PROMISC : 0, IFF_PROMISC);
}

Request set_port_modes(std::uint32_t ifindex, bool hairpin, bool isolated) {
  ifinfomsg header = header_for(ifindex);
  header.ifi_family = AF_BRIDGE;
  Request request(RTM_SETLINK, 0, header);
  return request.nest(IFLA_PROTINFO, [&] {
    request.put<std::uint8_t>(IFLA_BRPORT_MODE, hairpin).put<std::uint8_t>(IFLA_BRPORT_ISOLATED, isolated);
  });
}

Request set_link_eui64(const IfName& name) {
  Request request(RTM_SETLINK, 0, ifinfomsg{});
  request.put_string(IFLA_IFNAME, name.view());
  return request.nest(IFLA_AF_SPEC, [&] {
    request.nest(AF_INET6, [&] { request.put<std::uint8_t>(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_EUI64); });
  });
}

Request get_link(const IfName& name) {
  Request request(RTM_GETLINK, 0, ifinfomsg{});
  return skip_statistics(request).put_string(IFLA_IFNAME, name.view());
}

Request get_link(std::uint32_t ifindex) {
  Request request(RTM_GETLINK, 0, header_for(ifindex));
  return skip_statistics(request);
}

Result<Link> parse_link(const Message& message) {
  if (message.type() != RTM_NEWLINK) return fail(Errc::protocol, "netlink answer is not a link");
  PATU_TRY_LET(header, message.body<ifinfomsg>());
  const AttrRange attributes = message.attributes(sizeof(ifinfomsg));
  Link link;
  link.ifindex = static_cast<std::uint32_t>(header.ifi_index);
  link.flags = header.ifi_flags;
  PATU_TRY(read(attributes, IFLA_IFNAME, link.name), "IFLA_IFNAME");
  PATU_TRY(read(attributes, IFLA_IFALIAS, link.alias), "IFLA_IFALIAS");
  PATU_TRY(read(attributes, IFLA_MTU, link.mtu), "IFLA_MTU");
  PATU_TRY(read(attributes, IFLA_MASTER, link.master), "IFLA_MASTER");
  PATU_TRY(read(attributes, IFLA_GROUP, link.group), "IFLA_GROUP");
  PATU_TRY(read(attributes, IFLA_LINK, link.peer_ifindex), "IFLA_LINK");
  PATU_TRY(read(attributes, IFLA_LINK_NETNSID, link.peer_netnsid), "IFLA_LINK_NETNSID");
  PATU_TRY(read(attributes, IFLA_CARRIER, link.carrier), "IFLA_CARRIER");
  // A tunnel's hardware address has 4 or 16 bytes; it is not a MAC.
  const auto mac = attributes.find(IFLA_ADDRESS);
  if (mac && mac->payload().size() == sizeof(MacAddress::Bytes)) {
    PATU_TRY_LET(value, mac->mac());
    link.mac = value;
  }
  if (const auto linkinfo = attributes.find(IFLA_LINKINFO)) PATU_TRY(read_kind(AttrRange(*linkinfo), link));
  return link;
}

Result<std::optional<Link>> find_link(Socket& socket, const IfName& name) { return find(socket, get_link(name)); }

Result<std::optional<Link>> find_link(Socket& socket, std::uint32_t ifindex) { return find(socket, get_link(ifindex)); }

Result<std::vector<Link>> list_links(Socket& socket, std::uint32_t master) {
  Request request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  skip_statistics(request);
  if (master != 0) request.put(IFLA_MASTER, master);
  std::vector<Link> out;
  const auto on_message = [&](const Message& message) -> Result<> {
    PATU_TRY_LET(link, parse_link(message));
    out.push_back(std::move(link));
    return {};
  };
  PATU_TRY(socket.dump(request, on_message, [&] { out.clear(); }));
  return out;
}

}  // namespace patu::nl
