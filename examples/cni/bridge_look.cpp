// CHECK and STATUS: both look, and change nothing.
#include <dirent.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <memory>
#include <set>

#include "bridge.hpp"
#include "delegated_ipam.hpp"
#include "pools.hpp"

namespace cni::bridge {
namespace {

using Findings = std::vector<std::string>;

// What a plugin behind this one in a chain may change: `tuning` an MTU, `sbr` where routes stand. The result of the chain says
// which routes are still meant to be there.
bool is_tolerated(const patu::Deviation& deviation, const Call& call) {
  if (deviation.kind == patu::DeviationKind::pod_mtu) return true;
  const auto& routes = previous_result(call).routes;
  return deviation.kind == patu::DeviationKind::pod_route &&
         std::none_of(routes.begin(), routes.end(),
                      [&](const patu::Route& route) { return route.destination == deviation.destination; });
}

void compare_interfaces(const Result& previous, const patu::Network& network, const patu::Attachment& made,
                        Findings& out) {
  const auto& interfaces = previous.interfaces;
  const auto is_pods = [&](const Interface& one) {
    return one.name == made.id.ifname().view() && !one.sandbox.empty();
  };
  if (std::none_of(interfaces.begin(), interfaces.end(), is_pods))
    out.push_back("prevResult has no interface " + made.id.ifname().to_string() + " in a sandbox");
  const auto compare = [&](const patu::IfName& name, const patu::MacAddress& mac) {
    for (const Interface& one : interfaces)
      if (one.name == name.view() && one.sandbox.empty() && !one.mac.empty() && one.mac != mac.to_string())
        out.push_back(one.name + " has MAC " + mac.to_string() + ", and " + one.mac + " in prevResult");
  };
  compare(network.bridge(), network.bridge_mac());
  compare(made.host_ifname, made.host_mac);
}

// Others in the chain may have added some.
void compare_addresses(const Result& previous, const patu::Attachment& made, Findings& out) {
  for (const patu::InterfaceAddress& address : made.addresses) {
    const auto is_it = [&](const Address& one) { return one.address == address; };
    if (std::none_of(previous.addresses.begin(), previous.addresses.end(), is_it))
      out.push_back("the pod has " + address.to_string() + ", which prevResult has not");
  }
}

Findings inspect(const Call& call, const patu::Network& network, const patu::Netns& pod) {
  Findings out;
  auto deviations = network.check(call.id(), &pod);
  if (!deviations) {
    if (deviations.error().code() == patu::Errc::not_found)
      throw Failure(Code::unknown_container, call.id().to_string() + " is not attached to " + call.name());
    throw Failure(deviations.error());
  }
  for (patu::Deviation& deviation : *deviations)
    if (!is_tolerated(deviation, call)) out.push_back(std::move(deviation.what));
  const auto made = network.find(call.id());
  if (!made) return out;  // its interface is gone, as the deviations say
  compare_interfaces(previous_result(call), network, *made, out);
  compare_addresses(previous_result(call), *made, out);
  return out;
}

void append(Findings& to, Findings from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

std::string joined(const Findings& findings) {
  std::string text;
  for (const std::string& finding : findings) text += (text.empty() ? "" : "; ") + finding;
  return text;
}

// From sysfs, as there is nothing else to ask where the instance is gone.
bool has_ports(const patu::IfName& bridge) {
  const auto close = [](DIR* directory) { ::closedir(directory); };
  const std::string path = "/sys/class/net/" + bridge.to_string() + "/brif";
  const std::unique_ptr<DIR, decltype(close)> directory(::opendir(path.c_str()), close);
  while (directory != nullptr) {
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) return false;
    if (entry->d_name[0] != '.') return true;
  }
  return false;
}

bool is_bpffs(const std::string& path) {
  struct statfs found {};
  return ::statfs(path.c_str(), &found) == 0 && static_cast<std::uint64_t>(found.f_type) == BPF_FS_MAGIC;
}

Failure unavailable(const Config& config, const std::string& what) {
  const bool cuts_off = has_ports(config.network.bridge);
  return Failure(cuts_off ? Code::limited_connectivity : Code::not_available,
                 cuts_off ? what + ", and interfaces are on bridge " + config.network.bridge.to_string() : what);
}

void look_at_pools(const patu::Datapath& datapath, const patu::Network& network, const Config& config) {
  std::optional<std::set<patu::AttachmentId>> attached;
  refuse_exhausted(datapath, subnets_of(config), [&](const patu::AttachmentId& owner) {
    if (!attached) {
      attached.emplace();
      for (const patu::Attachment& one : expect(network.list())) attached->insert(one.id);
    }
    return attached->count(owner) != 0;
  });
}

// The addresses may outnumber the pods that the instance has room for.
void look_for_room(const patu::Datapath& datapath, const patu::Network& network, const Config& config) {
  const auto maps = expect(datapath.status(), "instance '" + config.datapath.instance + "'").maps;
  const auto attachments =
      std::find_if(maps.begin(), maps.end(), [](const patu::MapStatus& map) { return map.name == "attachments"; });
  if (attachments != maps.end() && expect(network.list()).size() >= attachments->max_entries)
    throw Failure(Code::not_available, "instance '" + config.datapath.instance + "' is full: it was made for " +
                                           std::to_string(attachments->max_entries) + " pods (maxPods)");
}

void look_at_instance(const Config& config) {
  auto datapath = patu::Datapath::adopt(config.datapath);
  if (!datapath && datapath.error().code() == patu::Errc::not_found) {
    if (!is_bpffs(config.datapath.bpffs)) throw unavailable(config, config.datapath.bpffs + " is no BPF file system");
    if (!has_ports(config.network.bridge)) return;  // the first ADD loads it
    throw unavailable(config, "instance '" + config.datapath.instance + "' is not loaded");
  }
  if (!datapath) throw unavailable(config, datapath.error().to_string());
  const auto network = patu::Network::adopt(*datapath, config.network);
  if (!network) throw unavailable(config, network.error().to_string());
  if (network->bridge_ifindex() == 0 && !expect(network->list()).empty())
    throw Failure(Code::limited_connectivity, "bridge " + config.network.bridge.to_string() + " is gone");
  look_at_pools(*datapath, *network, config);
  look_for_room(*datapath, *network, config);
}

// Where another plugin gave the addresses: what it said of them is in the chain's result, among what others have added.
void recall_addresses(const patu::Datapath& datapath, const Call& call, Config& config) {
  const auto made = expect(patu::Network::adopt(datapath, config.network)).find(call.id());
  if (!made) return;
  Result own;
  own.routes = config.network.routes;
  for (const Address& one : previous_result(call).addresses)
    for (const patu::InterfaceAddress& address : made->addresses)
      if (one.address.address == address.address) own.addresses.push_back(one);
  take_addresses(own, config);
}

}  // namespace

void check(const Call& call) {
  (void)previous_result(call);
  const patu::Netns pod = open_pod(call.request);
  const auto datapath = find_datapath(call.config);
  if (!datapath) throw Failure(Code::check_failed, "instance '" + call.config.datapath.instance + "' is not loaded");
  Config config = call.config;
  if (config.ipam.kind == IpamKind::delegated) recall_addresses(*datapath, call, config);
  const auto network = expect(patu::Network::adopt(*datapath, config.network));
  Findings findings = inspect(call, network, pod);
  if (config.network.gateway)
    append(findings, forwarding_deviations(has_family(config, true), has_family(config, false)));
  if (config.masquerade && !config.network.subnets.empty())
    append(findings, masquerade_deviations(masqueraded(config)));
  if (!findings.empty()) throw Failure(Code::check_failed, joined(findings));
  if (config.ipam.kind == IpamKind::delegated) delegated_call(call);
}

void status(const Call& call) {
  look_at_instance(call.config);
  if (call.config.ipam.kind == IpamKind::delegated) delegated_call(call);
}

}  // namespace cni::bridge
