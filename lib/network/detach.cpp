// Detaching: the interface goes first and the addresses last, so that no address is free while something still answers to it.
#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "names.hpp"
#include "network/node.hpp"

namespace patu::network {
namespace {

// Interfaces of one deletion: the kernel's waiting is shared, and others get their turn at its lock in between.
constexpr std::size_t kRemovedAtOnce = 64;

Result<std::uint32_t> removal_group() {
  std::uint32_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) return PATU_FAIL_ERRNO("getrandom");
  return kRemovalGroups | random;
}

Result<> mark_for_removal(Node& node, std::span<const Port> ports, std::uint32_t group) {
  std::vector<nl::Request> requests;
  for (const Port& port : ports) requests.push_back(nl::set_link_group(port.link.ifindex, group));
  PATU_TRY(batch_unless_gone(node.socket, requests), "mark interfaces for removal");
  return {};
}

Result<> remove_some(Node& node, std::span<const Port> ports) {
  PATU_TRY_LET(group, removal_group());
  PATU_TRY(mark_for_removal(node, ports, group));
  for (const Port& port : ports)
    PATU_TRY(erase_entries(node, port.record, port.link.ifindex), port.record.id.to_string());
  nl::Request removal = nl::delete_link_group(group);
  auto removed = node.socket.call(removal);
  // Where every namespace went in the meantime there is nothing in the group.
  if (!removed && removed.error().code() != Errc::not_found)
    return fail(std::move(removed.error()).context("delete " + std::to_string(ports.size()) + " interfaces"));
  return {};
}

Result<> detach_some(Node& node, std::span<const AttachmentId> ids) {
  std::vector<Port> ports;
  std::vector<const AttachmentId*> bare;
  for (const AttachmentId& id : ids) {
    PATU_TRY_LET(port, find_port_anywhere(node, id), "detach " + id.to_string());
    if (port && !is_own(node, *port)) continue;
    if (port)
      ports.push_back(std::move(*port));
    else
      bare.push_back(&id);
  }
  PATU_TRY(remove_ports(node, ports), ids.size() == 1 ? "detach " + ids.front().to_string() : std::string("detach"));
  for (const Port& port : ports)
    PATU_TRY(release_addresses(node, port.record.id, &port.record), "detach " + port.record.id.to_string());
  for (const AttachmentId* id : bare) {
    PATU_TRY(erase_entries_of(node, *id), "detach " + id->to_string());
    PATU_TRY(release_addresses(node, *id), "detach " + id->to_string());
  }
  return {};
}

}  // namespace

Result<> remove_ports(Node& node, std::span<const Port> ports) {
  while (!ports.empty()) {
    const std::size_t count = std::min(ports.size(), kRemovedAtOnce);
    PATU_TRY(remove_some(node, ports.first(count)));
    ports = ports.subspan(count);
  }
  return {};
}

Result<> detach(Node& node, std::span<const AttachmentId> ids) {
  PATU_TRY_LET(locks, lock_attachments(node, ids), "detach");
  PATU_TRY(check_claim(node), "detach");
  return detach_some(node, ids);
}

Result<> abandon(Node& node, const AttachmentId& id) {
  const std::string what = "abandon " + id.to_string();
  PATU_TRY_LET(locks, lock_attachments(node, {&id, 1}), what);
  PATU_TRY(check_claim(node), what);
  PATU_TRY_LET(port, find_port_anywhere(node, id), what);
  if (port && !is_own(node, *port)) return {};
  if (port) {
    PATU_TRY_LET(group, removal_group(), what);
    const std::uint32_t ifindex = port->link.ifindex;
    std::array requests{nl::set_link_group(ifindex, group), nl::set_link_down(ifindex),
                        nl::set_link_master(ifindex, 0)};
    PATU_TRY(batch_unless_gone(node.socket, requests), what);
    PATU_TRY(erase_entries(node, port->record, ifindex), what);
  } else {
    PATU_TRY(erase_entries_of(node, id), what);
  }
  PATU_TRY(release_addresses(node, id, port ? &port->record : nullptr), what);
  return {};
}

}  // namespace patu::network
