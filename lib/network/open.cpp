// Opening a network: its bridge is made or adopted, and what the maps have lost is put back.
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/rollback.hpp"
#include "names.hpp"
#include "network/node.hpp"
#include "nl/addr.hpp"

namespace patu::network {
namespace {

constexpr std::chrono::seconds kAddressPatience{5};

constexpr std::uint32_t kMinMtu = 68;      // RFC 791
constexpr std::uint32_t kMinMtuV6 = 1280;  // RFC 8200
constexpr std::uint32_t kMaxMtu = 65535;

Result<std::vector<ipam::Pool>> open_pools(const Datapath& datapath, const std::vector<Subnet>& subnets) {
  std::vector<ipam::Pool> pools;
  for (const Subnet& subnet : subnets) {
    PATU_TRY_LET(pool, ipam::Pool::open(datapath.instance(), subnet));
    pools.push_back(std::move(pool));
  }
  const auto v4 = std::stable_partition(pools.begin(), pools.end(),
                                        [](const ipam::Pool& one) { return one.subnet().prefix.is_v4(); });
  if (pools.empty()) return fail(Errc::invalid_argument, "a network needs a subnet");
  if (v4 - pools.begin() > 1 || pools.end() - v4 > 1)
    return fail(Errc::invalid_argument, "a network has at most one subnet of each family");
  return pools;
}

Result<> check_options(const Datapath& datapath, const NetworkOptions& options, bool v6) {
  const std::uint32_t min = v6 ? kMinMtuV6 : kMinMtu;
  if (options.mtu < min || options.mtu > kMaxMtu)
    return fail(Errc::invalid_argument, "MTU " + std::to_string(options.mtu) + " is not within " + std::to_string(min) +
                                            " and " + std::to_string(kMaxMtu));
  if (options.default_route && !options.gateway)
    return fail(Errc::invalid_argument, "a default route needs the gateway on the bridge");
  const auto& ports = options.redirect_excluded_ports;
  if (std::find(ports.begin(), ports.end(), 0) != ports.end())
    return fail(Errc::invalid_argument, "port 0 cannot be excluded");
  if (options.socket_redirect && !datapath.instance()->redirect_loaded())
    return fail(Errc::unsupported, "socket redirection is not loaded (DatapathOptions::socket_redirect)");
  return {};
}

Result<Node> make_node(const Datapath& datapath, const NetworkOptions& options) {
  PATU_TRY_LET(pools, open_pools(datapath, options.subnets));
  PATU_TRY(check_options(datapath, options, !pools.back().subnet().prefix.is_v4()));
  PATU_TRY_LET(netns, options.netns != nullptr ? Netns::from_fd(options.netns->fd()) : Netns::current());
  PATU_TRY_LET(socket, options.netns != nullptr ? nl::Socket::open_in(netns.fd()) : nl::Socket::open());
  const std::uint32_t tag = instance_tag(datapath.instance()->directory());
  return Node{datapath.instance(),
              options.bridge,
              0,
              options.mtu,
              options.gateway,
              options.default_route,
              options.socket_redirect,
              std::move(pools),
              std::move(netns),
              std::move(socket),
              tag};
}

// An instance's maps know interfaces by their index, which means something in one namespace only.
Result<> claim_instance(const Node& node) {
  PATU_TRY_LET(meta, node.instance->meta());
  const std::uint64_t cookie = node.socket.netns_cookie();
  if (cookie == 0 || meta.netns_cookie == cookie) return {};
  // Who attaches a pod now has either written its entries or will see the new claim.
  PATU_TRY_LET(shards, node.instance->lock_shards());
  bool used = false;
  PATU_TRY(node.instance->pods().visit([&](const patu_addr&, const patu_pod&) -> Result<> {
    used = true;
    return {};
  }));
  if (used && meta.netns_cookie != 0)
    return fail(Errc::busy, node.instance->directory() + " has pods whose bridge is in another network namespace");
  meta.netns_cookie = cookie;
  return node.instance->put_meta(meta);
}

struct Bridge {
  nl::Link link;
  bool is_new;
};

Result<Bridge> create_or_find_bridge(Node& node) {
  PATU_TRY_LET(found, nl::find_link(node.socket, node.bridge));
  bool is_new = false;
  if (!found) {
    const IpAddress& gateway = *node.pools.front().subnet().gateway;
    const MacAddress mac = gateway.is_v4() ? derived_mac(gateway, {}) : derived_mac({}, gateway);
    nl::Request creation = nl::create_bridge({node.bridge, mac, node.mtu});
    auto created = node.socket.call(creation);
    // Somebody who knows nothing of our lock may have been faster.
    if (!created && created.error().code() != Errc::already_exists) return fail(std::move(created.error()));
    is_new = created.has_value();
    PATU_TRY_LET(made, nl::find_link(node.socket, node.bridge));
    found = std::move(made);
  }
  if (!found) return fail(Errc::busy, "it was deleted while it was made");
  if (found->kind != "bridge") return fail(Errc::already_exists, "an interface of that name is no bridge");
  if (found->mtu != node.mtu)
    return fail(Errc::already_exists,
                "the bridge has an MTU of " + std::to_string(found->mtu) + ", not " + std::to_string(node.mtu));
  return Bridge{std::move(*found), is_new};
}

bool is_family_of(const InterfaceAddress& address, const Subnet& subnet) noexcept {
  return address.address.is_v4() == subnet.prefix.is_v4() && !address.address.is_link_local();
}

Result<> put_gateway(Node& node, const Subnet& subnet, const std::vector<InterfaceAddress>& present) {
  const InterfaceAddress wanted{*subnet.gateway, subnet.prefix.length()};
  if (std::find(present.begin(), present.end(), wanted) != present.end()) return {};
  const auto other =
      std::find_if(present.begin(), present.end(), [&](const auto& one) { return is_family_of(one, subnet); });
  if (other != present.end())
    return fail(Errc::already_exists, "the bridge has " + other->to_string() + ", not " + wanted.to_string());
  nl::Request request = nl::add_address(node.bridge_ifindex, wanted);
  PATU_TRY(node.socket.call(request), "give the bridge " + wanted.to_string());
  return await_local(node.socket, wanted.address, kAddressPatience);
}

Result<> configure_bridge(Node& node, const nl::Link& bridge) {
  if ((bridge.flags & IFF_UP) == 0) {
    nl::Request up = nl::set_link_up(node.bridge_ifindex);
    PATU_TRY(node.socket.call(up), "set the bridge up");
  }
  if (!node.gateway) return {};
  PATU_TRY_LET(addresses, nl::list_addresses(node.socket, node.bridge_ifindex), "list the bridge's addresses");
  for (const ipam::Pool& pool : node.pools) PATU_TRY(put_gateway(node, pool.subnet(), addresses));
  return {};
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

// Ports of all bridges: they run the program of an earlier build, the maps were lost with their file system, or the ports lost
// their bridge.
Result<> adopt_ports(Node& node, bool bridge_is_new) {
  PATU_TRY_LET(meta, node.instance->meta());
  if (meta.ports_build == meta.build[PATU_COMPONENT_POD] && !bridge_is_new) return {};
  PATU_TRY_LET(shards, node.instance->lock_shards());
  PATU_TRY_LET(ports, all_ports(node));
  for (const Port& port : ports) {
    if (stage_of(port.link) != Stage::attached) continue;
    auto restored = restore_port(node, port);
    if (!restored && restored.error().code() == Errc::already_exists) continue;
    PATU_TRY(std::move(restored), "adopt " + port.record.id.to_string());
  }
  meta.ports_build = meta.build[PATU_COMPONENT_POD];
  return node.instance->put_meta(meta);
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

Result<Node> open_node(const Datapath& datapath, const NetworkOptions& options) {
  const std::string what = "open network " + options.bridge.to_string();
  PATU_TRY_LET(node, make_node(datapath, options), what);
  PATU_TRY_LET(lock, node.instance->lock_ports(), what);
  PATU_TRY(claim_instance(node), what);
  PATU_TRY_LET(bridge, create_or_find_bridge(node), what);
  node.bridge_ifindex = bridge.link.ifindex;
  Rollback undo([&] {
    if (!bridge.is_new) return;
    nl::Request removal = nl::delete_link(node.bridge_ifindex);
    (void)node.socket.call(removal);
  });
  PATU_TRY(configure_bridge(node, bridge.link), what);
  PATU_TRY(put_excluded_ports(node, options.redirect_excluded_ports), what + ": excluded ports");
  PATU_TRY(adopt_ports(node, bridge.is_new), what);
  undo.commit();
  return std::move(node);
}

Result<> remove_bridge(Node& node) {
  const std::string what = "remove network " + node.bridge.to_string();
  PATU_TRY_LET(lock, node.instance->lock_ports(), what);
  PATU_TRY_LET(shards, node.instance->lock_shards(), what);
  PATU_TRY(check_claim(node), what);
  PATU_TRY(refuse_if_attached(node), what);
  PATU_TRY_LET(bridge, nl::find_link(node.socket, node.bridge_ifindex), what);
  if (bridge && bridge->kind == "bridge" && bridge->name == node.bridge.view()) {
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
