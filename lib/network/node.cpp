// Locks, ports, and the pod program on them.
#include "network/node.hpp"

#include <net/if.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "names.hpp"
#include "nl/netns_id.hpp"
#include "nl/route.hpp"
#include "nl/tc.hpp"

namespace patu::network {
namespace {

constexpr std::chrono::microseconds kAddressPause{50};

}  // namespace

const ipam::Pool* Node::pool_of(const IpAddress& address) const noexcept {
  const auto pool =
      std::find_if(pools.begin(), pools.end(), [&](const ipam::Pool& one) { return one.serves(address); });
  return pool == pools.end() ? nullptr : &*pool;
}

Result<Locks> lock_attachments(const Node& node, std::span<const AttachmentId> ids) {
  std::set<std::uint32_t> shards;
  for (const AttachmentId& id : ids) shards.insert(shard_of(host_ifname(id)));
  Locks locks;
  for (const std::uint32_t shard : shards) {
    PATU_TRY_LET(lock, node.instance->lock_shard(shard));
    locks.push_back(std::move(lock));
  }
  return locks;
}

Result<> guard(Node& node, std::span<const std::uint32_t> ifindexes) {
  if (ifindexes.empty()) return {};
  PATU_TRY_LET(program, node.instance->program(bpf::ProgramId::pod_ingress), "pod program");
  // tcx would wait for an RCU grace period, 16 ms with the rtnl lock held, for every device that it comes to or that dies with it.
  for (const std::uint32_t ifindex : ifindexes) PATU_TRY(nl::attach_clsact(node.socket, ifindex, program.get()));
  return {};
}

Result<bool> is_guarded(Node& node, std::uint32_t ifindex) {
  PATU_TRY_LET(program, node.instance->program(bpf::ProgramId::pod_ingress), "pod program");
  PATU_TRY_LET(wanted, bpf::program_id(program.get()));
  PATU_TRY_LET(id, nl::query_clsact(node.socket, ifindex));
  return id == wanted;
}

Result<> batch_unless_gone(nl::Socket& socket, std::span<nl::Request> requests) {
  while (!requests.empty()) {
    auto sent = socket.batch(requests);
    if (sent) return {};
    if (sent.error().error.code() != Errc::not_found) return fail(std::move(sent.error().error));
    requests = requests.subspan(sent.error().index + 1);
  }
  return {};
}

Result<> await_local(nl::Socket& socket, const IpAddress& address, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    PATU_TRY_LET(local, nl::is_local(socket, address), "look " + address.to_string() + " up");
    if (local) return {};
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::timed_out, address.to_string() + " does not become usable");
    std::this_thread::sleep_for(kAddressPause);
  }
}

Stage stage_of(const nl::Link& link) noexcept {
  if (link.group >= kRemovalGroups) return Stage::removing;
  // The last step of attach() gives the group. Before it a carrier says that both ends are up, and so complete.
  const bool both_up = (link.flags & IFF_UP) != 0 && link.carrier;
  return link.group == 0 && !both_up ? Stage::making : Stage::attached;
}

Result<std::optional<Port>> find_port_anywhere(Node& node, const AttachmentId& id) {
  const IfName name = host_ifname(id);
  PATU_TRY_LET(link, nl::find_link(node.socket, name), "look up " + name.to_string());
  if (!link) return std::optional<Port>{};
  auto record = parse_alias(node.tag, link->alias);
  if (!record || record->id != id) return std::optional<Port>{};
  return std::optional<Port>({std::move(*link), std::move(*record)});
}

Result<std::optional<Port>> find_port(Node& node, const AttachmentId& id) {
  PATU_TRY_LET(port, find_port_anywhere(node, id));
  if (port && !is_own(node, *port)) port.reset();
  return std::move(port);
}

Result<std::vector<Port>> all_ports(Node& node) {
  PATU_TRY_LET(links, nl::list_links(node.socket, 0), "list the node's interfaces");
  std::vector<Port> ports;
  for (nl::Link& link : links) {
    auto record = parse_alias(node.tag, link.alias);
    if (record && link.name == host_ifname(record->id).view()) ports.push_back({std::move(link), std::move(*record)});
  }
  return ports;
}

Result<std::vector<Port>> all_ports_in_peace(Node& node) {
  auto ports = all_ports(node);
  if (ports || ports.error().code() != Errc::busy) return ports;
  PATU_TRY_LET(shards, node.instance->lock_shards());
  return all_ports(node);
}

bool is_own(const Node& node, const Port& port) noexcept { return port.record.network == node.network; }

Result<> claim_instance(const Node& node) {
  PATU_TRY_LET(meta, node.instance->meta());
  const std::uint64_t cookie = node.socket.netns_cookie();
  if (cookie == 0 || meta.netns_cookie == cookie) return {};
  if (node.adopted && meta.netns_cookie != 0) return check_claim(node);
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

Result<> check_claim(const Node& node) {
  const std::uint64_t cookie = node.socket.netns_cookie();
  if (cookie == 0) return {};
  PATU_TRY_LET(meta, node.instance->meta());
  const bool is_nobodys = node.adopted && meta.netns_cookie == 0;
  if (meta.netns_cookie == cookie || is_nobodys) return {};
  return fail(Errc::busy, node.instance->directory() + " serves another network namespace" +
                              (node.adopted ? "" : " by now; open the network again"));
}

Result<bool> has_peer(Node& node, const Port& port) {
  if (port.link.peer_netnsid < 0) return false;
  return nl::is_netns_alive(node.socket, port.link.peer_netnsid);
}

Attachment to_attachment(const Node& node, const Port& port) {
  Attachment out{port.record.id,
                 host_ifname(port.record.id),
                 port.link.ifindex,
                 port.link.mac,
                 port.record.mac,
                 {},
                 {},
                 port.link.mtu,
                 (port.record.flags & PATU_POD_REDIRECT) != 0,
                 (port.record.flags & PATU_POD_NO_SERVICES) == 0};
  for (const auto& address : {port.record.v4, port.record.v6}) {
    if (!address) continue;
    const ipam::Pool* pool = node.pool_of(*address);
    if (pool == nullptr) {
      out.addresses.push_back({*address, address->is_v4() ? 32U : 128U});
      continue;
    }
    out.addresses.push_back({*address, pool->subnet().prefix.length()});
    out.gateways.push_back(*pool->subnet().gateway);
  }
  return out;
}

}  // namespace patu::network
