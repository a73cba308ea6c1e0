// The bridge itself: made or found, given its gateways, and removed.
#include <net/if.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "names.hpp"
#include "network/node.hpp"
#include "network/router_advertisements.hpp"
#include "nl/addr.hpp"

namespace patu::network {
namespace {

constexpr std::chrono::seconds kAddressPatience{5};

// Follows from the gateway's address, so that it stays the same when the bridge is made anew; without one any, for there may be a
// bridge of the same name on the other side of an uplink.
Result<MacAddress> bridge_mac(const Node& node) {
  if (!node.pools.empty()) {
    const IpAddress& gateway = *node.pools.front().subnet().gateway;
    return gateway.is_v4() ? derived_mac(gateway, {}) : derived_mac({}, gateway);
  }
  MacAddress::Bytes bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return PATU_FAIL_ERRNO("getrandom");
  bytes[0] = kIdMacs;
  return MacAddress::from_bytes(bytes);
}

Result<bool> create_bridge(Node& node) {
  PATU_TRY_LET(mac, bridge_mac(node));
  nl::Request creation =
      nl::create_bridge({.name = node.options.bridge, .mac = mac, .mtu = node.options.mtu, .up = false});
  auto created = node.socket.call(creation);
  // Somebody who knows nothing of our lock may have been faster.
  if (!created && created.error().code() != Errc::already_exists) return fail(std::move(created.error()));
  return created.has_value();
}

Result<nl::Link> create_or_find_bridge(Node& node, bool& is_new) {
  PATU_TRY_LET(found, nl::find_link(node.socket, node.options.bridge));
  if (!found) {
    PATU_TRY_LET(created, create_bridge(node));
    is_new = created;
    PATU_TRY_LET(made, nl::find_link(node.socket, node.options.bridge));
    found = std::move(made);
  }
  if (!found) return fail(Errc::busy, "it was deleted while it was made");
  if (found->kind != "bridge") return fail(Errc::already_exists, "an interface of that name is no bridge");
  if (found->mtu != node.options.mtu)
    return fail(Errc::already_exists,
                "the bridge has an MTU of " + std::to_string(found->mtu) + ", not " + std::to_string(node.options.mtu));
  return std::move(*found);
}

using Addresses = std::vector<InterfaceAddress>;

bool has(const Addresses& all, const InterfaceAddress& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

Addresses wanted_addresses(const Node& node) {
  Addresses out;
  if (!node.options.gateway) return out;
  for (const ipam::Pool& pool : node.pools) out.push_back({*pool.subnet().gateway, pool.subnet().prefix.length()});
  return out;
}

// An interface may have IPv6 addresses of many networks; of two IPv4 ones it is not said which is the node's.
bool is_in_the_way(const InterfaceAddress& other, const Subnet& subnet) {
  if (other.address.is_v4() != subnet.prefix.is_v4() || other.address.is_link_local()) return false;
  if (other.address.is_v4() || subnet.prefix.contains(other.address)) return true;
  const auto on_link = Prefix::around(other.address, other.prefix_length);
  return on_link && on_link->contains(subnet.prefix.network());
}

// Errors: already_exists, unless the options say to take them off.
Result<Addresses> addresses_in_the_way(const Node& node, const Addresses& present, const Addresses& wanted) {
  Addresses out;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    for (const InterfaceAddress& other : present) {
      if (has(wanted, other) || has(out, other) || !is_in_the_way(other, node.pools[i].subnet())) continue;
      if (!node.options.force_gateway)
        return fail(Errc::already_exists, "the bridge has " + other.to_string() + ", not " + wanted[i].to_string());
      out.push_back(other);
    }
  return out;
}

// The kernel takes the others of an IPv4 prefix with the first one of it.
Result<> take_off(Node& node, const Addresses& addresses) {
  for (const InterfaceAddress& address : addresses) {
    nl::Request removal = nl::delete_address(node.bridge_ifindex, address);
    auto removed = node.socket.call(removal);
    if (!removed && removed.error().os_error() != EADDRNOTAVAIL)
      return fail(std::move(removed.error()).context("take " + address.to_string() + " off the bridge"));
  }
  return {};
}

Result<> put_gateways(Node& node, std::vector<nl::Request>& undo, const Addresses& present, const Addresses& others) {
  for (const InterfaceAddress& address : present)
    if (!others.empty()) undo.push_back(nl::add_address(node.bridge_ifindex, address));
  PATU_TRY(take_off(node, others));
  for (const InterfaceAddress& address : wanted_addresses(node)) {
    const bool is_new = !has(present, address);
    if (!is_new && others.empty()) continue;
    if (is_new) undo.push_back(nl::delete_address(node.bridge_ifindex, address));
    nl::Request request = nl::add_address(node.bridge_ifindex, address);
    PATU_TRY(node.socket.call(request), "give the bridge " + address.to_string());
    PATU_TRY(await_local(node.socket, address.address, kAddressPatience));
  }
  return {};
}

Result<> configure_bridge(Node& node, const nl::Link& bridge, std::vector<nl::Request>& undo) {
  const Addresses wanted = wanted_addresses(node);
  Addresses present, others;
  if (!wanted.empty()) {
    PATU_TRY_LET(listed, nl::list_addresses(node.socket, node.bridge_ifindex), "list the bridge's addresses");
    PATU_TRY_LET(in_the_way, addresses_in_the_way(node, listed, wanted));
    present = std::move(listed);
    others = std::move(in_the_way);
  }
  if ((bridge.flags & IFF_UP) == 0) {
    // From now on it would take routes from whoever announces some.
    PATU_TRY(refuse_router_advertisements(node));
    undo.push_back(nl::set_link_down(node.bridge_ifindex));
    nl::Request up = nl::set_link_up(node.bridge_ifindex);
    PATU_TRY(node.socket.call(up), "set the bridge up");
  }
  if (node.options.promiscuous && (bridge.flags & IFF_PROMISC) == 0) {
    undo.push_back(nl::set_link_promiscuous(node.bridge_ifindex, false));
    nl::Request promiscuous = nl::set_link_promiscuous(node.bridge_ifindex, true);
    PATU_TRY(node.socket.call(promiscuous), "make the bridge promiscuous");
  }
  return put_gateways(node, undo, present, others);
}

// Also those that lost the bridge.
Result<> refuse_if_attached(Node& node) {
  PATU_TRY_LET(ports, all_ports(node));
  for (const Port& port : ports)
    if (is_own(node, port) && stage_of(port.link) == Stage::attached)
      return fail(Errc::busy, port.record.id.to_string() + " is attached, with " + port.link.name);
  return {};
}

}  // namespace

Result<bool> open_bridge(Node& node, std::vector<nl::Request>& undo) {
  bool is_new = false;
  PATU_TRY_LET(bridge, create_or_find_bridge(node, is_new));
  node.bridge_ifindex = bridge.ifindex;
  node.bridge_mac = bridge.mac;
  if (is_new) undo.push_back(nl::delete_link(bridge.ifindex));
  PATU_TRY(configure_bridge(node, bridge, undo));
  return is_new;
}

Result<> put_excluded_ports(const Node& node, const std::vector<std::uint16_t>& ports) {
  if (!node.instance->redirect_loaded()) return {};
  std::set<std::uint16_t> wanted;
  for (const std::uint16_t port : ports) wanted.insert(static_cast<std::uint16_t>(port << 8 | port >> 8));
  if constexpr (std::endian::native == std::endian::big) wanted = {ports.begin(), ports.end()};
  const auto excluded = node.instance->excluded();
  std::vector<patu_port_key> stale;
  PATU_TRY(excluded.visit([&](const patu_port_key& key, const std::uint32_t&) -> Result<> {
    if (key.bridge_ifindex == node.bridge_ifindex && !wanted.contains(key.port)) stale.push_back(key);
    return {};
  }));
  for (const patu_port_key& key : stale) PATU_TRY(excluded.erase(key));
  for (const std::uint16_t port : wanted) PATU_TRY(excluded.put({node.bridge_ifindex, port, 0}, 1));
  return {};
}

Result<> remove_bridge(Node& node) {
  const std::string what = "remove network " + node.options.bridge.to_string();
  PATU_TRY_LET(lock, node.instance->lock_ports(), what);
  PATU_TRY_LET(shards, node.instance->lock_shards(), what);
  PATU_TRY(check_claim(node), what);
  PATU_TRY(refuse_if_attached(node), what);
  PATU_TRY_LET(bridge, nl::find_link(node.socket, node.options.bridge), what);
  // One of that name that was made later is another's, unless nothing was known of one.
  const bool is_ours = bridge && (node.bridge_ifindex == 0 || bridge->ifindex == node.bridge_ifindex);
  if (is_ours && bridge->kind == "bridge") {
    PATU_TRY_LET(ports, nl::list_links(node.socket, bridge->ifindex), what);
    if (!ports.empty())
      return fail(Errc::busy, what + ": " + std::to_string(ports.size()) + " interfaces are on the bridge, such as " +
                                  ports.front().name);
    nl::Request removal = nl::delete_link(bridge->ifindex);
    auto removed = node.socket.call(removal);
    if (!removed && removed.error().code() != Errc::not_found) return fail(std::move(removed.error()).context(what));
  }
  PATU_TRY(put_excluded_ports(node, {}), what);
  return {};
}

}  // namespace patu::network
