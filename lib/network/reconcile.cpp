// Reconciling: interfaces are the truth, and the maps are made to say the same.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "names.hpp"
#include "network/node.hpp"

namespace patu::network {
namespace {

using Keep = std::optional<std::set<AttachmentId>>;

// By the name of the host's end.
using PortsByName = std::map<IfName, const Port*>;

bool holds(const Port& port, const IpAddress& address) noexcept {
  return port.record.v4 == address || port.record.v6 == address;
}

Result<bool> is_to_go(Node& node, const Port& port, const Keep& keep) {
  if (!is_own(node, port)) return false;
  if (stage_of(port.link) != Stage::attached) return true;
  if (keep && !keep->contains(port.record.id)) return true;
  PATU_TRY_LET(alive, has_peer(node, port));
  return !alive;
}

// Splits off what has to go.
Result<std::vector<Port>> take_unclaimed(Node& node, std::vector<Port>& ports, const Keep& keep) {
  std::vector<Port> staying;
  std::vector<Port> going;
  for (Port& port : ports) {
    PATU_TRY_LET(goes, is_to_go(node, port, keep), port.record.id.to_string());
    (goes ? going : staying).push_back(std::move(port));
  }
  ports = std::move(staying);
  return going;
}

Result<> remove_unclaimed(Node& node, std::vector<Port>& ports, const Keep& keep, ReconcileReport& report) {
  PATU_TRY_LET(gone, take_unclaimed(node, ports, keep));
  PATU_TRY(remove_ports(node, gone), "remove interfaces that nobody claims");
  for (const Port& port : gone) {
    PATU_TRY(release_addresses(node, port.record.id, &port.record), port.record.id.to_string());
    // What abandon() cut off had been given up before.
    if (port.link.master != 0) report.detached.push_back(port.record.id);
  }
  return {};
}

Result<> repair_ports(Node& node, const std::vector<Port>& ports, ReconcileReport& report) {
  for (const Port& port : ports) {
    if (!is_own(node, port)) continue;
    auto repaired = repair(node, port);
    if (!repaired) {
      // Two interfaces that claim one address: which is right is not for us to say, and check() names both.
      if (repaired.error().code() == Errc::already_exists) continue;
      return fail(std::move(repaired.error()).context("repair " + port.record.id.to_string()));
    }
    if (*repaired) report.repaired.push_back(port.record.id);
  }
  return {};
}

Result<> sweep_leases(Node& node, const PortsByName& ports, ReconcileReport& report) {
  for (ipam::Pool& pool : node.pools) {
    PATU_TRY_LET(leases, pool.list());
    for (const Lease& lease : leases) {
      const auto port = ports.find(host_ifname(lease.owner));
      if (port != ports.end() && port->second->record.id == lease.owner && holds(*port->second, lease.address))
        continue;
      PATU_TRY(pool.release_address(lease.address));
      report.released.push_back(lease.address);
    }
  }
  return {};
}

bool is_name(const patu_ifname& key, const AttachmentId& id) noexcept {
  const patu_ifname name = index_key(host_ifname(id));
  return std::memcmp(&key, &name, sizeof key) == 0;
}

// True if the address is leased to whom the record is of.
Result<bool> is_used(const Node& node, const patu_ifname& name, const patu_addr& address) {
  PATU_TRY_LET(lease, node.instance->leases().lookup(address));
  if (!lease) return false;
  PATU_TRY_LET(owner, ipam::lease_owner(*lease));
  return is_name(name, owner);
}

// Records that name no lease of their owner, on whatever network: a killed attach() leaves them.
Result<> sweep_records(const Node& node) {
  std::vector<patu_ifname> unused;
  PATU_TRY(node.instance->attachments().visit([&](const patu_ifname& name, const patu_attachment& record) -> Result<> {
    PATU_TRY_LET(v4, is_used(node, name, record.v4));
    PATU_TRY_LET(v6, is_used(node, name, record.v6));
    if (!v4 && !v6) unused.push_back(name);
    return {};
  }));
  for (const patu_ifname& name : unused) PATU_TRY(node.instance->attachments().erase(name));
  return {};
}

// Entries that are of none of the instance's interfaces.
Result<> sweep_entries(const Node& node, const std::vector<Port>& ports) {
  std::set<std::pair<IpAddress, std::uint32_t>> wanted;
  for (const Port& port : ports)
    for (const auto& [key, pod] : pod_entries(port.record, port.link.ifindex, 0))
      wanted.emplace(to_address(key), pod.ifindex);
  std::vector<patu_addr> stale;
  PATU_TRY(node.instance->pods().visit([&](const patu_addr& key, const patu_pod& pod) -> Result<> {
    if (!wanted.contains({to_address(key), pod.ifindex})) stale.push_back(key);
    return {};
  }));
  for (const patu_addr& key : stale) PATU_TRY(node.instance->pods().erase(key));
  return {};
}

// Namespaces that no interface exempts any more; and of the others those whose entry names another one's interface.
Result<> sweep_exempt(const Node& node, const std::vector<Port>& ports) {
  std::map<std::uint64_t, std::set<std::uint32_t>> wanted;
  for (const Port& port : ports)
    if (is_exempt(port.record)) wanted[port.record.netns_cookie].insert(port.link.ifindex);
  std::vector<std::uint64_t> wrong;
  PATU_TRY(node.instance->exempt().visit([&](const std::uint64_t& cookie, const std::uint32_t& ifindex) -> Result<> {
    const auto found = wanted.find(cookie);
    if (found == wanted.end() || !found->second.contains(ifindex)) wrong.push_back(cookie);
    return {};
  }));
  for (const std::uint64_t cookie : wrong) {
    if (const auto found = wanted.find(cookie); found != wanted.end())
      PATU_TRY(node.instance->exempt().put(cookie, *found->second.begin()));
    else
      PATU_TRY(node.instance->exempt().erase(cookie));
  }
  return {};
}

Result<> sweep(Node& node, const std::vector<Port>& ports, ReconcileReport& report) {
  PortsByName by_name;
  for (const Port& port : ports) by_name.emplace(host_ifname(port.record.id), &port);
  PATU_TRY(sweep_leases(node, by_name, report), "release leases that belong to no interface");
  PATU_TRY(sweep_records(node), "sweep the map 'attachments'");
  PATU_TRY(sweep_entries(node, ports), "sweep the map 'pods'");
  PATU_TRY(sweep_exempt(node, ports), "sweep the map 'exempt'");
  return {};
}

}  // namespace

Result<ReconcileReport> reconcile(Node& node, const std::optional<std::span<const AttachmentId>>& keep) {
  Keep kept;
  if (keep) kept.emplace(keep->begin(), keep->end());
  const std::string what = "reconcile " + node.options.bridge.to_string();
  ReconcileReport report;
  PATU_TRY_LET(lock, node.instance->lock_ports(), what);
  if (node.adopted) PATU_TRY(claim_instance(node), what);
  PATU_TRY_LET(shards, node.instance->lock_shards(), what);
  PATU_TRY(check_claim(node), what);
  PATU_TRY_LET(ports, all_ports(node), what);
  PATU_TRY(remove_unclaimed(node, ports, kept, report), what);
  PATU_TRY(repair_ports(node, ports, report), what);
  PATU_TRY(sweep(node, ports, report), what);
  return report;
}

}  // namespace patu::network
