// Comparing an attachment with what attach() makes, and putting back what its outside has lost.
#include <net/if.h>

#include <algorithm>
#include <cstring>

#include "names.hpp"
#include "network/node.hpp"
#include "nl/addr.hpp"
#include "nl/route.hpp"

namespace patu::network {
namespace {

using Findings = std::vector<std::string>;

// What only attach(), detach() or the pod itself can change.
void inspect_state(const Node& node, const nl::Link& link, Findings& out) {
  if (stage_of(link) == Stage::making) out.push_back("attach was not completed");
  if (stage_of(link) == Stage::removing) out.push_back("detach was not completed");
  if ((link.flags & IFF_UP) != 0 && !link.carrier) out.push_back("the pod's end of " + link.name + " is down");
  if (link.mtu != node.mtu)
    out.push_back(link.name + " has an MTU of " + std::to_string(link.mtu) + ", not " + std::to_string(node.mtu));
}

Result<> inspect_link(Node& node, const nl::Link& link, Findings& out) {
  if (link.master != node.bridge_ifindex) out.push_back(link.name + " is not on bridge " + node.bridge.to_string());
  if ((link.flags & IFF_UP) == 0) out.push_back(link.name + " is down");
  PATU_TRY_LET(runs, is_guarded(node, link.ifindex), "look at the programs of " + link.name);
  if (!runs) out.push_back(link.name + " does not run the pod program");
  return {};
}

Result<> inspect_addresses(Node& node, const Record& record, Findings& out) {
  patu_attachment wanted{};
  for (const auto& address : {record.v4, record.v6}) {
    if (!address) continue;
    (address->is_v4() ? wanted.v4 : wanted.v6) = address_key(*address);
    PATU_TRY_LET(lease, node.instance->leases().lookup(address_key(*address)),
                 "look up the lease of " + address->to_string());
    if (!lease)
      out.push_back(address->to_string() + " is not leased");
    else if (!ipam::owns(record.id, *lease))
      out.push_back(address->to_string() + " is leased to somebody else");
  }
  PATU_TRY_LET(indexed, node.instance->attachments().lookup(index_key(host_ifname(record.id))),
               "look up the attachment");
  if (!indexed || std::memcmp(&*indexed, &wanted, sizeof wanted) != 0)
    out.push_back("the map 'attachments' has not its addresses");
  return {};
}

Result<> inspect_entries(Node& node, const Port& port, Findings& out) {
  for (const auto& [key, wanted] : pod_entries(port.record, port.link.ifindex, node.bridge_ifindex)) {
    PATU_TRY_LET(entry, node.instance->pods().lookup(key), "look the pod up in the map 'pods'");
    if (entry && std::memcmp(&*entry, &wanted, sizeof wanted) == 0) continue;
    const bool link_local = key.bytes[0] == 0xfe && key.bytes[1] == 0x80;
    out.push_back("the map 'pods' has not " + (link_local ? "its link-local address" : to_address(key).to_string()));
  }
  if (!is_exempt(port.record)) return {};
  PATU_TRY_LET(exempt, node.instance->exempt().lookup(port.record.netns_cookie), "look the pod up in the map 'exempt'");
  if (!exempt) out.push_back("the map 'exempt' has not its network namespace");
  return {};
}

Result<> inspect_routes(nl::Socket& pod, const Attachment& wanted, std::uint32_t ifindex, Findings& out) {
  PATU_TRY_LET(routes, nl::list_routes(pod), "list the pod's routes");
  for (const IpAddress& gateway : wanted.gateways) {
    const bool there = std::any_of(routes.begin(), routes.end(), [&](const nl::Route& route) {
      return !route.destination && route.gateway == gateway && route.ifindex == ifindex;
    });
    if (!there) out.push_back("the pod has no default route through " + gateway.to_string());
  }
  return {};
}

Result<> inspect_pod_link(nl::Socket& pod, const Port& port, const nl::Link& link, Findings& out) {
  PATU_TRY_LET(loopback, nl::find_link(pod, *IfName::parse("lo")), "look up the pod's loopback interface");
  if (!loopback || (loopback->flags & IFF_UP) == 0) out.push_back("the pod's lo is down");
  if ((link.flags & IFF_UP) == 0) out.push_back("the pod's " + link.name + " is down");
  if (link.mac != port.record.mac)
    out.push_back("the pod's " + link.name + " has MAC " + link.mac.to_string() + ", not " +
                  port.record.mac.to_string());
  if (link.mtu != port.link.mtu)
    out.push_back("the pod's " + link.name + " has an MTU of " + std::to_string(link.mtu) + ", not " +
                  std::to_string(port.link.mtu));
  return {};
}

// What repair() puts back.
Result<> inspect_lost(Node& node, const Port& port, Findings& out) {
  PATU_TRY(inspect_link(node, port.link, out));
  PATU_TRY(inspect_addresses(node, port.record, out));
  PATU_TRY(inspect_entries(node, port, out));
  return {};
}

}  // namespace

Result<std::vector<std::string>> inspect_port(Node& node, const Port& port) {
  Findings out;
  inspect_state(node, port.link, out);
  PATU_TRY(inspect_lost(node, port, out));
  return out;
}

Result<std::vector<std::string>> inspect_pod(const Node& node, nl::Socket& pod, const Port& port) {
  Findings out;
  const IfName& name = port.record.id.ifname();
  PATU_TRY_LET(link, nl::find_link(pod, name), "look up the pod's " + name.to_string());
  if (!link || link->ifindex != port.link.peer_ifindex || link->peer_ifindex != port.link.ifindex) {
    out.push_back("the pod has no interface " + name.to_string() + " that belongs to " + port.link.name);
    return out;
  }
  PATU_TRY(inspect_pod_link(pod, port, *link, out));
  const Attachment wanted = to_attachment(node, port);
  PATU_TRY_LET(addresses, nl::list_addresses(pod, link->ifindex), "list the pod's addresses");
  for (const InterfaceAddress& address : wanted.addresses)
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      out.push_back("the pod's " + link->name + " has not " + address.to_string());
  if (node.default_route) PATU_TRY(inspect_routes(pod, wanted, link->ifindex, out));
  return out;
}

Result<bool> restore_port(Node& node, const Port& port) {
  const nl::Link& link = port.link;
  const std::uint32_t bridge = is_own(node, port) ? node.bridge_ifindex : link.master;
  PATU_TRY(ipam::restore(*node.instance, port.record.id, port.record.v4, port.record.v6));
  PATU_TRY(put_entries(node, port.record, link.ifindex, bridge));
  if (auto guarded = guard(node, {&link.ifindex, 1}); !guarded) {
    PATU_TRY_LET(there, nl::find_link(node.socket, link.ifindex));
    if (there) return fail(std::move(guarded.error()));
    // The pod has gone, or deleted its end: what was put back is of nobody any more.
    PATU_TRY(erase_entries(node, port.record, link.ifindex));
    PATU_TRY(release_addresses(node, port.record.id));
    return false;
  }
  std::vector<nl::Request> requests;
  if (link.master != bridge) requests.push_back(nl::set_link_master(link.ifindex, bridge));
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
