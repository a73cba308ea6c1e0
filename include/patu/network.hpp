// One bridge and the pods on it: attaching, detaching, checking, listing and reconciling them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "patu/datapath.hpp"
#include "patu/ipam.hpp"
#include "patu/netns.hpp"
#include "patu/types.hpp"

namespace patu {

struct NetworkOptions {
  IfName bridge;
  // One IPv4 subnet, one IPv6 subnet, or one of each.
  std::vector<Subnet> subnets;
  // Of the bridge and of the pods' interfaces, in bytes; 1280 to 65535 with IPv6, 68 to 65535 without.
  std::uint32_t mtu = 1500;
  // Gives the bridge the subnets' gateway addresses: the node then reaches its pods, and pods the node.
  bool gateway = true;
  // Gives pods a default route through the gateway. Needs `gateway`.
  bool default_route = true;
  // What PodSpec::socket_redirect is where a pod does not say.
  bool socket_redirect = false;
  // A connection from or to one of these ports is never redirected.
  std::vector<std::uint16_t> redirect_excluded_ports = {};
  // The namespace in which the bridge lives; borrowed for the call of open(). Null: the caller's.
  const Netns* netns = nullptr;
};

struct PodSpec {
  AttachmentId id;
  const Netns* netns = nullptr;              // the pod's namespace; borrowed for the call
  std::vector<IpAddress> addresses = {};     // at most one of each family; a family without is served from the pool
  std::optional<MacAddress> mac = {};        // default: derived from the address
  std::optional<bool> socket_redirect = {};  // default: the network's
  // False: what the pod connects or sends to is never resolved, for pods with a service mesh's proxy or a virtual machine
  // in them. Their packets then go to a service's own address, and whatever the proxy, or kube-proxy on the node, makes of
  // that is theirs alone. Holds for the whole namespace, as long as one of its attachments says so. Kernel: 5.14.
  bool services = true;
};

struct Attachment {
  AttachmentId id;
  IfName host_ifname;  // derived from the id
  std::uint32_t host_ifindex = 0;
  MacAddress mac;                           // of the pod's interface
  std::vector<InterfaceAddress> addresses;  // of the pod's interface, IPv4 first
  std::vector<IpAddress> gateways;          // of each address's subnet
  std::uint32_t mtu = 0;
  bool socket_redirect = false;
  bool services = true;
};

// One thing about an attachment that is not as attach() left it.
struct Deviation {
  AttachmentId id;
  std::string what;
};

struct ReconcileReport {
  std::vector<AttachmentId> detached;  // attachments that nobody claims any more, or whose peer is gone
  std::vector<IpAddress> released;     // leases that belonged to no interface
  std::vector<AttachmentId> repaired;  // attachments whose map entries or programs had been lost
};

// A handle on a bridge; everything it knows is in the kernel and in the instance's maps.
// Thread: one at a time for one object; any number of objects and processes at once.
// Kernel: 5.10. Capabilities: CAP_NET_ADMIN, CAP_BPF, and CAP_SYS_ADMIN to enter a pod's namespace.
class [[nodiscard]] PATU_API Network final {
 public:
  // Creates the bridge, or adopts one that is as asked for; puts back into the maps what they have lost.
  // Errors: invalid_argument, already_exists (an interface of that name that is no bridge, or a bridge with another MTU
  //   or other subnets), busy (the instance serves another namespace), unsupported, permission_denied, io.
  static Result<Network> open(const Datapath& datapath, const NetworkOptions& options);

  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;
  ~Network();

  // Makes the interface in the pod's namespace, complete: addresses, routes, loopback up, fast path. It can be used at
  // once, there is no duplicate address detection to wait for. The same again is a success and changes nothing; what a
  // killed process left half made is made anew, and what was lost is put back.
  // Errors: invalid_argument, already_exists (the id is attached elsewhere or with other addresses, or the pod has an
  //   interface of that name), exhausted (addresses, or a map; after a reconcile() that found nothing
  //   to free), not_found (the bridge is gone), unsupported (socket redirection is not loaded; `services` is false
  //   and the kernel has no cookies of namespaces), permission_denied, timed_out, io. After any of them nothing is left.
  Result<Attachment> attach(const PodSpec& spec);
  // All of them or none; results in the order of the specs.
  Result<std::vector<Attachment>> attach(std::span<const PodSpec> specs);

  // Removes interface, addresses and map entries, and returns when they are gone: the kernel takes 14 to 20 ms for an
  // interface. Success where there is nothing. Errors: timed_out, io.
  Result<> detach(const AttachmentId& id);
  // As above for many, which share the kernel's waiting: under 1 ms each at 50 of them.
  Result<> detach(std::span<const AttachmentId> ids);
  // For a pod whose namespace is about to be destroyed, which takes the interface with it: gives back the addresses and
  // map entries, cuts the interface off from the bridge, and does not wait for its removal. Errors: timed_out, io.
  Result<> abandon(const AttachmentId& id);

  // Every deviation from what attach() makes, none if all is well. With the pod's namespace also its inside is looked at.
  // Errors: not_found (no such attachment), io.
  Result<std::vector<Deviation>> check(const AttachmentId& id, const Netns* netns = nullptr) const;
  // Of all attachments, from the outside.
  Result<std::vector<Deviation>> check() const;

  // All attachments, by id. Errors: io, protocol.
  Result<std::vector<Attachment>> list() const;
  // Errors: not_found, io.
  Result<Attachment> find(const AttachmentId& id) const;

  // Repairs what a killed process or a lost map left: leases without an interface, interfaces without map entries.
  // Errors: timed_out, io.
  Result<ReconcileReport> reconcile();
  // The same, and detaches whatever is not in `keep`. An empty `keep` detaches everything.
  Result<ReconcileReport> reconcile(std::span<const AttachmentId> keep);

  // Removes the bridge. Success where it is gone. Errors: busy (pods are attached), io.
  Result<> remove();

  const IfName& bridge() const noexcept;
  std::uint32_t bridge_ifindex() const noexcept;

 private:
  struct State;
  explicit Network(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace patu
