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

// A route that the pods of a network get, through their interface. Where a pod has one of the same destination, table and
// priority already, by another interface, attach() fails with already_exists: nobody's traffic is turned elsewhere unasked.
struct Route {
  Prefix destination;  // 0.0.0.0/0 or ::/0: a default route
  // Default: the gateway of the pod's subnet of that family.
  std::optional<IpAddress> gateway = {};
  std::uint32_t mtu = 0;       // bytes, at most the network's; 0: the interface's
  std::uint32_t advmss = 0;    // the MSS to advertise, in bytes, at most 65495; 0: what follows from the MTU
  std::uint32_t priority = 0;  // the metric; 0: the kernel's default
  std::uint32_t table = 0;     // 0: the main table
  // rtnetlink(7): 0 universe, 253 link, 254 host. Default: universe; link where there is no gateway to go through, that is
  // for a destination of a family of which the pod has no gateway.
  // From 253 up a route has no gateway. The kernel keeps no scope of IPv6 routes.
  std::optional<std::uint8_t> scope = {};

  bool operator==(const Route&) const noexcept = default;
};

struct NetworkOptions {
  IfName bridge;
  // The subnets from which pods get one address of each family that occurs, from the first that has a free one. None: pods
  // get an interface on the bridge and no address; what they send is not checked, and the fast path is not
  // theirs; goes with `default_route` off.
  std::vector<Subnet> subnets;
  // Tells networks apart that share a bridge: an attachment belongs to the network of the name that it was made with, and
  // every verb but remove() leaves those of another name alone. At most 255 bytes. Empty: the bridge's name.
  std::string name = {};
  // Of the bridge and of the pods' interfaces, in bytes; 1280 to 65535 with IPv6, 68 to 65535 without.
  std::uint32_t mtu = 1500;
  // Gives the bridge the subnets' gateway addresses: the node then reaches its pods, and pods the node.
  bool gateway = true;
  // Gives pods a default route through the gateway. Needs `gateway` and a subnet.
  bool default_route = true;
  // What else pods get. A default route of the main table among them stands in for the one of `default_route` of its family.
  std::vector<Route> routes = {};
  // Takes other addresses of the subnets' families off the bridge, instead of refusing it: in IPv6 those that overlap only.
  bool force_gateway = false;
  // Pods' ports send back what they receive where it is for themselves (IFLA_BRPORT_MODE). For port mappings that a pod
  // reaches itself through. This and `isolated` count for the pods that are attached from now on; others keep what they have.
  bool hairpin = false;
  // The bridge receives every frame (IFF_PROMISC). Not together with `hairpin`: frames would go round.
  bool promiscuous = false;
  // Isolated pods of the bridge do not reach each other, but the node and what is beyond it (IFLA_BRPORT_ISOLATED). What they
  // send to each other by way of the node is the node's to route or to drop.
  bool isolated = false;
  // Pods' IPv6 addresses are probed for duplicates; attach() then waits for that, 1 to 2 s, and fails with already_exists if
  // somebody answers.
  bool duplicate_address_detection = false;
  // What PodSpec::socket_redirect is where a pod does not say.
  bool socket_redirect = false;
  // A connection from or to one of these ports is never redirected; of several networks on a bridge the last open() counts.
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
  MacAddress host_mac;
  MacAddress mac;                           // of the pod's interface
  std::vector<InterfaceAddress> addresses;  // of the pod's interface, IPv4 first
  std::vector<IpAddress> gateways;          // of each address's subnet
  std::uint32_t mtu = 0;
  bool socket_redirect = false;
  bool services = true;
};

enum class DeviationKind : std::uint8_t {
  attachment,      // attach() or detach() was not completed, or the interface is gone
  bridge,          // gone
  host_interface,  // the host's end: down, on another bridge, in other modes, of another MTU
  program,         // not attached to the host's end
  lease,           // of an address, missing or somebody else's
  map_entry,
  pod_interface,  // the pod's end: of somebody else, down, with another MAC; or lo is down
  pod_mtu,
  pod_address,
  pod_route,
};

