// Services: virtual addresses that connect(2) resolves to one of their backends, inside the kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "patu/datapath.hpp"
#include "patu/types.hpp"

namespace patu {

struct Frontend {
  Endpoint endpoint;
  Protocol protocol = Protocol::tcp;

  auto operator<=>(const Frontend&) const noexcept = default;
};

struct Service {
  std::string name;  // 1 to 187 bytes without control characters, such as "namespace/name:port"
  // 1 to 1024, in any mixture of families. Two services never share one.
  std::vector<Frontend> frontends;
  // At most 1024, in any order and mixture; a client meets only those of its frontend's family. An address here, or of a
  // frontend, is a unicast one that means the same in every pod: no loopback, no fe80::.
  std::vector<Endpoint> backends;

  bool operator==(const Service&) const = default;
};

// The services of an instance. connect(2) to a frontend, from a process in the data path's cgroup, becomes a connect to a
// backend chosen at random; connect fails at once with ECONNREFUSED (EPERM before Linux 6.1) if there is none.
// Thread: one at a time for one object; any number of objects and processes at once, which are serialised.
class [[nodiscard]] PATU_API ServiceTable final {
 public:
  static constexpr std::size_t kMaxFrontends = 1024;
  static constexpr std::size_t kMaxBackends = 1024;

  // Writes nothing. Errors: io.
  static Result<ServiceTable> open(const Datapath& datapath);

  ServiceTable(ServiceTable&&) noexcept;
  ServiceTable& operator=(ServiceTable&&) noexcept;
  ~ServiceTable();

  // Makes the service be exactly this; writes nothing if it is already. Every connect meets the old backends or the new
  // ones, per frontend, never a mixture and never none. O(frontends and backends of the service), and from time to time
  // (at most once in 256 new backends) a wait until every connect that is under way in the kernel has chosen: 12 ms.
  // Errors: invalid_argument, unsupported (UDP), already_exists (a frontend is another service's; it is named),
  //   exhausted (a map is full; which one is named; the new needs room while the old is there), timed_out, io.
  //   After any of them the service is as it was.
  Result<> upsert(const Service& service);
  // Connections that exist live on; the frontends' addresses are ordinary addresses again. Success where there is none.
  // Errors: timed_out, io.
  Result<> remove(std::string_view name);
  // Read from the kernel; frontends and backends are sorted, IPv4 first. Errors: not_found, timed_out, io, protocol.
  Result<Service> find(std::string_view name) const;
  // All of them, sorted by name, as they were at one moment. Errors: timed_out, io, protocol.
  Result<std::vector<Service>> list() const;

 private:
  struct State;
  explicit ServiceTable(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace patu
