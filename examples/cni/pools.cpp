// Counted over all subnets of a family: a pod gets its address from the first that has one.
#include "pools.hpp"

#include <algorithm>

#include "failure.hpp"

namespace cni {
namespace {

bool is_within(const patu::Subnet& subnet, const patu::IpAddress& address) {
  return subnet.prefix.contains(address) && (!subnet.first || address >= *subnet.first) &&
         (!subnet.last || address <= *subnet.last);
}

// A lease that a sweep would release is as good as a free address.
bool has_free(const patu::Datapath& datapath, const patu::Subnet& subnet,
              const std::function<bool(const patu::AttachmentId&)>& holds_on) {
  const std::string what = "the addresses of " + subnet.prefix.to_string();
  const auto pool = expect(patu::AddressPool::open(datapath, subnet), what);
  const patu::PoolUsage usage = expect(pool.usage(), what);
  if (usage.free > 0) return true;
  const auto leases = expect(pool.list(), what);
  return std::any_of(leases.begin(), leases.end(), [&](const patu::Lease& lease) { return !holds_on(lease.owner); });
}

}  // namespace

LegacyLeases legacy_of(const Config& config) { return {config.ipam.data_dir, config.network.name}; }

std::vector<patu::Subnet> subnets_of(const Config& config) {
  std::vector<patu::Subnet> subnets = config.network.subnets;
  for (const patu::IpAddress& address : legacy_addresses(legacy_of(config)))
    for (patu::Subnet& subnet : subnets)
      if (subnet.prefix.contains(address)) subnet.reserved.push_back(address);
  return subnets;
}

void refuse_requested(const Config& config, const std::vector<patu::Subnet>& subnets) {
  for (const patu::IpAddress& address : config.addresses) {
    for (const patu::IpAddress& other : config.addresses)
      if (other != address && other.is_v4() == address.is_v4())
        throw Failure(Code::invalid_config, "the requested " + address.to_string() + " and " + other.to_string() +
                                                " are of one family, of which a pod has one address");
    const auto subnet =
        std::find_if(subnets.begin(), subnets.end(), [&](const auto& one) { return is_within(one, address); });
    if (subnet == subnets.end())
      throw Failure(Code::address_outside_ranges,
                    "the requested " + address.to_string() + " is in no range of the network");
    if (std::find(subnet->reserved.begin(), subnet->reserved.end(), address) != subnet->reserved.end())
      throw Failure(Code::address_in_use,
                    "the requested " + address.to_string() + " is leased by host-local, in " + config.ipam.data_dir);
  }
}

void refuse_exhausted(const patu::Datapath& datapath, const std::vector<patu::Subnet>& subnets,
                      const std::function<bool(const patu::AttachmentId&)>& holds_on) {
  for (const bool v4 : {true, false}) {
    std::string full;
    bool is_free = false;
    for (const patu::Subnet& subnet : subnets) {
      if (subnet.prefix.is_v4() != v4) continue;
      is_free = is_free || has_free(datapath, subnet, holds_on);
      full += (full.empty() ? "" : ", ") + subnet.prefix.to_string();
    }
    if (!is_free && !full.empty()) throw Failure(Code::not_available, "no address is left in " + full);
  }
}

}  // namespace cni
