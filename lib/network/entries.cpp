// A pod's entries in the maps that the programs read.
#include <array>
#include <cstring>

#include "names.hpp"
#include "network/node.hpp"

namespace patu::network {
namespace {

// Another interface of the same namespace that is to be without services too.
Result<std::optional<std::uint32_t>> find_heir(Node& node, const Record& record, std::uint32_t ifindex) {
  std::optional<std::uint32_t> heir;
  PATU_TRY(node.instance->pods().visit([&](const patu_addr&, const patu_pod& pod) -> Result<> {
    const bool exempt = (pod.flags & PATU_POD_NO_SERVICES) != 0;
    if (exempt && pod.netns_cookie == record.netns_cookie && pod.ifindex != ifindex) heir = pod.ifindex;
    return {};
  }),
           "read the map 'pods'");
  if (heir) return heir;
  // One without an address is not in there.
  PATU_TRY_LET(ports, all_ports(node));
  for (const Port& port : ports)
    if (is_exempt(port.record) && port.record.netns_cookie == record.netns_cookie && port.link.ifindex != ifindex &&
        stage_of(port.link) == Stage::attached)
      heir = port.link.ifindex;
  return heir;
}

Result<> erase_exemption(Node& node, const Record& record, std::uint32_t ifindex) {
  const auto exempt = node.instance->exempt();
  PATU_TRY_LET(holder, exempt.lookup(record.netns_cookie), "look the pod up in the map 'exempt'");
  if (!holder || *holder != ifindex) return {};
  PATU_TRY_LET(heir, find_heir(node, record, ifindex));
  if (heir)
    PATU_TRY(exempt.put(record.netns_cookie, *heir), "enter the pod into the map 'exempt'");
  else
    PATU_TRY(exempt.erase(record.netns_cookie), "take the pod out of the map 'exempt'");
  return {};
}

}  // namespace

std::vector<std::pair<patu_addr, patu_pod>> pod_entries(const Record& record, std::uint32_t ifindex,
                                                        std::uint32_t bridge_ifindex) {
  patu_pod pod{};
  pod.netns_cookie = record.netns_cookie;
  pod.ifindex = ifindex;
  pod.bridge_ifindex = bridge_ifindex;
  std::memcpy(pod.mac, record.mac.bytes().data(), sizeof pod.mac);
  pod.flags = record.flags;
  std::vector<std::pair<patu_addr, patu_pod>> entries;
  if (record.v4) entries.emplace_back(address_key(*record.v4), pod);
  if (record.v6) {
    entries.emplace_back(address_key(*record.v6), pod);
    // Link-local traffic is checked, never redirected.
    pod.netns_cookie = 0;
    entries.emplace_back(patu_link_local(ifindex, pod.mac), pod);
  }
  return entries;
}

Result<> put_entries(const Node& node, const Record& record, std::uint32_t ifindex, std::uint32_t bridge_ifindex) {
  for (const auto& [key, pod] : pod_entries(record, ifindex, bridge_ifindex))
    PATU_TRY(node.instance->pods().put(key, pod), "enter the pod into the map 'pods'");
  if (is_exempt(record))
    PATU_TRY(node.instance->exempt().put(record.netns_cookie, ifindex), "enter the pod into the map 'exempt'");
  return {};
}

Result<> erase_entries_of(Node& node, const AttachmentId& id) {
  PATU_TRY_LET(addresses, held_addresses(node, id));
  for (const IpAddress& address : addresses) {
    PATU_TRY_LET(pod, node.instance->pods().lookup(address_key(address)), "look the pod up in the map 'pods'");
    if (!pod) continue;
    Record record{id};
    (address.is_v4() ? record.v4 : record.v6) = address;
    record.mac = MacAddress::from_bytes(std::to_array(pod->mac));
    record.flags = pod->flags;
    record.netns_cookie = pod->netns_cookie;
    PATU_TRY(erase_entries(node, record, pod->ifindex));
  }
  return {};
}

Result<> erase_entries(Node& node, const Record& record, std::uint32_t ifindex) {
  const auto pods = node.instance->pods();
  for (const auto& [key, unused] : pod_entries(record, ifindex, 0)) {
    PATU_TRY_LET(pod, pods.lookup(key), "look the pod up in the map 'pods'");
    if (pod && pod->ifindex == ifindex) PATU_TRY(pods.erase(key), "take the pod out of the map 'pods'");
  }
  if (is_exempt(record)) PATU_TRY(erase_exemption(node, record, ifindex));
  return {};
}

}  // namespace patu::network
