// Fills in what a route leaves open, as ip(8) would.
#include "network/routes.hpp"

#include <linux/rtnetlink.h>

#include <algorithm>

#include "network/options.hpp"

namespace patu::network {
namespace {

// What the kernel cuts larger ones down to (ip_metrics_convert).
constexpr std::uint32_t kMaxAdvmss = 65535 - 40;
constexpr std::uint32_t kMaxRouteMtu = 65535 - 15;
constexpr std::uint32_t kDefaultPriorityV6 = 1024;  // IP6_RT_PRIO_USER

std::uint32_t table_of(const Route& route) noexcept { return route.table == 0 ? RT_TABLE_MAIN : route.table; }

std::uint32_t priority_of(const Route& route) noexcept {
  return route.priority == 0 && !route.destination.is_v4() ? kDefaultPriorityV6 : route.priority;
}

// With such a scope a route has no gateway: the kernel refuses both at once.
bool is_narrow(const Route& route) noexcept { return route.scope.value_or(RT_SCOPE_UNIVERSE) >= RT_SCOPE_LINK; }

bool is_same_place(const Route& one, const Route& other) noexcept {
  return one.destination == other.destination && table_of(one) == table_of(other) &&
         priority_of(one) == priority_of(other);
}

Result<> check_gateway(const Route& route, std::span<const ipam::Pool> pools) {
  const bool v4 = route.destination.is_v4();
  if (!route.gateway) {
    const bool has_subnet = std::any_of(pools.begin(), pools.end(),
                                        [&](const ipam::Pool& pool) { return pool.subnet().prefix.is_v4() == v4; });
    if (route.scope && !is_narrow(route) && !has_subnet)
      return fail(Errc::invalid_argument, "a route of this scope needs a gateway, and there is no subnet to have one");
    return {};
  }
  const IpAddress& gateway = *route.gateway;
  if (gateway.is_v4() != v4)
    return fail(Errc::invalid_argument, "gateway " + gateway.to_string() + " is of another family");
  if (gateway.is_unspecified() || gateway.is_loopback() || gateway.is_multicast() || gateway.is_broadcast())
    return fail(Errc::invalid_argument, "gateway " + gateway.to_string() + " is no host's address");
  if (is_narrow(route))
    return fail(Errc::invalid_argument, "scope " + std::to_string(*route.scope) + " goes with no gateway");
  return {};
}

Result<> check_numbers(const Route& route, std::uint32_t network_mtu) {
  const std::uint32_t min = min_mtu(route.destination.is_v4());
  const std::uint32_t max = std::min(network_mtu, kMaxRouteMtu);
  if (route.mtu != 0 && (route.mtu < min || route.mtu > max))
    return fail(Errc::invalid_argument, "MTU " + std::to_string(route.mtu) + " is not within " + std::to_string(min) +
                                            " and " + std::to_string(max));
  if (route.advmss > kMaxAdvmss)
    return fail(Errc::invalid_argument,
                "MSS " + std::to_string(route.advmss) + " is above " + std::to_string(kMaxAdvmss));
  if (route.scope == RT_SCOPE_NOWHERE) return fail(Errc::invalid_argument, "scope 255 leads nowhere");
  return {};
}

bool is_main_default(const Route& route, bool v4) noexcept {
  return route.destination.length() == 0 && route.destination.is_v4() == v4 && table_of(route) == RT_TABLE_MAIN;
}

Prefix everywhere(bool v4) { return *Prefix::make(v4 ? IpAddress::v4(0, 0, 0, 0) : IpAddress(), 0); }

// The gateway of the pod's subnet of a family, as far as it is known.
std::optional<IpAddress> gateway_of(const Node& node, const Record& record, bool v4) {
  const auto& address = v4 ? record.v4 : record.v6;
  const ipam::Pool* pool = address ? node.pool_of(*address) : nullptr;
  return pool != nullptr ? pool->subnet().gateway : std::nullopt;
}

nl::Route resolve(const Route& route, const std::optional<IpAddress>& pod_gateway, std::uint32_t ifindex) {
  const auto gateway = route.gateway || is_narrow(route) ? route.gateway : pod_gateway;
  const std::uint8_t scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  return {route.destination, gateway,   ifindex,      route.table,
          route.priority,    route.mtu, route.advmss, route.scope.value_or(scope)};
}

}  // namespace

Result<> check_routes(const NetworkOptions& options, std::span<const ipam::Pool> pools) {
  for (auto route = options.routes.begin(); route != options.routes.end(); ++route) {
    const std::string what = "route " + route->destination.to_string();
    PATU_TRY(check_gateway(*route, pools), what);
    PATU_TRY(check_numbers(*route, options.mtu), what);
    if (std::any_of(options.routes.begin(), route, [&](const Route& one) { return is_same_place(one, *route); }))
      return fail(Errc::invalid_argument, what + ": there is another one with the same table and priority");
  }
  return {};
}

std::vector<nl::Route> routes_of(const Node& node, const Record& record, std::uint32_t ifindex) {
  std::vector<nl::Route> out;
  for (const bool v4 : {true, false}) {
    const auto gateway = gateway_of(node, record, v4);
    const bool replaced = std::any_of(node.options.routes.begin(), node.options.routes.end(),
                                      [&](const Route& route) { return is_main_default(route, v4); });
    if (node.options.default_route && gateway && !replaced) out.push_back({everywhere(v4), gateway, ifindex});
    const bool has_address = (v4 ? record.v4 : record.v6).has_value();
    for (const Route& route : node.options.routes) {
      const bool is_open = !route.gateway && !is_narrow(route) && has_address && !gateway;
      if (route.destination.is_v4() == v4 && !is_open) out.push_back(resolve(route, gateway, ifindex));
    }
  }
  // A gateway may be reachable by a route that has none.
  std::stable_partition(out.begin(), out.end(), [](const nl::Route& route) { return !route.gateway; });
  return out;
}

bool is_there(const nl::Route& wanted, std::span<const nl::Route> all) {
  nl::Route told = wanted;
  if (told.table == 0) told.table = RT_TABLE_MAIN;
  if (!told.destination.is_v4()) {
    if (told.priority == 0) told.priority = kDefaultPriorityV6;
    told.scope = RT_SCOPE_UNIVERSE;
  }
  return std::find(all.begin(), all.end(), told) != all.end();
}

std::string to_text(const nl::Route& route) {
  std::string text = route.destination.to_string();
  if (route.gateway) text += " via " + route.gateway->to_string();
  if (route.table != 0) text += " in table " + std::to_string(route.table);
  if (route.priority != 0) text += " with priority " + std::to_string(route.priority);
  if (route.mtu != 0) text += ", MTU " + std::to_string(route.mtu);
  if (route.advmss != 0) text += ", MSS " + std::to_string(route.advmss);
  return text;
}

}  // namespace patu::network
