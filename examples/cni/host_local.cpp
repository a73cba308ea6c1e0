// The IPAM role: addresses for another plugin's interfaces, from the instance's leases instead of a directory of files.
#include <algorithm>
#include <array>

#include "call.hpp"
#include "pools.hpp"

namespace cni {
namespace {

std::vector<patu::AddressPool> open_pools(const patu::Datapath& datapath, const std::vector<patu::Subnet>& subnets) {
  std::vector<patu::AddressPool> pools;
  for (const patu::Subnet& subnet : subnets)
    pools.push_back(expect(patu::AddressPool::open(datapath, subnet), "range " + subnet.prefix.to_string()));
  return pools;
}

// What was leased before a range was changed into one that cannot be is somewhere in its subnet.
std::vector<patu::AddressPool> open_pools_to_clear(const patu::Datapath& datapath,
                                                   const std::vector<patu::Subnet>& subnets) {
  std::vector<patu::AddressPool> pools;
  for (const patu::Subnet& subnet : subnets) {
    auto pool = patu::AddressPool::open(datapath, subnet);
    if (!pool && pool.error().code() == patu::Errc::invalid_argument)
      pool = patu::AddressPool::open(datapath, {.prefix = subnet.prefix});
    if (!pool && pool.error().code() == patu::Errc::invalid_argument) continue;  // nobody can have one of its addresses
    pools.push_back(expect(std::move(pool), "range " + subnet.prefix.to_string()));
  }
  return pools;
}

void release_all(std::vector<patu::AddressPool>& pools, const patu::AttachmentId& id) {
  Steps steps;
  for (patu::AddressPool& pool : pools) steps.run([&] { expect(pool.release(id)); });
  steps.finish();
}

std::optional<Address> find_lease(const std::vector<patu::AddressPool>& pools, const patu::AttachmentId& id, bool v4) {
  for (const patu::AddressPool& pool : pools) {
    const patu::Prefix& prefix = pool.subnet().prefix;
    if (prefix.is_v4() != v4) continue;
    if (const auto address = expect(pool.find(id)))
      return Address{.address = {*address, prefix.length()}, .gateway = pool.subnet().gateway};
  }
  return std::nullopt;
}

// The one that the same ADD got before; the requested one; or one from the first pool of the family that has it free.
Address acquire(std::vector<patu::AddressPool>& pools, const Call& call, bool v4, const std::optional<Address>& held) {
  const auto& wanted = call.config.addresses;
  const auto requested = std::find_if(wanted.begin(), wanted.end(), [&](const auto& one) { return one.is_v4() == v4; });
  if (requested == wanted.end() && held) return *held;
  std::optional<Failure> why;
  for (patu::AddressPool& pool : pools) {
    const patu::Prefix& prefix = pool.subnet().prefix;
    if (prefix.is_v4() != v4 || (requested != wanted.end() && !prefix.contains(*requested))) continue;
    auto address = requested == wanted.end() ? pool.acquire(call.id()) : pool.acquire(call.id(), *requested);
    if (address) return {.address = {*address, prefix.length()}, .gateway = pool.subnet().gateway};
    if (requested != wanted.end() && address.error().code() == patu::Errc::already_exists)
      throw Failure(Code::address_in_use, address.error().to_string());
    if (!why) why.emplace(address.error());
    if (address.error().code() != patu::Errc::exhausted) break;
  }
  throw *why;  // a pool of the family there is
}

Added add(const Call& call) {
  const Config& config = call.config;
  const auto subnets = subnets_of(config);
  refuse_requested(config, subnets);
  const auto datapath = expect(patu::Datapath::open(config.datapath), "instance '" + config.datapath.instance + "'");
  auto pools = open_pools(datapath, subnets);
  // By family (v4?): what an ADD before this one leased, which is not this one's to give back.
  const std::array held{find_lease(pools, call.id(), false), find_lease(pools, call.id(), true)};
  Added added;
  try {
    for (const bool v4 : {true, false}) {
      const auto is_of_family = [&](const patu::AddressPool& pool) { return pool.subnet().prefix.is_v4() == v4; };
      if (std::any_of(pools.begin(), pools.end(), is_of_family))
        added.result.addresses.push_back(acquire(pools, call, v4, held[v4]));
    }
  } catch (const Failure&) {
    Steps undo;
    for (patu::AddressPool& pool : pools)
      if (!held[pool.subnet().prefix.is_v4()]) undo.run([&] { expect(pool.release(call.id())); });
    throw;
  }
  added.result.routes = config.ipam.routes;
  if (!config.ipam.resolv_conf.empty()) added.result.dns = read_resolv_conf(config.ipam.resolv_conf);
  return added;
}

void del(const Call& call) {
  const Config& config = call.config;
  Steps steps;
  steps.run([&] {
    const auto datapath = find_datapath_to_clear(config);
    if (!datapath) return;
    auto pools = open_pools_to_clear(*datapath, config.network.subnets);
    release_all(pools, call.id());
  });
  steps.run([&] { (void)release_legacy(legacy_of(config), call.id()); });
  steps.finish();
}

void check(const Call& call) {
  const auto& subnets = call.config.network.subnets;
  const auto datapath = find_datapath(call.config);
  std::vector<patu::AddressPool> pools;
  if (datapath) pools = open_pools(*datapath, subnets);
  for (const patu::Subnet& subnet : subnets)
    if (const bool v4 = subnet.prefix.is_v4(); !find_lease(pools, call.id(), v4))
      throw Failure(Code::check_failed,
                    call.id().to_string() + " has no lease of an IPv" + (v4 ? "4" : "6") + " address");
}

void gc(const Call& call) {
  const auto& keep = valid_attachments(call);
  const Config& config = call.config;
  Steps steps;
  steps.run([&] {
    const auto datapath = find_datapath_to_clear(config);
    if (!datapath) return;
    for (patu::AddressPool& pool : open_pools_to_clear(*datapath, config.network.subnets))
      for (const patu::Lease& lease : expect(pool.list()))
        if (std::find(keep.begin(), keep.end(), lease.owner) == keep.end())
          steps.run([&] { expect(pool.release(lease.owner)); });
  });
  steps.run([&] { collect_legacy(legacy_of(config), keep); });
  steps.finish();
}

void status(const Call& call) {
  const auto datapath = find_datapath(call.config);
  // Whose interfaces they are is another plugin's to know: every lease counts.
  if (datapath) refuse_exhausted(*datapath, subnets_of(call.config), [](const patu::AttachmentId&) { return true; });
}

}  // namespace

const Role kHostLocalRole{add, del, check, gc, status};

}  // namespace cni
