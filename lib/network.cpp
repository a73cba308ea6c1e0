// The public face of lib/network: what is there is done under the locks of the attachments concerned.
#include "patu/network.hpp"

#include <algorithm>

#include "names.hpp"
#include "network/node.hpp"

namespace patu {

struct Network::State {
  network::Node node;
};

Network::Network(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;
Network::~Network() = default;

Result<Network> Network::open(const Datapath& datapath, const NetworkOptions& options) {
  PATU_TRY_LET(node, network::open_node(datapath, options));
  return Network(std::make_unique<State>(State{std::move(node)}));
}

Result<Network> Network::adopt(const Datapath& datapath, const NetworkOptions& options) {
  PATU_TRY_LET(node, network::adopt_node(datapath, options));
  return Network(std::make_unique<State>(State{std::move(node)}));
}

Result<Attachment> Network::attach(const PodSpec& spec) {
  PATU_TRY_LET(attached, network::attach(state_->node, {&spec, 1}));
  return std::move(attached.front());
}

Result<std::vector<Attachment>> Network::attach(std::span<const PodSpec> specs) {
  return network::attach(state_->node, specs);
}

Result<> Network::detach(const AttachmentId& id) { return network::detach(state_->node, {&id, 1}); }
Result<> Network::detach(std::span<const AttachmentId> ids) { return network::detach(state_->node, ids); }
Result<> Network::abandon(const AttachmentId& id) { return network::abandon(state_->node, id); }

Result<std::vector<Deviation>> Network::check(const AttachmentId& id, const Netns* netns) const {
  return network::check(state_->node, id, netns);
}

Result<std::vector<Deviation>> Network::check() const { return network::check_all(state_->node); }

Result<std::vector<Attachment>> Network::list() const {
  PATU_TRY_LET(ports, network::all_ports_in_peace(state_->node), "list " + bridge().to_string());
  std::vector<Attachment> out;
  for (const network::Port& port : ports)
    if (network::is_own(state_->node, port) && network::stage_of(port.link) == network::Stage::attached)
      out.push_back(network::to_attachment(state_->node, port));
  std::sort(out.begin(), out.end(), [](const Attachment& a, const Attachment& b) { return a.id < b.id; });
  return out;
}

Result<Attachment> Network::find(const AttachmentId& id) const {
  PATU_TRY_LET(port, network::find_port(state_->node, id), "find " + id.to_string());
  if (!port || network::stage_of(port->link) != network::Stage::attached)
    return fail(Errc::not_found, "find " + id.to_string() + ": there is no such attachment");
  return network::to_attachment(state_->node, *port);
}

Result<ReconcileReport> Network::reconcile() { return network::reconcile(state_->node, std::nullopt); }
Result<ReconcileReport> Network::reconcile(std::span<const AttachmentId> keep) {
  return network::reconcile(state_->node, keep);
}

Result<> Network::remove() { return network::remove_bridge(state_->node); }

const IfName& Network::bridge() const noexcept { return state_->node.options.bridge; }
std::uint32_t Network::bridge_ifindex() const noexcept { return state_->node.bridge_ifindex; }
MacAddress Network::bridge_mac() const noexcept { return state_->node.bridge_mac; }

}  // namespace patu
