// Opening pins that are published, and checking that they are what the tables say.
#include "bpf/instance.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdio>

#include "base/try.hpp"
#include "bpf/info.hpp"
#include "bpf/layout.hpp"
#include "bpf/pin.hpp"

namespace patu::bpf {
namespace {

bool has_shape(const bpf_map_info& info, const MapSpec& spec) noexcept {
  return info.type == spec.type && info.key_size == spec.key_size && info.map_flags == spec.flags &&
         info.value_size == spec.value_size;
}

// Why there is no pin: unload moves the directory aside before it empties it.
int why_missing(int directory_fd) {
  return is_same_directory(directory_fd, std::string("../") + kVersionDirectory, directory_fd) ? kMapMissing
                                                                                               : kMapUnloaded;
}

// Its descriptor, or what no_map() makes.
int open_now(int directory_fd, const MapSpec& spec) {
  auto fd = open_pin(directory_fd, component_directory(spec.component) + map_pin(spec));
  if (!fd)
    return no_map(spec.id, fd.error().code() == Errc::not_found ? why_missing(directory_fd) : fd.error().os_error());
  auto info = inspect<bpf_map_info>(fd->get(), "inspect map");
  if (!info) return no_map(spec.id, info.error().os_error());
  return has_shape(*info, spec) ? fd->release() : no_map(spec.id, kMapForeign);
}

}  // namespace

Instance::Instance() {
  for (auto& map : maps_) map = -1;
}

Instance::~Instance() {
  for (auto& map : maps_) {
    const UniqueFd closed(map);
  }
}

Result<std::shared_ptr<Instance>> Instance::adopt(int instance_fd, const std::string& path) {
  std::shared_ptr<Instance> instance(new Instance);
  instance->directory_ = path + "/" + kVersionDirectory;
  PATU_TRY_LET(dir, open_directory(instance_fd, kVersionDirectory));
  instance->dir_ = std::move(dir);
  auto redirect = open_directory(instance->dir_.get(), kRedirectDirectory);
  if (!redirect && redirect.error().code() != Errc::not_found) return fail(std::move(redirect.error()));
  instance->redirect_loaded_ = redirect.has_value();
  PATU_TRY_LET(meta, instance->meta(), instance->directory_);
  if (meta.magic != PATU_MAGIC || meta.version != PATU_MAPS_VERSION)
    return fail(Errc::version_mismatch,
                instance->directory_ + ": meta is of layout version " + std::to_string(meta.version));
  instance->features_ = meta.features;
  return instance;
}

int Instance::map_fd(MapId id) const {
  const MapSpec& spec = map_specs()[static_cast<std::size_t>(id)];
  std::atomic<int>& kept = maps_[static_cast<std::size_t>(id)];
  if (const int fd = kept; fd >= 0) return fd;
  UniqueFd opened(open_now(dir_.get(), spec));
  int none = -1;
  // Another thread may have been faster; whoever has its descriptor keeps it.
  if (!opened || kept.compare_exchange_strong(none, opened.get())) return opened.release();
  return none;
}

bool may_lack(MapId id, const Error& error) noexcept { return id == MapId::cursors && error.code() == Errc::protocol; }

Result<int> Instance::open_map(MapId id) const {
  const int fd = map_fd(id);
  if (fd < 0) return fail(no_map_error(fd).context(directory_));
  return fd;
}

Result<> Instance::open_maps() const {
  for (const MapSpec& spec : map_specs()) {
    if (spec.component == Component::redirect && !redirect_loaded_) continue;
    auto opened = open_map(spec.id);
    if (!opened && !may_lack(spec.id, opened.error())) return fail(std::move(opened.error()));
  }
  return {};
}

Result<patu_meta> Instance::meta() const { return Element<patu_meta>(map_fd(MapId::meta), "meta").get(); }
Result<> Instance::put_meta(const patu_meta& meta) const {
  return Element<patu_meta>(map_fd(MapId::meta), "meta").put(meta);
}

Result<patu_settings> Instance::settings() const {
  return Element<patu_settings>(map_fd(MapId::settings), "settings").get();
}
Result<> Instance::put_settings(const patu_settings& settings) const {
  return Element<patu_settings>(map_fd(MapId::settings), "settings").put(settings);
}

Result<UniqueFd> Instance::program(ProgramId id) const {
  const ProgramSpec& spec = program_specs()[static_cast<std::size_t>(id)];
  return open_pin(dir_.get(), component_directory(spec.component) + program_pin(spec));
}

Result<UniqueFd> Instance::link(ProgramId id) const {
  const ProgramSpec& spec = program_specs()[static_cast<std::size_t>(id)];
  return open_pin(dir_.get(), component_directory(spec.component) + link_pin(spec));
}

Result<UniqueFd> Instance::open_chunk(std::uint32_t chunk) const { return open_pin(dir_.get(), chunk_pin(chunk)); }

Result<UniqueFd> Instance::create_chunk(std::uint32_t chunk) const {
  if (chunk >= PATU_CHUNKS) return fail(Errc::exhausted, "the table of backends is full");
  auto fd = open_chunk(chunk);
  if (fd || fd.error().code() != Errc::not_found) return fd;
  UniqueFd made(bpf_map_create(BPF_MAP_TYPE_ARRAY, "patu_slots", sizeof(std::uint32_t), sizeof(patu_slot),
                               PATU_CHUNK_SLOTS, nullptr));
  if (!made) return PATU_FAIL_ERRNO("create " + chunk_pin(chunk));
  PATU_TRY(pin(made.get(), dir_.get(), chunk_pin(chunk)));
  return made;
}

Result<FileLock> Instance::lock_services(std::chrono::milliseconds patience) const {
  return lock("locks/services", patience);
}
Result<FileLock> Instance::lock_ports() const { return lock("locks/ports"); }
Result<FileLock> Instance::lock_shard(std::uint32_t shard) const { return lock(shard_lock(shard)); }

Result<std::vector<FileLock>> Instance::lock_shards() const {
  std::vector<FileLock> locks;
  for (std::uint32_t shard = 0; shard < kShards; ++shard) {
    PATU_TRY_LET(lock, lock_shard(shard));
    locks.push_back(std::move(lock));
  }
  return locks;
}

Result<FileLock> Instance::lock_events() const {
  auto held = lock("locks/events", std::chrono::milliseconds{0});
  if (!held && held.error().code() == Errc::timed_out) return fail(Errc::busy, "somebody reads the events already");
  return held;
}

std::string Instance::shard_lock(std::uint32_t shard) {
  std::array<char, 16> name{};
  std::snprintf(name.data(), name.size(), "locks/%02x", shard % kShards);
  return name.data();
}

Result<FileLock> Instance::lock(const std::string& path, std::chrono::milliseconds patience) const {
  UniqueFd fd(::openat(dir_.get(), path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    const int err = errno;
    return fail_errno(err, "open " + directory_ + "/" + path + (err == ENOENT ? " (was the instance unloaded?)" : ""));
  }
  PATU_TRY_LET(held, FileLock::acquire(std::move(fd), patience), "lock " + directory_ + "/" + path);
  // An unload that held it meanwhile has removed what it guards.
  if (!is_same_directory(dir_.get(), path, held.fd()))
    return fail(Errc::not_found, "lock " + directory_ + "/" + path + ": the instance was unloaded");
  return std::move(held);
}

Result<std::uint32_t> program_id(int program_fd) {
  PATU_TRY_LET(info, inspect<bpf_prog_info>(program_fd, "inspect program"));
  return info.id;
}

}  // namespace patu::bpf
