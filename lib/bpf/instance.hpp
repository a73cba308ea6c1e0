// One instance's pins, opened: its maps, its programs, its locks. Network, AddressPool and ServiceTable share it.
#pragma once

#include <array>
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
  // the service component
  frontends,
  services,
  service_table,
  slots,
  // the redirect component
  excluded,
  sockets,
  streams,
};
inline constexpr std::size_t kMapCount = 13;

enum class ProgramId : std::uint8_t {
  pod_ingress,  // tc, at the host's end of every veth
  // cgroup
  sock4_connect,
  sock6_connect,
  // redirection
  sockops,
  skmsg,
};
inline constexpr std::size_t kProgramCount = 5;

class Instance final {
 public:
  // See Datapath::open.
  static Result<std::shared_ptr<Instance>> open(const DatapathOptions& options);
  // Opens what is published in an instance's directory and checks its shapes; changes nothing.
  // Errors: not_found, permission_denied, version_mismatch, io.
  static Result<std::shared_ptr<Instance>> adopt(int instance_fd, const std::string& path);

  template <class Key, class Value>
  Map<Key, Value> map(MapId id) const noexcept {
    return Map<Key, Value>(map_fd(id));
  }
  Map<patu_addr, patu_pod> pods() const noexcept { return map<patu_addr, patu_pod>(MapId::pods); }
  Map<patu_addr, patu_lease> leases() const noexcept { return map<patu_addr, patu_lease>(MapId::leases); }
  Map<patu_addr, std::uint64_t> released() const noexcept { return map<patu_addr, std::uint64_t>(MapId::released); }
  Map<patu_ifname, patu_attachment> attachments() const noexcept {
    return map<patu_ifname, patu_attachment>(MapId::attachments);
  }
  Map<patu_frontend_key, patu_frontend> frontends() const noexcept {
    return map<patu_frontend_key, patu_frontend>(MapId::frontends);
  }
  Map<patu_service_key, patu_service> services() const noexcept {
    return map<patu_service_key, patu_service>(MapId::services);
  }
  // Only if redirect_loaded().
  Map<patu_port_key, std::uint32_t> excluded() const noexcept {
    return map<patu_port_key, std::uint32_t>(MapId::excluded);
  }
  int map_fd(MapId id) const noexcept { return maps_[static_cast<std::size_t>(id)].get(); }

  bool redirect_loaded() const noexcept { return map_fd(MapId::sockets) >= 0; }
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

  // Inner arrays of `slots`, by number; made, pinned and put into the outer map when they are first needed.
  // Errors: exhausted, out_of_memory, io.
  Result<UniqueFd> open_chunk(std::uint32_t chunk) const;    // not_found if it was never made
  Result<UniqueFd> create_chunk(std::uint32_t chunk) const;  // opens it if it is there; under lock_services

  // Serialises writers; each waits kLockPatience at most. Taken in the order of their declaration, shards by ascending number.
  static constexpr std::uint32_t kShards = 16;
  Result<FileLock> lock_services() const;
  Result<FileLock> lock_ports() const;                     // opening a network, reconciling
  static std::string shard_lock(std::uint32_t shard);      // "locks/0a"
  Result<FileLock> lock_shard(std::uint32_t shard) const;  // one attachment's verbs: shard = hash of its name % kShards
  // All of them: no attachment of the instance changes meanwhile.
  Result<std::vector<FileLock>> lock_shards() const;

  const std::string& directory() const noexcept { return directory_; }  // <bpffs>/patu/<instance>/v1
  int directory_fd() const noexcept { return dir_.get(); }

  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

 private:
  Instance() = default;
  Result<FileLock> lock(const std::string& path) const;

  UniqueFd dir_;  // v1
  std::string directory_;
  std::array<UniqueFd, kMapCount> maps_;
  std::uint32_t features_ = 0;
};

// As `bpftool prog show id` has it. Errors: io.
Result<std::uint32_t> program_id(int program_fd);

}  // namespace patu::bpf
