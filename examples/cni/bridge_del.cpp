// DEL and GC: nothing is loaded or made, every step runs whatever became of the others, and nothing to do is a success.
#include <algorithm>

#include "bridge.hpp"
#include "delegated_ipam.hpp"
#include "loopback.hpp"
#include "pools.hpp"

namespace cni::bridge {
namespace {

// Ranges that cannot be are no reason to keep what is there: they count as none.
patu::Network adopt_to_clear(const patu::Datapath& datapath, const patu::NetworkOptions& options) {
  auto network = patu::Network::adopt(datapath, options);
  if (network || network.error().code() != patu::Errc::invalid_argument) return expect(std::move(network));
  return expect(patu::Network::adopt(
      datapath,
      {.bridge = options.bridge, .subnets = {}, .name = options.name, .gateway = false, .default_route = false}));
}

void detach(const Call& call) {
  const auto datapath = find_datapath_to_clear(call.config);
  if (!datapath) return;
  auto network = adopt_to_clear(*datapath, call.config.network);
  expect(network.detach(call.id()));
  stop_masquerading_if_last(network, call.config);
}

bool lists_interface(const Result& previous, const patu::IfName& ifname) {
  const auto& interfaces = previous.interfaces;
  return std::any_of(interfaces.begin(), interfaces.end(), [&](const Interface& interface) {
    return interface.name == ifname.view() && !interface.sandbox.empty();
  });
}

// The interface and the leases of a pod that the reference plugins made before a switch. An interface goes only if there is
// a sign that it was made for this very attachment: a DEL that follows a refused ADD must not take another network's.
void remove_legacy(const Call& call, const std::optional<patu::Netns>& pod) {
  const Config& config = call.config;
  const bool is_listed = config.previous && lists_interface(*config.previous, call.id().ifname());
  const bool was_leased = release_legacy(legacy_of(config), call.id());
  if (pod && (is_listed || was_leased) && !is_own(*pod)) delete_foreign_interface(*pod, call.id().ifname());
}

}  // namespace

void del(const Call& call) {
  const auto pod = find_pod(call.request);  // refuses the plugin's own namespace
  Steps steps;
  steps.run([&] { detach(call); });
  steps.run([&] { remove_legacy(call, pod); });
  if (call.config.ipam.kind == IpamKind::delegated) steps.run([&] { delegated_del(call); });
  steps.finish();
}

void gc(const Call& call) {
  const std::vector<patu::AttachmentId>& keep = valid_attachments(call);
  const Config& config = call.config;
  Steps steps;
  steps.run([&] {
    const auto datapath = find_datapath_to_clear(config);
    if (!datapath) return;
    auto network = adopt_to_clear(*datapath, config.network);
    (void)expect(network.reconcile(keep));
    stop_masquerading_if_last(network, config);
  });
  steps.run([&] { collect_legacy(legacy_of(config), keep); });
  if (config.ipam.kind == IpamKind::delegated) steps.run([&] { delegated_call(call); });
  steps.finish();
}

}  // namespace cni::bridge
