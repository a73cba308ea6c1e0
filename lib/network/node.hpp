// One bridge in its namespace, as every verb of Network sees it.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "base/file_lock.hpp"
#include "bpf/instance.hpp"
#include "ipam/pool.hpp"
#include "network/record.hpp"
#include "nl/link.hpp"
#include "nl/socket.hpp"
#include "patu/network.hpp"

namespace patu::network {

struct Node {
  std::shared_ptr<bpf::Instance> instance;
  IfName bridge;
  std::uint32_t bridge_ifindex = 0;
  std::uint32_t mtu = 0;
  bool gateway = false;
  bool default_route = false;
  bool socket_redirect = false;
  std::vector<ipam::Pool> pools;  // IPv4 first; at most one of each family
  Netns netns;                    // where the bridge lives
  nl::Socket socket;              // of that namespace
  std::uint32_t tag = 0;          // of the instance, in aliases

  const ipam::Pool* pool_of(const IpAddress& address) const noexcept;
};

using Locks = std::vector<FileLock>;
// The shards of these attachments, each once, in ascending order. Errors: timed_out, io.
Result<Locks> lock_attachments(const Node& node, std::span<const AttachmentId> ids);

// Puts the pod program on interfaces of the node; replaces one of another build. Errors: not_found, io.
Result<> guard(Node& node, std::span<const std::uint32_t> ifindexes);
// Whether the interface runs the instance's pod program. Errors: io.
Result<bool> is_guarded(Node& node, std::uint32_t ifindex);

// Sends the requests, and those behind a failed one again if the object had gone. Errors: of the first other failure.
Result<> batch_unless_gone(nl::Socket& socket, std::span<nl::Request> requests);

// Waits until the kernel takes packets for the address in, which it usually does by now. Errors: timed_out, io.
Result<> await_local(nl::Socket& socket, const IpAddress& address, std::chrono::milliseconds patience);

// The host's end of an attachment.
struct Port {
  nl::Link link;
  Record record;
};

enum class Stage : std::uint8_t {
  making,  // attach() has not ended
  attached,
  removing,  // detach() has not ended, or abandon() cut it off
};
Stage stage_of(const nl::Link& link) noexcept;

// Empty if there is no interface, or one that is not this attachment's on this network: that is not ours to touch.
// Errors: io, protocol.
Result<std::optional<Port>> find_port(Node& node, const AttachmentId& id);
// The same, also if it is another network's: of that one nothing may be given back here.
Result<std::optional<Port>> find_port_anywhere(Node& node, const AttachmentId& id);
// The interfaces of this instance in the node's namespace, whatever their bridge. Errors: io, protocol.
Result<std::vector<Port>> all_ports(Node& node);
// The same without a lock held; takes them all where others change interfaces faster than they can be read.
Result<std::vector<Port>> all_ports_in_peace(Node& node);
// Whether this network has to answer for it: it is on its bridge, or on none and has addresses of its subnets.
bool is_own(const Node& node, const Port& port) noexcept;
// Refuses to write for a namespace that has lost the instance to another one. Under a lock. Errors: busy, io.
Result<> check_claim(const Node& node);
// Whether the pod's namespace is still there. The interface outlives it by some time. Errors: io.
Result<bool> has_peer(Node& node, const Port& port);
Attachment to_attachment(const Node& node, const Port& port);

// The pod's keys in `pods` and what stands there: one place, for all who put, erase or check them.
std::vector<std::pair<patu_addr, patu_pod>> pod_entries(const Record& record, std::uint32_t ifindex,
                                                        std::uint32_t bridge_ifindex);
// Enters it there, and its namespace in `exempt` if it is to be without services. Errors: exhausted, io.
Result<> put_entries(const Node& node, const Record& record, std::uint32_t ifindex, std::uint32_t bridge_ifindex);
// Leaves alone what is another interface's by now. Errors: io.
Result<> erase_entries(const Node& node, const Record& record, std::uint32_t ifindex);
inline bool is_exempt(const Record& record) noexcept {
  return (record.flags & PATU_POD_NO_SERVICES) != 0 && record.netns_cookie != 0;
}

// Takes interfaces of attachments away, with their entries, and waits until they are gone; leases stay. Errors: io, timed_out.
Result<> remove_ports(Node& node, std::span<const Port> ports);
// Gives back the addresses that the attachment has in the node's pools. Errors: io.
Result<> release_addresses(Node& node, const AttachmentId& id);

// What is not as attach() left it, seen from the node; and from inside of the pod. Errors: io.
Result<std::vector<std::string>> inspect_port(Node& node, const Port& port);
Result<std::vector<std::string>> inspect_pod(const Node& node, nl::Socket& pod, const Port& port);
// Puts back all that the outside of an attached port could have lost: leases, entries, program, bridge. Of any bridge.
// Errors: already_exists (an address is leased to somebody else), exhausted, io.
// False: the interface was gone by then, and nothing of it is left. Under the lock of its attachment.
Result<bool> restore_port(Node& node, const Port& port);
// The same for a port of this network, if something is missing; false if nothing was.
Result<bool> repair(Node& node, const Port& port);

// The verbs. See Network.
Result<Node> open_node(const Datapath& datapath, const NetworkOptions& options);
Result<std::vector<Attachment>> attach(Node& node, std::span<const PodSpec> specs);
Result<> detach(Node& node, std::span<const AttachmentId> ids);
Result<> abandon(Node& node, const AttachmentId& id);
Result<std::vector<Deviation>> check(Node& node, const AttachmentId& id, const Netns* netns);
Result<std::vector<Deviation>> check_all(Node& node);
Result<ReconcileReport> reconcile(Node& node, const std::optional<std::span<const AttachmentId>>& keep);
Result<> remove_bridge(Node& node);

}  // namespace patu::network
