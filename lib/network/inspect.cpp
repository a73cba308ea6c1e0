// Comparing an attachment with what attach() makes, and putting back what its outside has lost.
#include <net/if.h>

#include <algorithm>
#include <cstring>

#include "names.hpp"
#include "network/node.hpp"
#include "network/routes.hpp"
#include "nl/addr.hpp"

namespace patu::network {
namespace {

// The bridge that the port should be on; where there is none, the one that it is on.
std::uint32_t bridge_of(const Node& node, const Port& port) noexcept {
  return is_own(node, port) && node.bridge_ifindex != 0 ? node.bridge_ifindex : port.link.master;
}

// What only attach(), detach() or the pod itself can change.
void inspect_state(const Node& node, const nl::Link& link, Findings& out) {
  if (stage_of(link) == Stage::making) out.push_back({DeviationKind::attachment, "attach was not completed"});
  if (stage_of(link) == Stage::removing) out.push_back({DeviationKind::attachment, "detach was not completed"});
  if ((link.flags & IFF_UP) != 0 && !link.carrier)
    out.push_back({DeviationKind::pod_interface, "the pod's end of " + link.name + " is down"});
  if (link.mtu != node.options.mtu)
    out.push_back({DeviationKind::host_interface, link.name + " has an MTU of " + std::to_string(link.mtu) + ", not " +
                                                      std::to_string(node.options.mtu)});
  if (node.bridge_ifindex == 0)
    out.push_back({DeviationKind::bridge, "bridge " + node.options.bridge.to_string() + " is gone"});
}

Result<> inspect_link(Node& node, const Port& port, Findings& out) {
  const nl::Link& link = port.link;
  if (link.master != bridge_of(node, port))
    out.push_back({DeviationKind::host_interface, link.name + " is not on bridge " + node.options.bridge.to_string()});
  if ((link.flags & IFF_UP) == 0) out.push_back({DeviationKind::host_interface, link.name + " is down"});
  if (link.hairpin != is_hairpin(port.record))
    out.push_back({DeviationKind::host_interface, link.name + (link.hairpin ? " is" : " is not") + " in hairpin mode"});
  if (link.isolated != is_isolated(port.record))
    out.push_back({DeviationKind::host_interface, link.name + (link.isolated ? " is" : " is not") + " isolated"});
  if (!port.record.has_address()) return {};
  PATU_TRY_LET(runs, is_guarded(node, link.ifindex), "look at the programs of " + link.name);
  if (!runs) out.push_back({DeviationKind::program, link.name + " does not run the pod program"});
  return {};
}

Result<> inspect_addresses(Node& node, const Record& record, Findings& out) {
  if (!record.has_address()) return {};
  patu_attachment wanted{};
  for (const auto& address : {record.v4, record.v6}) {
    if (!address) continue;
    (address->is_v4() ? wanted.v4 : wanted.v6) = address_key(*address);
    PATU_TRY_LET(lease, node.instance->leases().lookup(address_key(*address)),
                 "look up the lease of " + address->to_string());
    if (!lease)
      out.push_back({DeviationKind::lease, address->to_string() + " is not leased"});
    else if (!ipam::owns(record.id, *lease))
      out.push_back({DeviationKind::lease, address->to_string() + " is leased to somebody else"});
  }
  PATU_TRY_LET(indexed, node.instance->attachments().lookup(index_key(host_ifname(record.id))),
               "look up the attachment");
  if (!indexed || std::memcmp(&*indexed, &wanted, sizeof wanted) != 0)
    out.push_back({DeviationKind::map_entry, "the map 'attachments' has not its addresses"});
  return {};
}

Result<> inspect_entries(Node& node, const Port& port, Findings& out) {
  for (auto& [key, wanted] : pod_entries(port.record, port.link.ifindex, bridge_of(node, port))) {
    PATU_TRY_LET(entry, node.instance->pods().lookup(key), "look the pod up in the map 'pods'");
    // Without a bridge there is nothing that it could be of.
    if (entry && wanted.bridge_ifindex == 0) wanted.bridge_ifindex = entry->bridge_ifindex;
    if (entry && std::memcmp(&*entry, &wanted, sizeof wanted) == 0) continue;
    const bool link_local = key.bytes[0] == 0xfe && key.bytes[1] == 0x80;
    out.push_back({DeviationKind::map_entry,
                   "the map 'pods' has not " + (link_local ? "its link-local address" : to_address(key).to_string())});
  }
  if (!is_exempt(port.record)) return {};
  PATU_TRY_LET(exempt, node.instance->exempt().lookup(port.record.netns_cookie), "look the pod up in the map 'exempt'");
  if (!exempt) out.push_back({DeviationKind::map_entry, "the map 'exempt' has not its network namespace"});
  return {};
}

Result<> inspect_routes(nl::Socket& pod, std::span<const nl::Route> wanted, Findings& out) {
  if (wanted.empty()) return {};
  PATU_TRY_LET(routes, nl::list_routes(pod), "list the pod's routes");
  for (const nl::Route& route : wanted)
    if (!is_there(route, routes))
      out.push_back({DeviationKind::pod_route, "the pod has not the route " + to_text(route), route.destination});
  return {};
}

// The prefix of a subnet that the network does not have is not known.
bool has_address(const Node& node, const std::vector<nl::AddressState>& all, const InterfaceAddress& wanted) {
  const bool known = node.pool_of(wanted.address) != nullptr;
  return std::any_of(all.begin(), all.end(), [&](const nl::AddressState& one) {
    return !one.is_duplicate && (known ? one.address == wanted : one.address.address == wanted.address);
  });
}

Result<> inspect_pod_link(nl::Socket& pod, const Port& port, const nl::Link& link, Findings& out) {
  PATU_TRY_LET(loopback, nl::find_link(pod, *IfName::parse("lo")), "look up the pod's loopback interface");
  if (!loopback || (loopback->flags & IFF_UP) == 0)
    out.push_back({DeviationKind::pod_interface, "the pod's lo is down"});
  if ((link.flags & IFF_UP) == 0) out.push_back({DeviationKind::pod_interface, "the pod's " + link.name + " is down"});
  if (link.mac != port.record.mac)
    out.push_back({DeviationKind::pod_interface, "the pod's " + link.name + " has MAC " + link.mac.to_string() +
                                                     ", not " + port.record.mac.to_string()});
  if (link.mtu != port.link.mtu)
    out.push_back({DeviationKind::pod_mtu, "the pod's " + link.name + " has an MTU of " + std::to_string(link.mtu) +
                                               ", not " + std::to_string(port.link.mtu)});
  return {};
}

// What repair() puts back.
Result<> inspect_lost(Node& node, const Port& port, Findings& out) {
  PATU_TRY(inspect_link(node, port, out));
  PATU_TRY(inspect_addresses(node, port.record, out));
  PATU_TRY(inspect_entries(node, port, out));
  return {};
}

// False: the interface is gone.
Result<bool> restore_guard(Node& node, const Port& port) {
  const std::uint32_t ifindex = port.link.ifindex;
  const bool has_guard = port.record.has_address();
  auto guarded = has_guard ? guard(node, {&ifindex, 1}) : Result<>();
  if (has_guard && guarded) return true;
  PATU_TRY_LET(there, nl::find_link(node.socket, ifindex));
  if (there && !guarded) return fail(std::move(guarded.error()));
  return there.has_value();
}

}  // namespace

Result<Findings> inspect_port(Node& node, const Port& port) {
  Findings out;
  inspect_state(node, port.link, out);
  PATU_TRY(inspect_lost(node, port, out));
  return out;
}

Result<Findings> inspect_pod(const Node& node, nl::Socket& pod, const Port& port) {
  Findings out;
  const IfName& name = port.record.id.ifname();
  PATU_TRY_LET(link, nl::find_link(pod, name), "look up the pod's " + name.to_string());
  if (!link || link->ifindex != port.link.peer_ifindex || link->peer_ifindex != port.link.ifindex) {
    out.push_back({DeviationKind::pod_interface,
                   "the pod has no interface " + name.to_string() + " that belongs to " + port.link.name});
    return out;
  }
  PATU_TRY(inspect_pod_link(pod, port, *link, out));
  const Attachment wanted = to_attachment(node, port);
  PATU_TRY_LET(addresses, nl::list_addresses_with_state(pod, link->ifindex), "list the pod's addresses");
  for (const InterfaceAddress& address : wanted.addresses)
    if (!has_address(node, addresses, address))
      out.push_back({DeviationKind::pod_address, "the pod's " + link->name + " has not " + address.to_string()});
  PATU_TRY(inspect_routes(pod, routes_of(node, port.record, link->ifindex), out));
  return out;
}

Result<bool> restore_port(Node& node, const Port& port) {
  const nl::Link& link = port.link;
  const std::uint32_t bridge = bridge_of(node, port);
  if (port.record.has_address())
    PATU_TRY(ipam::restore(*node.instance, port.record.id, port.record.v4, port.record.v6));
  PATU_TRY(put_entries(node, port.record, link.ifindex, bridge));
  PATU_TRY_LET(there, restore_guard(node, port));
  if (!there) {
    // The pod has gone, or deleted its end: what was put back is of nobody any more.
    PATU_TRY(erase_entries(node, port.record, link.ifindex));
    PATU_TRY(release_addresses(node, port.record.id, &port.record));
    return false;
  }
  std::vector<nl::Request> requests;
  if (link.master != bridge) requests.push_back(nl::set_link_master(link.ifindex, bridge));
  // On another bridge it is a new port.
  const bool hairpin = is_hairpin(port.record);
  const bool isolated = is_isolated(port.record);
  if (bridge != 0 && (hairpin || isolated || link.hairpin || link.isolated))
    requests.push_back(nl::set_port_modes(link.ifindex, hairpin, isolated));
  requests.push_back(nl::set_link_up(link.ifindex));
  requests.push_back(nl::set_link_group(link.ifindex, kAttachedGroup));
  PATU_TRY(batch_unless_gone(node.socket, requests), "set up " + link.name);
  return true;
}

Result<bool> repair(Node& node, const Port& port) {
  Findings lost;
  PATU_TRY(inspect_lost(node, port, lost));
  if (lost.empty() && port.link.group != 0) return false;
  PATU_TRY_LET(there, restore_port(node, port));
  return there && !lost.empty();
}

}  // namespace patu::network
