// Counted over all subnets of a family: a pod gets its address from the first that has one.
#include "pools.hpp"

#include <algorithm>

#include "failure.hpp"

namespace cni {
namespace {

// A lease that a sweep would release is as good as a free address.
bool has_free(const patu::Datapath& datapath, const patu::Subnet& subnet,
              const std::function<bool(const patu::AttachmentId&)>& holds_on) {
  const std::string what = "the addresses of " + subnet.prefix.to_string();
  const auto pool = expect(patu::AddressPool::open(datapath, subnet), what);
  const patu::PoolUsage usage = expect(pool.usage(), what);
  if (usage.leased < usage.capacity) return true;
  const auto leases = expect(pool.list(), what);
  return std::any_of(leases.begin(), leases.end(), [&](const patu::Lease& lease) { return !holds_on(lease.owner); });
}

}  // namespace

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
