// The pod's end of an attachment: what is set inside of the pod's namespace.
#include <thread>

#include "network/plan.hpp"
#include "network/routes.hpp"
#include "nl/addr.hpp"

namespace patu::network {
namespace {

// It is usable at once, or after some microseconds; where namespaces are torn down meanwhile, when the kernel's worker has had
// its turn at the rtnl lock. A pod that takes its address off itself must not hold us up for ever.
constexpr std::chrono::seconds kAddressPatience{10};

// Duplicate address detection waits up to 1 s before its one probe, and 1 s for an answer to it; pods may ask for more probes.
constexpr std::chrono::seconds kProbePatience{10};
constexpr std::chrono::milliseconds kProbePause{10};

std::string in_pod(const Plan& plan) { return "attach " + plan.spec->id.to_string() + ": in the pod"; }

// Errors: already_exists (a duplicate), io. True: there is nothing to wait for any more.
Result<bool> is_probed(Plan& plan) {
  PATU_TRY_LET(addresses, nl::list_addresses_with_state(*plan.pod, plan.peer_ifindex), "list the pod's addresses");
  bool waiting = false;
  bool found = false;
  for (const nl::AddressState& one : addresses) {
    if (one.is_duplicate)
      return fail(Errc::already_exists, one.address.address.to_string() + " is somebody else's already");
    waiting = waiting || one.is_tentative;
    found = found || one.address.address == plan.record.v6;
  }
  if (!found) return fail(Errc::io, plan.record.v6->to_string() + " is gone");
  return !waiting;
}

}  // namespace

Result<> configure_pod(const Node& node, Plan& plan) {
  const Port port{{}, plan.record};
  const Attachment wanted = to_attachment(node, port);
  const std::vector<nl::Route> routes = routes_of(node, plan.record, plan.peer_ifindex);
  const IfName& name = plan.spec->id.ifname();
  std::vector<nl::Request> requests;
  requests.push_back(nl::set_link_up(*IfName::parse("lo")));
  if (plan.record.v6) requests.push_back(nl::set_link_eui64(name));
  requests.push_back(nl::set_announcing_link_up(plan.peer_ifindex));
  const std::size_t addresses_at = requests.size();
  for (const InterfaceAddress& address : wanted.addresses)
    requests.push_back(nl::add_address(plan.peer_ifindex, address, node.options.duplicate_address_detection));
  const std::size_t routes_at = requests.size();
  for (const nl::Route& route : routes) requests.push_back(nl::add_route(route));
  auto sent = plan.pod->batch(requests);
  if (sent) return {};
  const std::size_t index = sent.error().index;
  std::string step = "set up " + name.to_string();
  if (index >= routes_at)
    step = "add route " + to_text(routes[index - routes_at]);
  else if (index >= addresses_at)
    step = "add " + wanted.addresses[index - addresses_at].to_string();
  return fail(std::move(sent.error().error).context(in_pod(plan) + ": " + step));
}

Result<> await_addresses(Plan& plan) {
  if (plan.record.v6) PATU_TRY(await_local(*plan.pod, *plan.record.v6, kAddressPatience), in_pod(plan));
  // An open socket would keep the namespace alive.
  plan.pod.reset();
  return {};
}

Result<> await_probes(Plan& plan) {
  const auto deadline = std::chrono::steady_clock::now() + kProbePatience;
  while (plan.record.v6) {
    PATU_TRY_LET(done, is_probed(plan), in_pod(plan));
    if (done) break;
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::timed_out, in_pod(plan) + ": duplicate address detection does not end");
    std::this_thread::sleep_for(kProbePause);
  }
  return await_addresses(plan);
}

}  // namespace patu::network
