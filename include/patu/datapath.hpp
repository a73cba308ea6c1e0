// The BPF programs and maps of one instance: loading, adopting, upgrading, looking at and removing them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "patu/error.hpp"

namespace patu {

namespace bpf {
class Instance;
}

struct DatapathOptions {
  // Names the instance's directory <bpffs>/patu/<instance>; 1 to 32 of a-z, 0-9 and '-'. One instance serves one node,
  // that is one network namespace in which bridges live, and any number of bridges there.
  std::string instance = "default";
  // A mounted BPF file system.
  std::string bpffs = "/sys/fs/bpf";
  // The cgroup (version 2) whose processes see the services. Empty: the root of the cgroup2 hierarchy, wherever it is
  // mounted.
  std::string cgroup;
  // Loads the programs that let pods choose socket redirection (PodSpec::socket_redirect). Refused with Errc::unsupported
  // where the kernel fails the start-up probes.
  bool socket_redirect = false;
  // Bytes that may wait unread at a redirected receiver before the sender goes on through TCP. 0: by the machine's memory,
  // 1/256 of it between 256 KiB and 4 MiB. Adopting what is loaded keeps its limit.
  std::uint32_t redirect_limit_bytes = 0;
  // Upper bounds, used when the maps are made and ignored when they are adopted. Memory is mostly taken by what is stored;
  // the bound itself costs about 280 bytes a pod, 150 a service and 16 a socket. 1 to 2^22; there is room for twice as many
  // frontends as services, and as many of their addresses.
  std::uint32_t max_pods = 1024;
  std::uint32_t max_services = 4096;
  std::uint32_t max_redirected_sockets = 8192;
};

// One kernel feature that was looked for, and what its presence or absence means here.
struct Feature {
  std::string name;  // "bpf_set_retval", "socket redirection", "FIONREAD on redirected sockets", …
  bool available = false;
  std::string detail;  // what patu does with it, or what it does instead
};

struct ProgramStatus {
  std::string name;
  std::uint32_t id = 0;            // as in `bpftool prog show id`
  std::uint32_t instructions = 0;  // after translation
};

struct MapStatus {
  std::string name;
  std::uint32_t id = 0;
  std::uint32_t max_entries = 0;
  std::uint64_t memory_bytes = 0;  // what the kernel accounts to the map, from fdinfo's memlock
};

struct DatapathStatus {
  std::string directory;        // the instance's pins
  std::uint64_t cgroup_id = 0;  // inode number of the cgroup that the connect programs are attached to
  bool socket_redirect_loaded = false;
  bool socket_redirect_enabled = false;
  std::uint32_t redirect_limit_bytes = 0;
  std::vector<ProgramStatus> programs;
  std::vector<MapStatus> maps;
  std::vector<Feature> features;
};

enum class UnloadMode : std::uint8_t {
  if_idle,  // refuse with Errc::busy while pods are attached
  force,    // attached pods keep their interfaces and lose fast path, services and leases
};

struct UnloadReport {
  std::vector<std::string> removed;  // paths of the pins that are gone
};

// A handle on an instance. The kernel's side outlives it; only unload() removes that. From then on verbs on handles of the
// instance fail with not_found, or tell what was there before.
// Thread: one at a time for one object; different objects, also of one instance, at once.
class [[nodiscard]] PATU_API Datapath final {
 public:
  // Adopts what is pinned if it is this build's, upgrades the programs in place if they differ, loads everything if there
  // is nothing. What is published is complete: a caller that is killed in between leaves nothing that counts.
  // Errors: invalid_argument (not a bpffs, not a cgroup2, bad instance, instance attached to another cgroup),
  //   not_found (no such path; no cgroup2 mounted), permission_denied (capabilities; a directory that others can write),
  //   unsupported (a feature, by name), version_mismatch (pins of another layout), timed_out (another process holds the
  //   instance's lock), busy (it is unloaded as often as it is loaded), exhausted, out_of_memory, protocol, io.
  // Kernel: 5.10 with CAP_NET_ADMIN and CAP_BPF; socket redirection needs 6.2, CAP_PERFMON and, for its trial in a
  //   namespace of its own, CAP_SYS_ADMIN. Before 5.11 libbpf raises the process's RLIMIT_MEMLOCK.
  static Result<Datapath> open(const DatapathOptions& options);
  // Adopts what is pinned, programs of another build included, and loads, upgrades and writes nothing; of the options only
  // `instance` and `bpffs` count. For whoever looks, or takes away. Errors: invalid_argument, not_found (nothing is loaded),
  //   permission_denied, version_mismatch, protocol, io.
  static Result<Datapath> adopt(const DatapathOptions& options);

  // Reads the kernel's state; O(programs and maps). Errors: version_mismatch, protocol, io.
  Result<DatapathStatus> status() const;

  // Turns socket redirection off or on for every pod that chose it. Off: new connections go through TCP, redirected ones
  // change over to TCP at their next message, nothing is lost. Errors: unsupported (not loaded), timed_out, io.
  Result<> set_socket_redirect(bool enabled);

  // Removes programs, links, maps and pins of the instance; open handles stay valid and serve nobody. Success, with an
  // empty report, where there is nothing. Pods' interfaces and bridges are Network's to remove. By force, call it in the
  // node's network namespace: in another one the interfaces keep the program that guards them.
  // Errors: busy (see UnloadMode; or it is made as often as it is removed), not_found (no such bpffs), version_mismatch and
  //   protocol (not by force), permission_denied, timed_out, io.
  static Result<UnloadReport> unload(const DatapathOptions& options, UnloadMode mode = UnloadMode::if_idle);

  // Internal: what Network, AddressPool and ServiceTable share. The type is not public.
  const std::shared_ptr<bpf::Instance>& instance() const noexcept { return instance_; }

 private:
  explicit Datapath(std::shared_ptr<bpf::Instance> instance) noexcept : instance_(std::move(instance)) {}
  std::shared_ptr<bpf::Instance> instance_;
};

}  // namespace patu