// One thing about an attachment that is not as attach() left it.
struct Deviation {
  AttachmentId id;
  DeviationKind kind = DeviationKind::attachment;
  std::string what;                   // a sentence
  std::optional<Prefix> destination;  // of the route
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
  // Creates the bridge, or adopts one that is as asked for; puts back into the maps what they have lost. A bridge that was not
  // up takes no router advertisements (accept_ra); where /proc/sys is read-only the pod program alone keeps pods from sending
  // any, and a network without subnets is refused.
  // Errors: invalid_argument, already_exists (an interface of that name that is no bridge, or a bridge with another MTU
  //   or with addresses in the gateways' way: any other IPv4 one, or an IPv6 one that overlaps), busy (the instance serves
  //   another namespace), unsupported, permission_denied, timed_out, io.
  static Result<Network> open(const Datapath& datapath, const NetworkOptions& options);
  // Makes and changes nothing: for whoever only takes away, looks or repairs, also where the bridge is gone (then its index is
  // 0) or was made with other options. attach() needs the bridge, and then says what is wrong with the options. The address of
  // an attachment that is in none of these subnets is told with length 32 or 128. Errors: invalid_argument, busy,
  // permission_denied, io.
  static Result<Network> adopt(const Datapath& datapath, const NetworkOptions& options);

  Network(Network&&) noexcept;
  Network& operator=(Network&&) noexcept;
  ~Network();

  // Makes the interface in the pod's namespace, complete: addresses, routes, loopback up, fast path. It can be used at
  // once; there is no duplicate address detection to wait for, unless the options ask for it. The same again is a success
  // and changes nothing; what a killed process left half made is made anew, and what was lost is put back.
  // Errors: invalid_argument, already_exists (the id is attached elsewhere, in another network or with other addresses, or the
  //   pod has an interface of that name), exhausted (addresses, or a map; after a reconcile() that found nothing
  //   to free), not_found (the bridge is gone), unsupported (socket redirection is not loaded; `services` is false
  //   and the kernel has no cookies of namespaces), busy (the instance serves another namespace by now), permission_denied,
  //   timed_out, io. After any of them nothing is left.
  Result<Attachment> attach(const PodSpec& spec);
  // All of them or none; results in the order of the specs.
  Result<std::vector<Attachment>> attach(std::span<const PodSpec> specs);

  // Removes interface, addresses (also those of subnets that are not the network's any more) and map entries, and returns
  // when they are gone: the kernel takes 14 to 20 ms for an interface. Success where there is nothing.
  // Errors: busy (as attach() has it), timed_out, io.
  Result<> detach(const AttachmentId& id);
  // As above for many, which share the kernel's waiting: under 1 ms each at 50 of them.
  Result<> detach(std::span<const AttachmentId> ids);
  // For a pod whose namespace is about to be destroyed, which takes the interface with it: gives back the addresses and map
  // entries, cuts the interface off from the bridge, and does not wait for its removal. Errors: busy (as above), timed_out, io.
  Result<> abandon(const AttachmentId& id);

  // Every deviation from what attach() makes, none if all is well. With the pod's namespace also its inside is looked at.
  // Errors: not_found (no such attachment), timed_out, io.
  Result<std::vector<Deviation>> check(const AttachmentId& id, const Netns* netns = nullptr) const;
  // Of all attachments, from the outside.
  Result<std::vector<Deviation>> check() const;

  // All attachments of this network, by id. Errors: io, protocol.
  Result<std::vector<Attachment>> list() const;
  // Errors: not_found, io, protocol.
  Result<Attachment> find(const AttachmentId& id) const;

  // Repairs what a killed process or a lost map left: leases without an interface, interfaces without map entries.
  // Errors: busy (as above), timed_out, io.
  Result<ReconcileReport> reconcile();
  // The same, and detaches whatever is not in `keep`. An empty `keep` detaches everything.
  Result<ReconcileReport> reconcile(std::span<const AttachmentId> keep);

  // Removes the bridge. Success where it is gone. Errors: busy (pods are attached, of whatever network, or something
  // else is on the bridge; or as above), timed_out, io.
  Result<> remove();

  const IfName& bridge() const noexcept;
  std::uint32_t bridge_ifindex() const noexcept;
  // The bridge's own, set when it was made; zero if there is no bridge.
  MacAddress bridge_mac() const noexcept;

 private:
  struct State;
  explicit Network(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace patu
