// Checking attachments: what is said to be there against what is there.
#include <algorithm>
#include <set>

#include "names.hpp"
#include "network/node.hpp"

namespace patu::network {
namespace {

Result<Findings> inspect(Node& node, const AttachmentId& id, const Netns* netns) {
  PATU_TRY_LET(port, find_port_anywhere(node, id));
  if (port && !is_own(node, *port)) return fail(Errc::not_found, "there is no such attachment");
  if (!port) {
    PATU_TRY_LET(held, held_addresses(node, id));
    if (held.empty()) return fail(Errc::not_found, "there is no such attachment");
    return Findings{{DeviationKind::attachment, "its interface " + host_ifname(id).to_string() + " is gone"}};
  }
  PATU_TRY_LET(findings, inspect_port(node, *port));
  if (netns == nullptr) return std::move(findings);
  PATU_TRY_LET(pod, nl::Socket::open_in(netns->fd()), "open the pod's namespace");
  PATU_TRY_LET(inside, inspect_pod(node, pod, *port));
  findings.insert(findings.end(), std::make_move_iterator(inside.begin()), std::make_move_iterator(inside.end()));
  return std::move(findings);
}

void add(std::vector<Deviation>& out, const AttachmentId& id, Findings&& findings) {
  for (Finding& one : findings) out.push_back({id, one.kind, std::move(one.what), one.destination});
}

}  // namespace

Result<std::vector<Deviation>> check(Node& node, const AttachmentId& id, const Netns* netns) {
  const std::string what = "check " + id.to_string();
  PATU_TRY_LET(locks, lock_attachments(node, {&id, 1}), what);
  PATU_TRY_LET(findings, inspect(node, id, netns), what);
  std::vector<Deviation> out;
  add(out, id, std::move(findings));
  return out;
}

Result<std::vector<Deviation>> check_all(Node& node) {
  std::set<AttachmentId> ids;
  PATU_TRY_LET(ports, all_ports_in_peace(node), "check");
  for (const Port& port : ports)
    if (is_own(node, port) && stage_of(port.link) != Stage::removing) ids.insert(port.record.id);
  for (const ipam::Pool& pool : node.pools) {
    PATU_TRY_LET(leases, pool.list(), "check");
    for (const Lease& lease : leases) ids.insert(lease.owner);
  }
  std::vector<Deviation> out;
  for (const AttachmentId& id : ids) {
    const std::string what = "check " + id.to_string();
    PATU_TRY_LET(locks, lock_attachments(node, {&id, 1}), what);
    auto findings = inspect(node, id, nullptr);
    if (!findings && findings.error().code() == Errc::not_found) continue;  // detached in the meantime
    if (!findings) return fail(std::move(findings.error()).context(what));
    add(out, id, std::move(*findings));
  }
  return out;
}

}  // namespace patu::network
