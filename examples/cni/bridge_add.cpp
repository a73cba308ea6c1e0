// ADD: everything is read and looked at before the first change, and what this call has made goes again if a later step fails.
#include <algorithm>

#include "bridge.hpp"
#include "delegated_ipam.hpp"
#include "loopback.hpp"
#include "pools.hpp"

namespace cni::bridge {
namespace {

patu::Network open_network(const patu::Datapath& datapath, const Config& config) {
  auto network = patu::Network::open(datapath, config.network);
  if (network) return std::move(*network);
  // A bridge that is otherwise than the configuration says; nothing of the pod's is in the way.
  const std::string what = "bridge " + config.network.bridge.to_string();
  if (network.error().code() != patu::Errc::already_exists) throw Failure(network.error(), what);
  throw Failure(Code::invalid_config, what + ": " + network.error().to_string());
}

[[noreturn]] void refuse(const Call& call) {
  throw Failure(Code::interface_exists, "CNI_IFNAME: " + call.id().to_string() + " is attached already");
}

// The same ADD twice is an error; what a killed one left half made is not an attachment yet.
void refuse_existing(const patu::Network& network, const Call& call, const patu::Netns& pod) {
  if (!network.find(call.id())) return;
  const auto deviations = expect(network.check(call.id(), &pod));
  // What others may change of a whole one, such as `tuning` its MTU, does not make it half of one.
  const auto is_others = [](const patu::Deviation& one) {
    return one.kind == patu::DeviationKind::pod_mtu || one.kind == patu::DeviationKind::pod_route;
  };
  if (std::all_of(deviations.begin(), deviations.end(), is_others)) refuse(call);
}

// Before another plugin is asked: its DEL, which follows a refusal, would give back the address of the pod that is attached. Seen
// from outside, as the subnets are not known yet.
void refuse_attached(const Call& call) {
  const auto datapath = find_datapath(call.config);
  if (!datapath) return;
  const auto network = expect(patu::Network::adopt(*datapath, call.config.network));
  if (network.find(call.id()) && expect(network.check(call.id())).empty()) refuse(call);
}

[[noreturn]] void explain(const patu::Error& error, const patu::Network& network, const Call& call,
                          const patu::Netns& pod) {
  if (error.code() == patu::Errc::not_found) throw Failure(Code::try_again, error.to_string());  // the bridge has gone
  if (error.code() == patu::Errc::already_exists && !call.config.addresses.empty() && !network.find(call.id()) &&
      !has_interface(pod, call.id().ifname()))
    throw Failure(Code::address_in_use, error.to_string());
  throw Failure(error);
}

patu::Attachment attach(patu::Network& network, const Call& call, const patu::Netns& pod) {
  const Config& config = call.config;
  const patu::PodSpec spec{
      .id = call.id(), .netns = &pod, .addresses = config.addresses, .mac = config.mac, .services = config.services};
  auto made = network.attach(spec);
  // The plugin that gave the address is the one that knows whose it is: patu's own lease of it then is of a pod that has gone.
  if (!made && made.error().code() == patu::Errc::already_exists && config.ipam.kind == IpamKind::delegated) {
    (void)expect(network.reconcile());
    made = network.attach(spec);
  }
  if (!made) explain(made.error(), network, call, pod);
  return std::move(*made);
}

void open_egress(patu::Network& network, const Call& call) {
  if (!call.config.masquerade || call.config.network.subnets.empty()) return;
  try {
    masquerade(masqueraded(call.config));
  } catch (const Failure&) {
    Steps undo;
    undo.run([&] { expect(network.detach(call.id())); });
    undo.run([&] { stop_masquerading_if_last(network, call.config); });
    throw;
  }
}

Result result_of(const patu::Network& network, const patu::Attachment& made, const Call& call) {
  const Config& config = call.config;
  Result out = config.previous.value_or(Result{});  // of the plugins before this one in a chain
  const std::size_t pod = out.interfaces.size() + 2;
  out.interfaces.push_back(
      {.name = config.network.bridge.to_string(), .mac = network.bridge_mac().to_string(), .mtu = config.network.mtu});
  out.interfaces.push_back({.name = made.host_ifname.to_string(), .mac = made.host_mac.to_string(), .mtu = made.mtu});
  out.interfaces.push_back({.name = made.id.ifname().to_string(),
                            .mac = made.mac.to_string(),
                            .sandbox = call.request.netns,
                            .mtu = made.mtu});
  for (std::size_t i = 0; i < made.addresses.size(); ++i) {
    Address address{.address = made.addresses[i], .interface = pod};
    const auto& unreal = config.unreal_gateways;
    if (i < made.gateways.size() && std::find(unreal.begin(), unreal.end(), made.gateways[i]) == unreal.end())
      address.gateway = made.gateways[i];
    out.addresses.push_back(std::move(address));
  }
  out.routes.insert(out.routes.end(), config.network.routes.begin(), config.network.routes.end());
  if (config.network.default_route)
    for (const patu::IpAddress& gateway : made.gateways) {
      const patu::Prefix everything = *patu::Prefix::parse(gateway.is_v4() ? "0.0.0.0/0" : "::/0");
      const auto is_it = [&](const patu::Route& route) { return route.destination == everything; };
      if (std::none_of(config.network.routes.begin(), config.network.routes.end(), is_it))
        out.routes.push_back({.destination = everything, .gateway = gateway});
    }
  if (!config.dns.is_empty()) out.dns = config.dns;
  return out;
}

// With the addresses known, be they the library's to choose or given.
Added attach_with(const Call& call, const patu::Netns& pod) {
  const Config& config = call.config;
  const auto datapath = expect(patu::Datapath::open(config.datapath), "instance '" + config.datapath.instance + "'");
  patu::Network network = open_network(datapath, config);
  refuse_existing(network, call, pod);
  Added added;
  if (config.network.gateway)
    for (const std::string& sysctl : forward(has_family(config, true), has_family(config, false)))
      added.remarks.push_back("turned on " + sysctl);
  const patu::Attachment made = attach(network, call, pod);
  open_egress(network, call);
  added.result = result_of(network, made, call);
  return added;
}

}  // namespace

Added add(const Call& call) {
  const patu::Netns pod = open_pod(call.request);
  Call whole = call;
  if (call.config.ipam.kind != IpamKind::delegated) {
    whole.config.network.subnets = subnets_of(call.config);
    refuse_requested(call.config, whole.config.network.subnets);
    if (whole.config.dns.is_empty() && !whole.config.ipam.resolv_conf.empty())
      whole.config.dns = read_resolv_conf(whole.config.ipam.resolv_conf);
    return attach_with(whole, pod);
  }
  refuse_attached(call);
  const Result answer = delegated_add(call);
  try {
    take_addresses(answer, whole.config);
    if (whole.config.dns.is_empty()) whole.config.dns = answer.dns;
    return attach_with(whole, pod);
  } catch (const Failure&) {
    Steps undo;
    undo.run([&] { delegated_del(call); });
    throw;
  }
}

}  // namespace cni::bridge
