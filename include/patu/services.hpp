// Services: virtual addresses that the kernel resolves to one of their backends when a socket connects or sends.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "patu/datapath.hpp"
#include "patu/netns.hpp"
#include "patu/types.hpp"

namespace patu {

enum class FrontendKind : std::uint8_t {
  cluster,        // a virtual address of its own (ClusterIP): its other ports are refused, not let through
  load_balancer,  // an address that something outside announces; its other ports are ordinary
  external,       // the same, translated only while it is one of the node's own addresses (CVE-2020-8554)
  node_port,      // a port of every address of the node; the address given is 0.0.0.0 or ::
  host_port,      // the same, or of one address of the node
};

struct Frontend {
  Endpoint endpoint;
  Protocol protocol = Protocol::tcp;
  FrontendKind kind = FrontendKind::cluster;
  // The other two are for node_port and host_port on the unspecified address.
  // Also through 127.0.0.1 or ::1, for processes in the node's own namespace.
  bool loopback = false;
  // bind(2) to the port fails with EADDRINUSE in the node's namespace (EPERM before Linux 6.1), to 127.0.0.1 and ::1 only if
  // the frontend is there too. What is bound already stays; ports that the kernel hands out itself are kept off by
  // net.ipv4.ip_local_reserved_ports. An IPv6 socket on :: counts as one of both families.
  bool reserve_port = false;

  auto operator<=>(const Frontend&) const noexcept = default;
};

enum class BackendState : std::uint8_t {
  active,
  terminating,  // chosen only while no backend of the family is active; who talks to it already, goes on
  maintenance,  // never chosen; who talks to it already, goes on
};

struct Backend {
  // NOLINTNEXTLINE(google-explicit-constructor): most backends are an endpoint and nothing else.
  Backend(const Endpoint& at, BackendState in = BackendState::active) noexcept : endpoint(at), state(in) {}

  Endpoint endpoint;
  BackendState state;
  std::uint16_t weight = 1;  // 1 to 256: its share of new conversations, relative to the others'
  bool local = false;        // runs on this node; see TrafficPolicy

  auto operator<=>(const Backend&) const noexcept = default;
};

enum class TrafficPolicy : std::uint8_t {
  cluster,  // all backends
  local,    // those of this node alone, and none if there is none
};

struct Service {
  std::string name;  // 1 to 187 bytes without control characters, such as "namespace/name:port"
  // 1 to 1024, in any mixture of families and protocols. Two services never share one.
  std::vector<Frontend> frontends;
  // At most 1024, in any order and mixture; a client meets only those of its frontend's family. An address here, or of a
  // frontend, is a unicast one that means the same in every pod: no loopback, no fe80::.
  std::vector<Backend> backends;
  // For frontends of kind cluster (Kubernetes' internalTrafficPolicy); the others lead to all backends.
  TrafficPolicy internal_policy = TrafficPolicy::cluster;
  // Session affinity ClientIP: a pod, that is its network namespace, stays with a backend while it can be chosen and until it
  // has not asked for this long. The node's own processes are one client. Up to one day. Zero: no affinity.
  std::chrono::seconds affinity_timeout{0};
  // Also closes TCP connections to backends that are taken out; of UDP, sockets that are connected to one are always closed.
  // A multipath connection ends when the kernel has waited for another path (net.mptcp.close_timeout, a minute).
  bool close_tcp = false;

  bool operator==(const Service&) const = default;
};

// Sockets that were closed because the backend they talked to is gone.
struct ClosedSockets {
  std::uint32_t closed = 0;
  std::uint32_t namespaces = 0;   // looked into
  std::uint32_t unreachable = 0;  // that could not be looked into, for want of privileges; the sockets there stay
};

struct SyncOptions {
  bool allow_empty = false;  // an empty list is a lost API server more often than a wish
  bool dry_run = false;      // reports, and writes nothing
};

struct RefusedService {
  std::string name;
  Errc code = Errc::internal;
  std::string reason;
};

// Names, sorted.
struct SyncReport {
  std::vector<std::string> added;
  std::vector<std::string> changed;
  std::vector<std::string> removed;
  std::size_t unchanged = 0;
  std::vector<RefusedService> refused;  // each is as it was before
  ClosedSockets closed;
};

// Since the service was made; kept through changes of it.
struct ServiceStats {
  std::string name;
  std::uint64_t connects = 0;       // times a socket was given a backend
  std::uint64_t refused = 0;        // times there was none, or no memory to remember it
  std::uint64_t retries = 0;        // times the choice was made again, because the service changed under it
  std::uint64_t affinity_hits = 0;  // choices that affinity made
};

struct Gauge {
  std::string name;  // of the map
  std::uint64_t used = 0;
  std::uint64_t limit = 0;
};

struct ServiceEvent {
  enum class Kind : std::uint8_t {
    no_backend = 1,         // a socket was refused
    retries_exhausted = 2,  // the same, because the service changed under every try
    affinity_full = 3,      // the choice could not be remembered for the pod: map `affinity` is full
    out_of_memory = 4,      // a socket was refused, because the kernel had no memory to remember its choice
    peers_full = 5,         // an unconnected UDP socket talks to so many services that the oldest was forgotten
  };
  Kind kind = Kind::no_backend;
  std::string service;             // empty if it is gone
  Frontend frontend;               // that the socket asked for; `kind`, `loopback` and `reserve_port` are not set
  std::uint64_t netns_cookie = 0;  // of the socket
  std::chrono::steady_clock::time_point time;  // CLOCK_MONOTONIC
};

// What happens to services, at most one event a second for each. Only one reader at a time; events are lost while nobody reads.
// Thread: one at a time.
class [[nodiscard]] PATU_API ServiceEvents final {
 public:
  ServiceEvents(ServiceEvents&&) noexcept;
  ServiceEvents& operator=(ServiceEvents&&) noexcept;
  ~ServiceEvents();

