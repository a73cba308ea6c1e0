// One instance's pins, opened: its maps, its programs, its locks. Network, AddressPool and ServiceTable share it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_lock.hpp"
#include "base/unique_fd.hpp"
#include "bpf/map.hpp"
#include "patu_maps.h"

namespace patu {
struct DatapathOptions;
}

namespace patu::bpf {

// In the order of the tables in layout.cpp.
enum class MapId : std::uint8_t {
  // the pod component
  meta,
  settings,
  pods,
  leases,
  released,
  attachments,
  cursors,
  // the service component
  frontends,
  services,
  service_table,
  addresses,
  counters,
  affinity,
  exempt,
  stale,
  connected,
  datagrams,
  more_datagrams,
  slots,
  events,
  // the redirect component
  excluded,
  sockets,
  streams,
};
inline constexpr std::size_t kMapCount = 23;

enum class ProgramId : std::uint8_t {
  pod_ingress,  // tc, at the host's end of every veth
  // cgroup
  sock4_connect,
  sock6_connect,
  sock4_sendmsg,
  sock6_sendmsg,
  sock4_recvmsg,
  sock6_recvmsg,
  sock4_getpeername,
  sock6_getpeername,
  sock4_post_bind,
  sock6_post_bind,
  // redirection
  sockops,
  skmsg,
};
inline constexpr std::size_t kProgramCount = 13;

// Whether the map may be missing, as this error says that it is: `cursors` came to version 1 later than the others.
bool may_lack(MapId id, const Error& error) noexcept;

class Instance final {
 public:
  // See Datapath::open.
  static Result<std::shared_ptr<Instance>> open(const DatapathOptions& options);
  // Opens what is published in an instance's directory; changes nothing. Maps are opened when they are needed.
  // Errors: not_found, permission_denied, version_mismatch, io.
  static Result<std::shared_ptr<Instance>> adopt(int instance_fd, const std::string& path);
  // See Datapath::adopt.
  static Result<std::shared_ptr<Instance>> adopt(const DatapathOptions& options);

  template <class Key, class Value>
  Map<Key, Value> map(MapId id) const {
    return Map<Key, Value>(map_fd(id));
  }
  Map<patu_addr, patu_pod> pods() const { return map<patu_addr, patu_pod>(MapId::pods); }
  Map<patu_addr, patu_lease> leases() const { return map<patu_addr, patu_lease>(MapId::leases); }
  Map<patu_addr, std::uint64_t> released() const { return map<patu_addr, std::uint64_t>(MapId::released); }
  Map<patu_ifname, patu_attachment> attachments() const {
    return map<patu_ifname, patu_attachment>(MapId::attachments);
  }
  // Missing (its descriptor is negative) in an instance that an older build has loaded and nobody has opened since.
  Map<patu_range, patu_addr> cursors() const { return map<patu_range, patu_addr>(MapId::cursors); }
  Map<patu_frontend_key, patu_frontend> frontends() const {
    return map<patu_frontend_key, patu_frontend>(MapId::frontends);
  }
  Map<patu_service_key, patu_service> services() const { return map<patu_service_key, patu_service>(MapId::services); }
  Map<patu_addr, patu_address> addresses() const { return map<patu_addr, patu_address>(MapId::addresses); }
  Map<std::uint32_t, patu_counters> counters() const { return map<std::uint32_t, patu_counters>(MapId::counters); }
  Map<patu_affinity_key, patu_affinity> affinity() const {
    return map<patu_affinity_key, patu_affinity>(MapId::affinity);
  }
  Map<std::uint64_t, std::uint32_t> exempt() const { return map<std::uint64_t, std::uint32_t>(MapId::exempt); }
  Map<patu_stale_key, std::uint32_t> stale() const { return map<patu_stale_key, std::uint32_t>(MapId::stale); }
  // Only if redirect_loaded().
  Map<patu_port_key, std::uint32_t> excluded() const { return map<patu_port_key, std::uint32_t>(MapId::excluded); }
  // Opened and checked when it is first asked for, then kept. Where that fails, what no_map() makes of the reason: every
  // operation on it fails with that. Thread: any.
  int map_fd(MapId id) const;
  // The same as a result. Errors: not_found (the instance was unloaded), version_mismatch, protocol (missing), io.
  Result<int> open_map(MapId id) const;
  // Opens all that there should be.
  Result<> open_maps() const;

  bool redirect_loaded() const noexcept { return redirect_loaded_; }
  std::uint32_t features() const noexcept { return features_; }  // PATU_FEATURE_*

  // Meta is written under lock_ports. Errors: io.
  Result<patu_meta> meta() const;
  Result<> put_meta(const patu_meta& meta) const;
  Result<patu_settings> settings() const;
  Result<> put_settings(const patu_settings& settings) const;

  // The pinned program, opened. Errors: not_found, io.
  Result<UniqueFd> program(ProgramId id) const;
  // The pinned link of a cgroup program. Errors: not_found, io.
  Result<UniqueFd> link(ProgramId id) const;

  // Inner arrays of `slots`, by number; made and pinned when they are first needed. Whoever makes one puts it into the outer
  // map, also if it was there already: who made it may have been killed before that.
  // Errors: exhausted, out_of_memory, io.
  Result<UniqueFd> open_chunk(std::uint32_t chunk) const;    // not_found if it was never made
  Result<UniqueFd> create_chunk(std::uint32_t chunk) const;  // opens it if it is there; under lock_services

  // Serialises writers; each waits kLockPatience at most. Taken in the order of their declaration, shards by ascending number.
  static constexpr std::uint32_t kShards = 16;
  Result<FileLock> lock_services(std::chrono::milliseconds patience = kLockPatience) const;
  Result<FileLock> lock_ports() const;                     // opening a network, reconciling
  static std::string shard_lock(std::uint32_t shard);      // "locks/0a"
  Result<FileLock> lock_shard(std::uint32_t shard) const;  // one attachment's verbs: shard = hash of its name % kShards
  // Of the one reader of `events`; without waiting. Taken before lock_services. Errors: busy, not_found, io.
  Result<FileLock> lock_events() const;
  // All of them: no attachment of the instance changes meanwhile.
  Result<std::vector<FileLock>> lock_shards() const;

  const std::string& directory() const noexcept { return directory_; }  // <bpffs>/patu/<instance>/v1
  int directory_fd() const noexcept { return dir_.get(); }

  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  ~Instance();

 private:
  Instance();
  Result<FileLock> lock(const std::string& path, std::chrono::milliseconds patience = kLockPatience) const;

  UniqueFd dir_;  // v1
  std::string directory_;
  mutable std::array<std::atomic<int>, kMapCount> maps_;  // -1: not opened yet
  bool redirect_loaded_ = false;
  std::uint32_t features_ = 0;
};

// As `bpftool prog show id` has it. Errors: io.
Result<std::uint32_t> program_id(int program_fd);

}  // namespace patu::bpf
