// Opening a network: its bridge is made or adopted, and what the maps have lost is put back.
#include <algorithm>

#include "base/rollback.hpp"
#include "network/node.hpp"
#include "network/options.hpp"

namespace patu::network {
namespace {

Result<Node> make_node(const Datapath& datapath, const NetworkOptions& options) {
  PATU_TRY_LET(name, name_of(options));
  PATU_TRY_LET(pools, open_pools(datapath.instance(), options.subnets));
  PATU_TRY_LET(netns, options.netns != nullptr ? Netns::from_fd(options.netns->fd()) : Netns::current());
  PATU_TRY_LET(socket, options.netns != nullptr ? nl::Socket::open_in(netns.fd()) : nl::Socket::open());
  Node node{datapath.instance(), options, std::move(pools), std::move(netns), std::move(socket)};
  node.options.netns = nullptr;
  node.tag = instance_tag(node.instance->directory());
  node.network = network_tag(name);
  return node;
}

// Ports of all bridges: they run the program of an earlier build, the maps were lost with their file system, or the ports lost
// their bridge.
Result<> adopt_ports(Node& node, bool bridge_is_new) {
  PATU_TRY_LET(meta, node.instance->meta());
  if (meta.ports_build == meta.build[PATU_COMPONENT_POD] && !bridge_is_new) return {};
  PATU_TRY_LET(shards, node.instance->lock_shards());
  PATU_TRY_LET(ports, all_ports(node));
  bool all_adopted = true;
  for (const Port& port : ports) {
    if (stage_of(port.link) != Stage::attached) continue;
    auto restored = restore_port(node, port);
    if (!restored && restored.error().code() == Errc::already_exists) continue;
    PATU_TRY(std::move(restored), "adopt " + port.record.id.to_string());
    if (port.link.master == 0 && !is_own(node, port)) all_adopted = false;
  }
  // Of a network that shared the bridge: only its own open() knows that this one is the heir.
  meta.ports_build = all_adopted ? meta.build[PATU_COMPONENT_POD] : 0;
  return node.instance->put_meta(meta);
}

}  // namespace

Result<Node> open_node(const Datapath& datapath, const NetworkOptions& options) {
  const std::string what = "open network " + options.bridge.to_string();
  PATU_TRY_LET(node, make_node(datapath, options), what);
  PATU_TRY(check_options(options, node.pools, node.instance->redirect_loaded()), what);
  PATU_TRY_LET(lock, node.instance->lock_ports(), what);
  PATU_TRY(claim_instance(node), what);
  std::vector<nl::Request> requests;
  Rollback undo([&] {
    std::reverse(requests.begin(), requests.end());
    (void)node.socket.batch(requests);
  });
  PATU_TRY_LET(is_new, open_bridge(node, requests), what);
  PATU_TRY(put_excluded_ports(node, options.redirect_excluded_ports), what + ": excluded ports");
  PATU_TRY(adopt_ports(node, is_new), what);
  undo.commit();
  return std::move(node);
}

Result<Node> adopt_node(const Datapath& datapath, const NetworkOptions& options) {
  const std::string what = "adopt network " + options.bridge.to_string();
  PATU_TRY_LET(node, make_node(datapath, options), what);
  node.adopted = true;
  PATU_TRY(check_claim(node), what);
  PATU_TRY_LET(bridge, nl::find_link(node.socket, options.bridge), what);
  if (bridge && bridge->kind == "bridge") {
    node.bridge_ifindex = bridge->ifindex;
    node.bridge_mac = bridge->mac;
  }
  return std::move(node);
}

}  // namespace patu::network
