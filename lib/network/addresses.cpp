// The addresses of an attachment: leased from the network's pools, and given back whatever subnet they are of.
#include <algorithm>

#include "names.hpp"
#include "network/node.hpp"
#include "network/plan.hpp"

namespace patu::network {
namespace {

using Addresses = std::vector<IpAddress>;

void add(Addresses& all, const IpAddress& address) {
  if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
}

// What the attachment's record in the maps names, leased or not.
Result<Addresses> recorded_addresses(const Node& node, const AttachmentId& id) {
  Addresses out;
  PATU_TRY_LET(record, node.instance->attachments().lookup(index_key(host_ifname(id))), "look up " + id.to_string());
  if (!record) return out;
  for (const patu_addr& key : {record->v4, record->v6})
    if (const IpAddress address = to_address(key); !address.is_unspecified()) out.push_back(address);
  return out;
}

Result<> give_back(const Node& node, ipam::Pool& pool, const AttachmentId& id, const IpAddress& address) {
  PATU_TRY_LET(lease, node.instance->leases().lookup(address_key(address)), "look up " + address.to_string());
  if (lease && ipam::owns(id, *lease)) PATU_TRY(pool.release_address(address));
  return pool.release(id);
}

Result<> release_address(Node& node, const AttachmentId& id, const IpAddress& address) {
  for (ipam::Pool& pool : node.pools)
    if (pool.serves(address)) return give_back(node, pool, id, address);
  // Of a subnet that the network had in another life, or of whoever adopts it without its subnets.
  PATU_TRY_LET(prefix, Prefix::around(address, address.is_v4() ? 24 : 64));
  PATU_TRY_LET(pool, ipam::Pool::open(node.instance, {prefix}));
  return give_back(node, pool, id, address);
}

std::optional<IpAddress> requested(const PodSpec& spec, bool v4) {
  for (const IpAddress& address : spec.addresses)
    if (address.is_v4() == v4) return address;
  return std::nullopt;
}

// Gives back what the id has from an attachment that was never completed, or is gone with its pod, unless it serves this one.
Result<> keep_fitting(Node& node, Plan& plan) {
  PATU_TRY_LET(held, held_addresses(node, plan.spec->id));
  for (const IpAddress& address : held) {
    const auto wanted = requested(*plan.spec, address.is_v4());
    if (node.pool_of(address) != nullptr && wanted.value_or(address) == address)
      (address.is_v4() ? plan.record.v4 : plan.record.v6) = address;
    else
      PATU_TRY(release_address(node, plan.spec->id, address));
  }
  return {};
}

// From the first pool of the family that has a free one; empty if there is no pool of the family.
Result<std::optional<IpAddress>> acquire(Node& node, const PodSpec& spec, bool v4) {
  const auto wanted = requested(spec, v4);
  Result<std::optional<IpAddress>> outcome;
  for (ipam::Pool& pool : node.pools) {
    if (pool.subnet().prefix.is_v4() != v4 || (wanted && !pool.serves(*wanted))) continue;
    auto address = wanted ? pool.acquire(spec.id, *wanted) : pool.acquire(spec.id);
    if (address) return std::optional(*address);
    const bool exhausted = address.error().code() == Errc::exhausted;
    outcome = outcome ? fail(std::move(address.error())) : fail(std::move(outcome.error()).also(address.error()));
    if (!exhausted) break;
  }
  return outcome;
}

}  // namespace

Result<std::vector<IpAddress>> held_addresses(const Node& node, const AttachmentId& id) {
  PATU_TRY_LET(addresses, recorded_addresses(node, id));
  Addresses out;
  for (const IpAddress& address : addresses) {
    PATU_TRY_LET(lease, node.instance->leases().lookup(address_key(address)), "look up " + address.to_string());
    if (lease && ipam::owns(id, *lease)) out.push_back(address);
  }
  return out;
}

Result<> release_addresses(Node& node, const AttachmentId& id, const Record* record) {
  PATU_TRY_LET(addresses, recorded_addresses(node, id));
  if (record != nullptr)
    for (const auto& address : {record->v4, record->v6})
      if (address) add(addresses, *address);
  for (const IpAddress& address : addresses) PATU_TRY(release_address(node, id, address));
  return {};
}

Result<> lease_addresses(Node& node, Plan& plan) {
  const PodSpec& spec = *plan.spec;
  PATU_TRY(keep_fitting(node, plan));
  for (const bool v4 : {true, false}) {
    std::optional<IpAddress>& slot = v4 ? plan.record.v4 : plan.record.v6;
    if (slot) continue;
    PATU_TRY_LET(address, acquire(node, spec, v4));
    slot = address;
  }
  const bool addressed = plan.record.has_address();
  plan.record.mac = spec.mac.value_or(addressed ? derived_mac(plan.record.v4, plan.record.v6) : id_mac(spec.id));
  return {};
}

}  // namespace patu::network
