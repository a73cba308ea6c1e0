// Checks what is asked for against the node before anything is changed.
#include "network/plan.hpp"

#include <sched.h>

#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "base/thread.hpp"
#include "ipam/subnet.hpp"
#include "names.hpp"

namespace patu::network {
namespace {

Result<> check_addresses(const Node& node, const PodSpec& spec) {
  std::set<bool> families;
  for (const IpAddress& address : spec.addresses) {
    if (!families.insert(address.is_v4()).second)
      return fail(Errc::invalid_argument,
                  std::string("two ") + (address.is_v4() ? "IPv4" : "IPv6") + " addresses are requested");
    const ipam::Pool* pool = node.pool_of(address);
    if (pool == nullptr)
      return fail(Errc::invalid_argument, "address " + address.to_string() + " is of no subnet of the network");
    PATU_TRY(ipam::check_requested(pool->subnet(), address));
  }
  return {};
}

Result<> check_spec(const Node& node, const PodSpec& spec) {
  if (spec.netns == nullptr) return fail(Errc::invalid_argument, "no network namespace is given");
  if (spec.netns->same_as(node.netns))
    return fail(Errc::invalid_argument, "the pod's network namespace is the one of the bridge");
  PATU_TRY(check_addresses(node, spec));
  if (spec.mac && (spec.mac->is_zero() || spec.mac->is_multicast()))
    return fail(Errc::invalid_argument, "MAC " + spec.mac->to_string() + " is not an interface's");
  if (spec.id.ifname().view() == "lo") return fail(Errc::invalid_argument, "lo is there in every network namespace");
  if (spec.socket_redirect.value_or(false) && node.pools.empty())
    return fail(Errc::invalid_argument, "socket redirection needs an address, and the network has no subnet");
  if (spec.socket_redirect.value_or(false) && !node.instance->redirect_loaded())
    return fail(Errc::unsupported, "socket redirection is not loaded (DatapathOptions::socket_redirect)");
  return {};
}

// What the spec asks for and the attachment has not; empty if they agree.
std::string difference(const PodSpec& spec, const Record& record) {
  for (const IpAddress& address : spec.addresses)
    if (record.v4 != address && record.v6 != address) return "has not the address " + address.to_string();
  if (spec.mac && *spec.mac != record.mac) return "has the MAC " + record.mac.to_string();
  if (spec.socket_redirect && *spec.socket_redirect != ((record.flags & PATU_POD_REDIRECT) != 0))
    return std::string("is attached ") + (*spec.socket_redirect ? "without" : "with") + " socket redirection";
  if (spec.services != ((record.flags & PATU_POD_NO_SERVICES) == 0))
    return std::string("is attached ") + (spec.services ? "without" : "with") + " services";
  return {};
}

// Whether the attachment is of a namespace other than the pod's. Where cookies are unknown, the peer tells.
Result<bool> is_elsewhere(Plan& plan, const Port& port) {
  const std::uint64_t wanted = plan.pod->netns_cookie();
  if (wanted != 0 && port.record.netns_cookie != 0) return wanted != port.record.netns_cookie;
  PATU_TRY_LET(peer, nl::find_link(*plan.pod, port.link.peer_ifindex));
  return !peer || peer->peer_ifindex != port.link.ifindex;
}

// A namespace that has just been given up lives on for a moment: a socket that was closed in it is freed an RCU grace period later,
// which is tens of milliseconds, and more on a busy machine.
constexpr std::chrono::milliseconds kPeerPatience{1000};
constexpr std::chrono::milliseconds kPeerPause{5};

Result<bool> keeps_peer(Node& node, const Port& port) {
  const auto deadline = std::chrono::steady_clock::now() + kPeerPatience;
  for (;;) {
    PATU_TRY_LET(alive, has_peer(node, port));
    if (!alive || std::chrono::steady_clock::now() >= deadline) return alive;
    std::this_thread::sleep_for(kPeerPause);
  }
}

// Fills in `same`, or says by false that the interface is to be taken away.
Result<bool> adopt(Node& node, Plan& plan, const Port& port) {
  if (stage_of(port.link) != Stage::attached) return false;
  PATU_TRY_LET(alive, has_peer(node, port));
  if (!alive) return false;
  std::string reason = "it is attached to another network";
  bool elsewhere = !is_own(node, port);
  if (!elsewhere) {
    PATU_TRY_LET(other, is_elsewhere(plan, port));
    elsewhere = other;
    reason = "it is attached in another network namespace";
  }
  if (elsewhere) {
    PATU_TRY_LET(stays, keeps_peer(node, port));
    if (!stays) return false;
    return fail(Errc::already_exists, reason);
  }
  if (const std::string text = difference(*plan.spec, port.record); !text.empty())
    return fail(Errc::already_exists, "it " + text);
  PATU_TRY_LET(inside, inspect_pod(node, *plan.pod, port));
  if (!inside.empty()) return false;
  PATU_TRY(repair(node, port));
  plan.same = to_attachment(node, port);
  plan.record = port.record;
  plan.peer_ifindex = port.link.peer_ifindex;
  return true;
}

}  // namespace

Result<std::vector<Plan>> make_plans(const Node& node, std::span<const PodSpec> specs) {
  std::vector<Plan> plans;
  std::set<AttachmentId> ids;
  for (const PodSpec& spec : specs) {
    PATU_TRY(check_spec(node, spec), "attach " + spec.id.to_string());
    if (!ids.insert(spec.id).second)
      return fail(Errc::invalid_argument, "attach " + spec.id.to_string() + ": the batch has it twice");
    Plan plan{&spec, host_ifname(spec.id), Record{spec.id, node.network}};
    if (spec.socket_redirect.value_or(node.options.socket_redirect)) plan.record.flags |= PATU_POD_REDIRECT;
    if (node.options.isolated) plan.record.flags |= PATU_POD_ISOLATED;
    if (node.options.hairpin) plan.record.flags |= PATU_POD_HAIRPIN;
    if (!spec.services) plan.record.flags |= PATU_POD_NO_SERVICES;
    plans.push_back(std::move(plan));
  }
  return plans;
}

Result<> open_pods(std::span<Plan> plans) {
  return on_thread([&]() -> Result<> {
    for (Plan& plan : plans) {
      const std::string what = "attach " + plan.spec->id.to_string();
      if (::setns(plan.spec->netns->fd(), CLONE_NEWNET) != 0)
        return PATU_FAIL_ERRNO(what + ": enter the pod's network namespace");
      PATU_TRY_LET(socket, nl::Socket::open(), what + ": open the pod's network namespace");
      plan.record.netns_cookie = socket.netns_cookie();
      if (!plan.spec->services && plan.record.netns_cookie == 0)
        return fail(Errc::unsupported,
                    what + ": a pod without services needs the cookie of its network namespace (Linux 5.14)");
      plan.pod.emplace(std::move(socket));
    }
    return {};
  });
}

Result<> find_existing(Node& node, Plan& plan) {
  PATU_TRY_LET(link, nl::find_link(node.socket, plan.name), "look up " + plan.name.to_string());
  if (!link) return {};
  auto record = parse_alias(node.tag, link->alias);
  if (!record || record->id != plan.spec->id)
    return fail(Errc::already_exists,
                "the node has an interface " + plan.name.to_string() + " that is not this attachment's");
  const Port port{std::move(*link), std::move(*record)};
  PATU_TRY_LET(adopted, adopt(node, plan, port));
  if (adopted) return {};
  plan.begun = true;
  PATU_TRY(remove_ports(node, {&port, 1}), "take away what is left of an earlier attachment");
  // Its own addresses may serve again; another network's are of no use here.
  if (!is_own(node, port)) PATU_TRY(release_addresses(node, plan.spec->id, &port.record));
  return {};
}

}  // namespace patu::network
