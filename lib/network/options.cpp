// Refuses options that contradict each other, or the kernel.
#include "network/options.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "network/routes.hpp"

namespace patu::network {
namespace {

constexpr std::uint32_t kMaxMtu = 65535;
constexpr std::size_t kMaxName = 255;

Result<> refuse_overlaps(const std::vector<ipam::Pool>& pools) {
  for (auto one = pools.begin(); one != pools.end(); ++one)
    for (auto other = one + 1; other != pools.end(); ++other)
      if (one->subnet().prefix.overlaps(other->subnet().prefix))
        return fail(Errc::invalid_argument,
                    "subnet " + one->subnet().prefix.to_string() + " overlaps " + other->subnet().prefix.to_string());
  return {};
}

}  // namespace

Result<std::string> name_of(const NetworkOptions& options) {
  if (options.name.size() > kMaxName)
    return fail(Errc::invalid_argument, "the network's name has more than " + std::to_string(kMaxName) + " bytes");
  return options.name.empty() ? options.bridge.to_string() : options.name;
}

Result<std::vector<ipam::Pool>> open_pools(const std::shared_ptr<bpf::Instance>& instance,
                                           std::span<const Subnet> subnets) {
  std::vector<ipam::Pool> pools;
  for (const Subnet& subnet : subnets) {
    PATU_TRY_LET(pool, ipam::Pool::open(instance, subnet));
    pools.push_back(std::move(pool));
  }
  std::stable_partition(pools.begin(), pools.end(), [](const ipam::Pool& one) { return one.subnet().prefix.is_v4(); });
  PATU_TRY(refuse_overlaps(pools));
  return pools;
}

Result<> check_options(const NetworkOptions& options, std::span<const ipam::Pool> pools, bool redirect_loaded) {
  const bool v6 = !pools.empty() && !pools.back().subnet().prefix.is_v4();
  const std::uint32_t min = min_mtu(!v6);
  if (options.mtu < min || options.mtu > kMaxMtu)
    return fail(Errc::invalid_argument, "MTU " + std::to_string(options.mtu) + " is not within " + std::to_string(min) +
                                            " and " + std::to_string(kMaxMtu));
  if (options.default_route && !options.gateway)
    return fail(Errc::invalid_argument, "a default route needs the gateway on the bridge");
  if (options.default_route && pools.empty()) return fail(Errc::invalid_argument, "a default route needs a subnet");
  PATU_TRY(check_routes(options, pools));
  if (options.hairpin && options.promiscuous)
    return fail(Errc::invalid_argument, "a promiscuous bridge with ports in hairpin mode sends frames round");
  if (options.bridge.view() == "all" || options.bridge.view() == "default")
    return fail(Errc::invalid_argument, "the kernel keeps its settings for all interfaces under the bridge's name");
  const auto& ports = options.redirect_excluded_ports;
  if (std::find(ports.begin(), ports.end(), 0) != ports.end())
    return fail(Errc::invalid_argument, "port 0 cannot be excluded");
  if (options.socket_redirect && pools.empty())
    return fail(Errc::invalid_argument, "socket redirection needs a subnet");
  if (options.socket_redirect && !redirect_loaded)
    return fail(Errc::unsupported, "socket redirection is not loaded (DatapathOptions::socket_redirect)");
  return {};
}

}  // namespace patu::network
