// System calls on maps, and what their errors mean.
#include "bpf/map.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "bpf/layout.hpp"

namespace patu::bpf {
namespace {

constexpr int kIds = 256;  // that a reason leaves room for
constexpr std::uint32_t kFirstBatch = 256;
constexpr std::uint32_t kLargestBatch = 1u << 20;
constexpr int kNotSupported = 524;  // ENOTSUPP, which the C library does not know: a map without batches
// kernel: a hash without preallocation takes elements from a small stock that an interrupt fills up again.
constexpr unsigned kTriesForMemory = 100;
constexpr std::chrono::milliseconds kStockFillsUp{1};

Failure fail_map(int err, std::string_view what) {
  if (err == E2BIG) return fail(Error::from_errno(Errc::exhausted, err, what));
  return fail_errno(err, what);
}

Failure fail_map(int map_fd, int err, std::string_view what) {
  return map_fd < 0 ? fail(no_map_error(map_fd)) : fail_map(err, what);
}

const std::byte* at(const void* elements, std::size_t size, std::size_t index) noexcept {
  return elements == nullptr ? nullptr : static_cast<const std::byte*>(elements) + size * index;
}

// Does one batch: takes the number of its first element, and how many there are; sets that to how many were done.
using Batch = FunctionRef<int(std::size_t first, std::uint32_t& count)>;
// Does one element.
using Single = FunctionRef<Result<>(std::size_t index)>;

Result<> each_alone(std::size_t first, std::size_t end, Single single) {
  for (std::size_t index = first; index < end; ++index) PATU_TRY(single(index));
  return {};
}

// `passes_over`: an errno that concerns one element alone, which is left as it is.
Result<> in_batches(int map_fd, std::size_t count, Batch batch, Single single, int passes_over) {
  unsigned tries = 0;
  for (std::size_t done = 0; done < count;) {
    const auto wanted = static_cast<std::uint32_t>(std::min<std::size_t>(count - done, kLargestBatch));
    std::uint32_t now = wanted;
    if (batch(done, now) == 0) {
      done += wanted;
      continue;
    }
    const int err = errno;
    if (err == kNotSupported) return each_alone(done, count, single);
    if (now == wanted) now = 0;  // kernel: it refused before it counted
    done += now;
    if (now > 0) tries = 0;
    if (passes_over != 0 && err == passes_over) {
      ++done;
    } else if ((err == ENOMEM || err == EBUSY) && tries < kTriesForMemory) {
      ++tries;
      std::this_thread::sleep_for(kStockFillsUp);
    } else {
      return fail_map(map_fd, err, "write a batch to map");
    }
  }
  return {};
}

}  // namespace

int no_map(MapId id, int reason) noexcept { return -(reason * kIds + static_cast<int>(id)); }

Error no_map_error(int map_fd) {
  const int code = -map_fd;
  if (code < kIds) return Error::from_errno(EBADF, "map");
  const std::string map = std::string("map ") + map_specs()[static_cast<std::size_t>(code % kIds)].name;
  switch (code / kIds) {
    case kMapUnloaded: return Error(Errc::not_found, map + ": the instance was unloaded");
    case kMapMissing: return Error(Errc::protocol, map + " is missing; unload the instance by force");
    case kMapForeign:
      return Error(Errc::version_mismatch, map + " has not the shape of layout version " +
                                               std::to_string(PATU_MAPS_VERSION) +
                                               "; unload the instance with the patu that made it");
    default: return Error::from_errno(code / kIds, "open " + map);
  }
}

Result<> map_update_all(int map_fd, const Elements& elements, std::uint64_t flags) {
  const auto key = [&](std::size_t index) { return at(elements.keys, elements.key_size, index); };
  const auto value = [&](std::size_t index) { return at(elements.values, elements.value_size, index); };
  bpf_map_batch_opts options{};
  options.sz = sizeof options;
  options.elem_flags = flags;
  return in_batches(
      map_fd, elements.count,
      [&](std::size_t first, std::uint32_t& count) {
        return bpf_map_update_batch(map_fd, key(first), value(first), &count, &options);
      },
      [&](std::size_t index) { return map_update(map_fd, key(index), value(index), flags); }, 0);
}

Result<> map_erase_all(int map_fd, const Elements& elements) {
  const auto key = [&](std::size_t index) { return at(elements.keys, elements.key_size, index); };
  return in_batches(
      map_fd, elements.count,
      [&](std::size_t first, std::uint32_t& count) {
        return bpf_map_delete_batch(map_fd, key(first), &count, nullptr);
      },
      [&](std::size_t index) -> Result<> {
        PATU_TRY(map_erase(map_fd, key(index)));
        return {};
      },
      ENOENT);
}

Result<bool> map_lookup(int map_fd, const void* key, void* value) {
  if (bpf_map_lookup_elem(map_fd, key, value) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_map(map_fd, errno, "look up in map");
}

Result<> map_update(int map_fd, const void* key, const void* value, std::uint64_t flags) {
  // kernel: a hash without preallocation says ENOMEM or EBUSY for a moment under pressure; the caller decides what to do.
  if (bpf_map_update_elem(map_fd, key, value, flags) == 0) return {};
  return fail_map(map_fd, errno, "write to map");
}

Result<bool> map_erase(int map_fd, const void* key) {
  if (bpf_map_delete_elem(map_fd, key) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_map(map_fd, errno, "delete from map");
}

Result<> map_visit(int map_fd, std::size_t key_size, std::size_t value_size,
                   FunctionRef<Result<>(const void* key, const void* value)> visit) {
  std::uint32_t room = kFirstBatch;
  std::vector<std::byte> keys(room * key_size);
  std::vector<std::byte> values(room * value_size);
  // Where the kernel goes on: a bucket's number for a hash, a key for an array.
  std::vector<std::byte> token(std::max<std::size_t>(key_size, sizeof(std::uint32_t)));
  bool first = true;
  for (;;) {
    std::uint32_t count = room;
    const int done = bpf_map_lookup_batch(map_fd, first ? nullptr : token.data(), token.data(), keys.data(),
                                          values.data(), &count, nullptr);
    const int err = done == 0 ? 0 : errno;
    if (err == ENOSPC && room < kLargestBatch) {  // a bucket holds more than the batch
      room *= 4;
      keys.resize(room * key_size);
      values.resize(room * value_size);
      continue;
    }
    if (err != 0 && err != ENOENT) return fail_map(map_fd, err, "read map");
    for (std::uint32_t i = 0; i < count; ++i)
      PATU_TRY(visit(keys.data() + i * key_size, values.data() + i * value_size));
    if (err == ENOENT) return {};
    first = false;
  }
}

}  // namespace patu::bpf
