// Attaching: all or none, in an order that leaves nothing dangerous or unfindable wherever it is cut off.
//
// The lease comes first and names its owner; the interface is born with its attachment in its alias, and down; the guard is there
// before the interface is up; the pod's end comes up last, and the group then says that all is done.
#include <algorithm>

#include "names.hpp"
#include "network/node.hpp"
#include "network/options.hpp"
#include "network/plan.hpp"
#include "nl/route.hpp"

namespace patu::network {
namespace {

// Pods whose requests go together. The three that make one pod's interface must be in one datagram, which takes 32: the kernel
// then works them off without regard to signals.
constexpr std::size_t kAttachedAtOnce = 10;

// Sends a batch in which every pod has the same number of requests; a failure names its pod.
Result<> send(nl::Socket& socket, std::span<nl::Request> requests, std::span<Plan*> plans, const char* step,
              const nl::Socket::OnReply& on_reply = {}) {
  auto sent = socket.batch(requests, on_reply);
  if (sent) return {};
  const Plan& plan = *plans[sent.error().index * plans.size() / requests.size()];
  return fail(std::move(sent.error().error)
                  .context("attach " + plan.spec->id.to_string() + ": " + step + " " + plan.name.to_string()));
}

Error bridge_is_gone(const Node& node) {
  return Error(Errc::not_found, "bridge " + node.options.bridge.to_string() + " is gone; open the network again");
}

Error explain_creation(Node& node, const Plan& plan, Error&& error) {
  if (error.code() == Errc::already_exists) {
    auto link = nl::find_link(node.socket, plan.name);
    if (link && !*link)
      return std::move(error).context("the pod has an interface " + plan.spec->id.ifname().to_string());
  }
  auto bridge = nl::find_link(node.socket, node.bridge_ifindex);
  if (bridge && !*bridge) return bridge_is_gone(node).also(error);
  return std::move(error);
}

Result<> create_interfaces(Node& node, std::span<Plan*> plans) {
  std::vector<nl::Request> requests;
  for (const Plan* plan : plans) {
    const nl::VethSpec veth{plan->name,       plan->spec->id.ifname(), plan->spec->netns->fd(), node.bridge_ifindex,
                            node.options.mtu, host_mac(plan->name),    plan->record.mac};
    requests.push_back(nl::create_veth(veth));
    requests.push_back(nl::set_link_alias(plan->name, format_alias(node.tag, plan->record)));
    requests.push_back(nl::get_link(plan->name));
  }
  const auto on_reply = [&](std::size_t index, const nl::Message& message) -> Result<> {
    PATU_TRY_LET(link, nl::parse_link(message));
    plans[index / 3]->ifindex = link.ifindex;
    plans[index / 3]->peer_ifindex = link.peer_ifindex;
    return {};
  };
  auto sent = node.socket.batch(requests, on_reply);
  if (sent) return {};
  const Plan& plan = *plans[sent.error().index / 3];
  return fail(explain_creation(node, plan, std::move(sent.error().error))
                  .context("attach " + plan.spec->id.to_string() + ": create " + plan.name.to_string()));
}

Result<> guard_interfaces(Node& node, std::span<Plan*> plans) {
  std::vector<std::uint32_t> ifindexes;
  for (const Plan* plan : plans) {
    PATU_TRY(put_entries(node, plan->record, plan->ifindex, node.bridge_ifindex),
             "attach " + plan->spec->id.to_string());
    if (plan->record.has_address()) ifindexes.push_back(plan->ifindex);
  }
  PATU_TRY(guard(node, ifindexes), "attach " + plans.front()->spec->id.to_string() + ": attach the pod program");
  return {};
}

// The node forgets whatever it had learnt about an earlier holder of the address: MACs follow from addresses, but not those
// that were requested, nor the IPv6 half of a pair.
void add_neighbours(const Node& node, const Plan& plan, std::vector<nl::Request>& requests) {
  if (!node.options.gateway) return;
  for (const auto& address : {plan.record.v4, plan.record.v6})
    if (address) requests.push_back(nl::set_neighbour(node.bridge_ifindex, *address, plan.record.mac));
}

Result<> raise_interfaces(Node& node, std::span<Plan*> plans) {
  std::vector<nl::Request> requests;
  for (const Plan* plan : plans) {
    const Record& record = plan->record;
    if (is_hairpin(record) || is_isolated(record))
      requests.push_back(nl::set_port_modes(plan->ifindex, is_hairpin(record), is_isolated(record)));
    requests.push_back(nl::set_link_up(plan->ifindex));
    add_neighbours(node, *plan, requests);
  }
  return send(node.socket, requests, plans, "set up");
}

// Where the second end of a pair comes up, the kernel notices the first one's carrier, and the bridge its port's, some time
// later; being asked for a link, it does so at once (Linux 6.8). Then a packet can pass as soon as attach() returns.
Result<> complete(Node& node, std::span<Plan*> plans) {
  std::vector<nl::Request> requests;
  for (const Plan* plan : plans) {
    requests.push_back(nl::set_link_group(plan->ifindex, kAttachedGroup));
    requests.push_back(nl::get_link(plan->ifindex));
    requests.push_back(nl::get_link(node.bridge_ifindex));
  }
  return send(node.socket, requests, plans, "complete");
}

Result<> attach_some(Node& node, std::span<Plan> plans) {
  PATU_TRY(open_pods(plans));
  std::vector<Plan*> fresh;
  for (Plan& plan : plans) {
    const std::string what = "attach " + plan.spec->id.to_string();
    PATU_TRY(find_existing(node, plan), what);
    if (plan.same) {
      if (!node.options.duplicate_address_detection) plan.pod.reset();
      continue;
    }
    plan.begun = true;
    PATU_TRY(lease_addresses(node, plan), what);
    fresh.push_back(&plan);
  }
  if (fresh.empty()) return {};
  PATU_TRY(create_interfaces(node, fresh));
  PATU_TRY(guard_interfaces(node, fresh));
  PATU_TRY(raise_interfaces(node, fresh));
  for (Plan* plan : fresh) PATU_TRY(configure_pod(node, *plan));
  PATU_TRY(complete(node, fresh));
  if (node.options.duplicate_address_detection) return {};
  for (Plan* plan : fresh) PATU_TRY(await_addresses(*plan));
  return {};
}

// What this call made of the plan. Its index is not known if the answer to the creation was lost.
Result<std::optional<Port>> find_made(Node& node, const Plan& plan) {
  if (plan.ifindex == 0) return find_port(node, plan.spec->id);
  Port port{{}, plan.record};
  port.link.ifindex = plan.ifindex;
  return std::optional(std::move(port));
}

// Takes away what this call made, in the order of detach().
Result<> undo(Node& node, std::span<Plan> plans) {
  std::vector<Port> made;
  for (const Plan& plan : plans) {
    if (!plan.begun) continue;
    PATU_TRY_LET(port, find_made(node, plan));
    if (port) made.push_back(std::move(*port));
  }
  PATU_TRY(remove_ports(node, made));
  for (const Plan& plan : plans)
    if (plan.begun) PATU_TRY(release_addresses(node, plan.spec->id, &plan.record));
  return {};
}

// The same once the locks were given up: another process may have detached the pod, and attached it anew.
Result<> undo_later(Node& node, std::span<Plan> plans, std::span<const AttachmentId> ids) {
  PATU_TRY_LET(locks, lock_attachments(node, ids));
  for (Plan& plan : plans) {
    PATU_TRY_LET(port, find_port_anywhere(node, plan.spec->id));
    plan.begun = plan.begun && port && port->link.ifindex == plan.ifindex;
  }
  return undo(node, plans);
}

Attachment result_of(const Node& node, const Plan& plan) {
  if (plan.same) return *plan.same;
  Port port{{}, plan.record};
  port.link.ifindex = plan.ifindex;
  port.link.mac = host_mac(plan.name);
  port.link.mtu = node.options.mtu;
  return to_attachment(node, port);
}

// Nobody has asked yet whether an adopted network is one that pods can be attached to.
Result<> make_ready(const Node& node) {
  if (!node.adopted) return {};
  if (node.bridge_ifindex == 0) return fail(bridge_is_gone(node));
  PATU_TRY(check_options(node.options, node.pools, node.instance->redirect_loaded()));
  PATU_TRY_LET(lock, node.instance->lock_ports());
  return claim_instance(node);
}

Result<> attach_locked(Node& node, std::span<Plan> plans, std::span<const AttachmentId> ids) {
  PATU_TRY_LET(locks, lock_attachments(node, ids), "attach");
  PATU_TRY(check_claim(node), "attach");
  for (std::size_t at = 0; at < plans.size(); at += kAttachedAtOnce) {
    auto attached = attach_some(node, plans.subspan(at, std::min(kAttachedAtOnce, plans.size() - at)));
    if (attached) continue;
    if (auto undone = undo(node, plans); !undone) return fail(std::move(attached.error()).also(undone.error()));
    return fail(std::move(attached.error()));
  }
  return {};
}

// Without the locks: this takes seconds.
Result<> await_all_probes(Node& node, std::span<Plan> plans, std::span<const AttachmentId> ids) {
  for (Plan& plan : plans) {
    auto awaited = await_probes(plan);
    if (awaited) continue;
    if (auto undone = undo_later(node, plans, ids); !undone)
      return fail(std::move(awaited.error()).also(undone.error()));
    return fail(std::move(awaited.error()));
  }
  return {};
}

Result<std::vector<Attachment>> attach_all(Node& node, std::span<const PodSpec> specs) {
  PATU_TRY_LET(plans, make_plans(node, specs));
  std::vector<AttachmentId> ids;
  for (const PodSpec& spec : specs) ids.push_back(spec.id);
  PATU_TRY(attach_locked(node, plans, ids));
  if (node.options.duplicate_address_detection) PATU_TRY(await_all_probes(node, plans, ids));
  std::vector<Attachment> out;
  for (const Plan& plan : plans) out.push_back(result_of(node, plan));
  return out;
}

}  // namespace

Result<std::vector<Attachment>> attach(Node& node, std::span<const PodSpec> specs) {
  PATU_TRY(make_ready(node), "attach");
  auto attached = attach_all(node, specs);
  if (attached || attached.error().code() != Errc::exhausted) return attached;
  // What killed processes and lost pods have left may make room. Without the locks: this takes all of them.
  if (auto swept = reconcile(node, std::nullopt); !swept) return fail(std::move(attached.error()).also(swept.error()));
  return attach_all(node, specs);
}

}  // namespace patu::network