  // Borrowed; readable when there is an event: for poll(2), select(2) and epoll(7).
  int fd() const noexcept;
  // What there is, without waiting. Errors: io.
  Result<std::vector<ServiceEvent>> read();

 private:
  friend class ServiceTable;
  struct State;
  explicit ServiceEvents(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

struct Explanation {
  enum class Verdict : std::uint8_t {
    untouched,   // an ordinary address
    translated,  // to one of `candidates`
    refused,     // with ECONNREFUSED
  };
  Verdict verdict = Verdict::untouched;
  std::string service;                // empty if none is concerned
  std::optional<Frontend> frontend;   // that matched
  std::vector<Backend> candidates;    // that would be chosen from; by weight, unless affinity decides
  std::optional<Endpoint> preferred;  // affinity's choice for the namespace
  std::string why;                    // one sentence
};

// The services of an instance. connect(2) and sendmsg(2) to a frontend, from a process in the data path's cgroup, go to a
// backend chosen at random by weight instead; they fail at once with ECONNREFUSED (EPERM before Linux 6.1) if there is none.
// getpeername(2) and recvmsg(2) tell the frontend's address. A UDP socket stays with its backend while that can be chosen.
// Thread: one at a time for one object; any number of objects and processes at once, which are serialised.
class [[nodiscard]] PATU_API ServiceTable final {
 public:
  static constexpr std::size_t kMaxFrontends = 1024;
  static constexpr std::size_t kMaxBackends = 1024;
  static constexpr std::uint16_t kMaxWeight = 256;

  // Writes nothing. `node` is the namespace whose addresses node ports are on, borrowed for the call; null: the caller's.
  // Errors: permission_denied, io.
  static Result<ServiceTable> open(const Datapath& datapath, const Netns* node = nullptr);

  ServiceTable(ServiceTable&&) noexcept;
  ServiceTable& operator=(ServiceTable&&) noexcept;
  ~ServiceTable();

  // Makes the service be exactly this; writes nothing if it is already. Every connect meets the old backends or the new
  // ones, per frontend, never a mixture and never none. O(frontends and backends of the service), and from time to time
  // (at most once in 256 new backends) a wait until every connect that is under way in the kernel has chosen: 12 ms.
  // Then closes sockets that talk to what was taken out (see close_stale_sockets); what of that fails, is done by the next
  // change. With the first node port, or external or host address, the node's addresses are read.
  // Errors: invalid_argument, unsupported, already_exists (a frontend is another service's; it is named),
  //   exhausted (a map is full; which one is named; the new needs room while the old is there), timed_out, io.
  //   After any of them the service is as it was.
  Result<> upsert(const Service& service);
  // Connections that exist live on; the frontends' addresses are ordinary addresses again. Success where there is none.
  // Errors: exhausted (sockets of so many backends are still to be closed that these cannot be noted), timed_out, io.
  Result<> remove(std::string_view name);
  // Makes the table be exactly this: what differs is written, in batches; each frontend goes over by itself, as above, also
  // from one service to another. What is invalid, or does not fit, is refused by name while the others go in. A process that
  // is killed leaves every frontend old or new, and the next change of the table finishes what it began.
  // O(services) to read, O(what differs) to write.
  // Errors: invalid_argument (empty without allow_empty; a name twice), exhausted (a map, for all services), timed_out, io:
  //   part may be done.
  Result<SyncReport> sync(std::span<const Service> services, const SyncOptions& options = {});

  // Read from the kernel; frontends and backends are sorted, IPv4 first. Errors: not_found, timed_out, io, protocol.
  Result<Service> find(std::string_view name) const;
  // All of them, sorted by name, as they were at one moment. Errors: timed_out, io, protocol.
  Result<std::vector<Service>> list() const;

  // Of all services, sorted by name. Errors: timed_out, io.
  Result<std::vector<ServiceStats>> stats() const;
  // How full each map of services is. Errors: timed_out, io.
  Result<std::vector<Gauge>> fill() const;
  // Errors: busy (somebody reads them already), timed_out, io. Kernel: 5.8.
  Result<ServiceEvents> events() const;
  // What the kernel would do with a socket that connects there, and why; from the namespace, or from one that is neither the
  // node's nor an exempt pod's. Errors: unsupported and permission_denied (of `from`), timed_out, io, protocol.
  // Kernel: 5.14 with `from`.
  Result<Explanation> explain(const Endpoint& to, Protocol protocol, const Netns* from = nullptr) const;

  // Reads the node's addresses again: after one of them has changed. Returns them, sorted; loopback and link-local ones are
  // not among them. Errors: exhausted (more than the map holds), permission_denied, timed_out, io.
  Result<std::vector<IpAddress>> refresh_node_addresses();
  // Closes sockets whose backend was taken out of its service: UDP sockets that are connected to it, and TCP connections if
  // the service says so. recv(2) on such a socket says ECONNABORTED; send(2) too, or EDESTADDRREQ if it is a UDP
  // socket. In every network namespace of a process of this machine. Upsert, remove and sync do it by themselves; call it
  // after they were killed or lacked privileges.
  // Errors: unsupported (neither bpf_sock_destroy, Linux 6.5, nor CONFIG_INET_DIAG_DESTROY), timed_out, io.
  Result<ClosedSockets> close_stale_sockets();

 private:
  struct State;
  explicit ServiceTable(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace patu
