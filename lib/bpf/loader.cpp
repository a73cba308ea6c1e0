// A process that finds everything in place takes no lock and loads nothing.
#include "bpf/loader.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <optional>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "bpf/directories.hpp"
#include "bpf/layout.hpp"
#include "bpf/load.hpp"
#include "bpf/pin.hpp"
#include "bpf/stage.hpp"

namespace patu::bpf {
namespace {

// How often a directory may be removed under us by another process's unload before we give up.
constexpr int kAttempts = 16;
constexpr std::uint32_t kLargestMap = 1u << 22;

Result<> validate(const DatapathOptions& options) {
  for (const std::uint32_t bound : {options.max_pods, options.max_services, options.max_redirected_sockets})
    if (bound == 0 || bound > kLargestMap)
      return fail(Errc::invalid_argument, "an upper bound of " + std::to_string(bound) + " is not between 1 and " +
                                              std::to_string(kLargestMap));
  return validate_instance(options.instance);
}

// Null where the lock is needed: nothing there, something to upgrade, or something that is just being removed.
Result<std::shared_ptr<Instance>> adopt_current(const Target& target, const std::string& path) {
  // What a killed process left may be attached; it goes under the lock.
  for (const char* staging : {kStaging, kRedirectStaging}) {
    PATU_TRY_LET(left, exists(target.instance_fd, staging));
    if (left) return std::shared_ptr<Instance>();
  }
  auto instance = Instance::adopt(target.instance_fd, path);
  if (!instance) {
    if (instance.error().code() == Errc::not_found) return std::shared_ptr<Instance>();
    return instance;
  }
  auto current = is_current(target, **instance);
  if (!current) {
    if (current.error().code() == Errc::not_found) return std::shared_ptr<Instance>();
    return fail(std::move(current.error()));
  }
  return *current ? std::move(*instance) : std::shared_ptr<Instance>();
}

Result<> write_instance(const Target& target, const std::string& path) {
  PATU_TRY(clean_staging(target));
  PATU_TRY(refuse_other_versions(target));
  PATU_TRY_LET(published, exists(target.instance_fd, kVersionDirectory));
  if (!published) {
    auto done = load_all(target);
    if (!done) (void)clean_staging(target);
    return done;
  }
  PATU_TRY_LET(instance, Instance::adopt(target.instance_fd, path));
  auto done = upgrade(target, *instance);
  if (!done) (void)clean_staging(target);
  return done;
}

// Null if the directory was removed by another process between opening and locking it: the next look finds the new state.
Result<std::shared_ptr<Instance>> open_once(const DatapathOptions& options, Cgroup& cgroup) {
  if (auto found = open_directories(options)) {
    PATU_TRY_LET(adopted, adopt_current({options, found->instance.get(), cgroup}, found->path), found->path);
    if (adopted) return std::move(adopted);
  }
  if (!cgroup.fd) {
    PATU_TRY_LET(opened, open_cgroup(options.cgroup));
    cgroup = std::move(opened);
  }
  PATU_TRY_LET(directories, make_directories(options));
  const Target target{options, directories.instance.get(), cgroup};
  PATU_TRY_LET(lock, lock_instance(directories, options));
  if (!lock) return std::shared_ptr<Instance>();
  PATU_TRY_LET(again, adopt_current(target, directories.path), directories.path);
  if (again) return std::move(again);
  auto written = on_thread([&] { return write_instance(target, directories.path); });
  if (!written) {
    // Nothing changed: the directories are only kept if somebody uses them.
    (void)::unlinkat(directories.patu.get(), options.instance.c_str(), AT_REMOVEDIR);
    return fail(std::move(written.error()).context(directories.path));
  }
  return Instance::adopt(directories.instance.get(), directories.path);
}

Result<> refuse_if_busy(const Instance& instance) {
  std::size_t count = 0;
  PATU_TRY(instance.attachments().visit([&](const patu_ifname&, const patu_attachment&) -> Result<> {
    ++count;
    return {};
  }));
  if (count != 0)
    return fail(Errc::busy, std::to_string(count) + " pods are attached; detach them, or unload by force");
  return {};
}

// Explicitly, so that no connect is changed after the call: a link's last reference may be dropped by a worker.
Result<> detach_links(const Instance& instance) {
  for (const ProgramSpec& spec : program_specs()) {
    if (spec.attach != Attach::cgroup || !is_loaded(instance, spec.component)) continue;
    auto link = instance.link(spec.id);
    if (!link && link.error().code() == Errc::not_found) continue;
    if (!link) return fail(std::move(link.error()));
    if (bpf_link_detach(link->get()) != 0) return PATU_FAIL_ERRNO(std::string("detach ") + spec.name);
  }
  return {};
}

// Nobody attaches a pod or changes a service from here on; who waits for a lock finds it gone.
Result<std::vector<FileLock>> lock_all(const Instance& instance) {
  PATU_TRY_LET(services, instance.lock_services());
  PATU_TRY_LET(ports, instance.lock_ports());
  PATU_TRY_LET(locks, instance.lock_shards());
  locks.push_back(std::move(services));
  locks.push_back(std::move(ports));
  return std::move(locks);
}

Result<std::vector<FileLock>> quiesce(const Directories& directories, UnloadMode mode, BeforeUnload before) {
  PATU_TRY_LET(published, exists(directories.instance.get(), kVersionDirectory));
  if (!published) return std::vector<FileLock>();
  auto instance = Instance::adopt(directories.instance.get(), directories.path);
  if (instance)
    if (auto whole = (*instance)->open_maps(); !whole) instance = fail(std::move(whole.error()));
  if (!instance) {
    // By force also what cannot be understood is removed.
    if (mode == UnloadMode::force) return std::vector<FileLock>();
    return fail(std::move(instance.error()));
  }
  PATU_TRY_LET(locks, lock_all(**instance));
  if (mode == UnloadMode::if_idle) PATU_TRY(refuse_if_busy(**instance));
  PATU_TRY(before(**instance));
  PATU_TRY(detach_links(**instance));
  return std::move(locks);
}

Result<> refuse_foreign(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (name != kVersionDirectory && name != kStaging && name != kRedirectStaging)
      return fail(Errc::version_mismatch,
                  "layout " + name + " is pinned there; unload it with the patu that made it, or by force");
  return {};
}

// Empty as above.
Result<std::optional<std::vector<std::string>>> unload_once(const DatapathOptions& options, UnloadMode mode,
                                                            BeforeUnload before) {
  std::vector<std::string> removed;
  auto directories = open_directories(options);
  if (!directories) {
    if (directories.error().code() == Errc::not_found) return std::optional(std::move(removed));
    return fail(std::move(directories.error()));
  }
  PATU_TRY_LET(lock, lock_instance(*directories, options));
  if (!lock) return std::nullopt;
  const int instance_fd = directories->instance.get();
  PATU_TRY_LET(names, entries(instance_fd), directories->path);
  if (mode == UnloadMode::if_idle) PATU_TRY(refuse_foreign(names), directories->path);
  PATU_TRY_LET(held, quiesce(*directories, mode, before), directories->path);
  for (const std::string& name : names)
    if (name != kVersionDirectory) PATU_TRY(remove_tree(instance_fd, name, directories->path + "/" + name, &removed));
  // First out of sight, then away: nobody adopts a half of it, and what a killed unload leaves is staging like any other.
  if (auto moved = rename(instance_fd, kVersionDirectory, instance_fd, kStaging); moved) {
    PATU_TRY(remove_tree(instance_fd, kStaging, directories->path + "/" + kVersionDirectory, &removed));
  } else if (moved.error().code() != Errc::not_found) {
    return fail(std::move(moved.error()).context(directories->path));
  }
  (void)::unlinkat(directories->patu.get(), options.instance.c_str(), AT_REMOVEDIR);
  return std::optional(std::move(removed));
}

// Removes <bpffs>/patu itself with its last instance.
void remove_parent(const DatapathOptions& options) {
  if (auto root = open_bpffs(options.bpffs)) (void)::unlinkat(root->get(), "patu", AT_REMOVEDIR);
}

}  // namespace

Result<std::shared_ptr<Instance>> Instance::open(const DatapathOptions& options) {
  PATU_TRY(validate(options));
  // To look for the root where it is mounted is for those who attach to it.
  Cgroup cgroup{UniqueFd(), kRootCgroupId, "the root of the hierarchy"};
  if (!options.cgroup.empty()) {
    PATU_TRY_LET(opened, open_cgroup(options.cgroup));
    cgroup = std::move(opened);
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto instance = open_once(options, cgroup);
    if (!instance || *instance) return instance;
  }
  return fail(Errc::busy, "instance " + options.instance + " is removed as often as it is made");
}

Result<std::shared_ptr<Instance>> Instance::adopt(const DatapathOptions& options) {
  const std::string absent = "instance " + options.instance + " is not loaded";
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto directories = open_directories(options);
    if (!directories && directories.error().code() == Errc::not_found)
      return fail(std::move(directories.error()).context(absent));
    if (!directories) return fail(std::move(directories.error()));
    const int instance_fd = directories->instance.get();
    auto instance = adopt(instance_fd, directories->path);
    if (instance || instance.error().code() != Errc::not_found) return instance;
    PATU_TRY_LET(published, exists(instance_fd, kVersionDirectory), directories->path);
    if (published) continue;  // put there since, or taken away under us and put there again
    PATU_TRY_LET(names, entries(instance_fd), directories->path);
    PATU_TRY(refuse_foreign(names), directories->path);
    return fail(Errc::not_found, absent);
  }
  return fail(Errc::not_found, absent + ": it is removed as often as it is made");
}

Result<std::vector<std::string>> unload_instance(const DatapathOptions& options, UnloadMode mode, BeforeUnload before) {
  PATU_TRY(validate_instance(options.instance));
  PATU_TRY(open_bpffs(options.bpffs));
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    PATU_TRY_LET(removed, unload_once(options, mode, before), "unload instance " + options.instance);
    if (!removed) continue;
    remove_parent(options);
    return std::move(*removed);
  }
  return fail(Errc::busy, "instance " + options.instance + " is made as often as it is removed");
}

}  // namespace patu::bpf
