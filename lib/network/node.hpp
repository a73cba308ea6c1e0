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
  NetworkOptions options;            // without `netns`, which was borrowed
  std::vector<ipam::Pool> pools;     // IPv4 first
  Netns netns;                       // where the bridge lives
  nl::Socket socket;                 // of that namespace
  std::uint32_t tag = 0;             // of the instance, in aliases
  std::uint32_t network = 0;         // of the network, in aliases
  bool adopted = false;              // the options are not checked, the instance may be nobody's yet
  std::uint32_t bridge_ifindex = 0;  // 0: there is none
  MacAddress bridge_mac = {};

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
// Whether this network has to answer for it: it was made with this name.
bool is_own(const Node& node, const Port& port) noexcept;
// An instance's maps know interfaces by their index, which means something in one namespace only. Under lock_ports; takes the
// shards' locks. An adopted network takes the instance from nobody. Errors: busy, timed_out, io.
Result<> claim_instance(const Node& node);
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
Result<> erase_entries(Node& node, const Record& record, std::uint32_t ifindex);
// The same for an attachment whose interface went without us, by its leases. Errors: io.
Result<> erase_entries_of(Node& node, const AttachmentId& id);
inline bool is_exempt(const Record& record) noexcept {
  return (record.flags & PATU_POD_NO_SERVICES) != 0 && record.netns_cookie != 0;
}

inline bool is_isolated(const Record& record) noexcept { return (record.flags & PATU_POD_ISOLATED) != 0; }
inline bool is_hairpin(const Record& record) noexcept { return (record.flags & PATU_POD_HAIRPIN) != 0; }

// Takes interfaces of attachments away, with their entries, and waits until they are gone; leases stay. Errors: io, timed_out.
Result<> remove_ports(Node& node, std::span<const Port> ports);
// What is leased to the attachment according to the maps, of whatever subnet. Errors: io.
Result<std::vector<IpAddress>> held_addresses(const Node& node, const AttachmentId& id);
// Gives that back, and what the interface's record names; what is somebody else's by now stays. Errors: io.
Result<> release_addresses(Node& node, const AttachmentId& id, const Record* record = nullptr);

// A Deviation of the attachment that is looked at.
struct Finding {
  DeviationKind kind;
  std::string what;
  std::optional<Prefix> destination = {};
};
using Findings = std::vector<Finding>;

// What is not as attach() left it, seen from the node; and from inside of the pod. Errors: io.
Result<Findings> inspect_port(Node& node, const Port& port);
Result<Findings> inspect_pod(const Node& node, nl::Socket& pod, const Port& port);
// Puts back all that the outside of an attached port could have lost: leases, entries, program, bridge. Of any bridge.
// Errors: already_exists (an address is leased to somebody else), exhausted, io.
// False: the interface was gone by then, and nothing of it is left. Under the lock of its attachment.
Result<bool> restore_port(Node& node, const Port& port);
// The same for a port of this network, if something is missing; false if nothing was.
Result<bool> repair(Node& node, const Port& port);

// The verbs. See Network.
Result<Node> open_node(const Datapath& datapath, const NetworkOptions& options);
Result<Node> adopt_node(const Datapath& datapath, const NetworkOptions& options);
Result<std::vector<Attachment>> attach(Node& node, std::span<const PodSpec> specs);
Result<> detach(Node& node, std::span<const AttachmentId> ids);
Result<> abandon(Node& node, const AttachmentId& id);
Result<std::vector<Deviation>> check(Node& node, const AttachmentId& id, const Netns* netns);
Result<std::vector<Deviation>> check_all(Node& node);
Result<ReconcileReport> reconcile(Node& node, const std::optional<std::span<const AttachmentId>>& keep);
Result<> remove_bridge(Node& node);

// Makes the bridge or finds it, puts it as the options want it, and fills in what the node says of it. What undoes this, from the
// last request to the first, is added to `undo` on the way. True: the bridge is new. Errors: as Network::open.
Result<bool> open_bridge(Node& node, std::vector<nl::Request>& undo);
// The ports that may not be connected through a redirected socket.
Result<> put_excluded_ports(const Node& node, const std::vector<std::uint16_t>& ports);

}  // namespace patu::network
