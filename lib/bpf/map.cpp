// System calls on maps, and what their errors mean.
#include "bpf/map.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>

namespace patu::bpf {
namespace {

constexpr std::uint32_t kFirstBatch = 256;
constexpr std::uint32_t kLargestBatch = 1u << 20;

tl::unexpected<Error> fail_map(int err, std::string_view what) {
  if (err == E2BIG) return fail(Error::from_errno(Errc::exhausted, err, what));
  return fail_errno(err, what);
}

}  // namespace

Result<bool> map_lookup(int map_fd, const void* key, void* value) {
  if (bpf_map_lookup_elem(map_fd, key, value) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_map(errno, "look up in map");
}

Result<> map_update(int map_fd, const void* key, const void* value, std::uint64_t flags) {
  // kernel: a hash without preallocation says ENOMEM or EBUSY for a moment under pressure; the caller decides what to do.
  if (bpf_map_update_elem(map_fd, key, value, flags) == 0) return {};
  return fail_map(errno, "write to map");
}

Result<bool> map_erase(int map_fd, const void* key) {
  if (bpf_map_delete_elem(map_fd, key) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_map(errno, "delete from map");
}

Result<> map_visit(int map_fd, std::size_t key_size, std::size_t value_size,
                   const std::function<Result<>(const void* key, const void* value)>& visit) {
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
    if (err != 0 && err != ENOENT) return fail_map(err, "read map");
    for (std::uint32_t i = 0; i < count; ++i)
      PATU_TRY(visit(keys.data() + i * key_size, values.data() + i * value_size));
    if (err == ENOENT) return {};
    first = false;
  }
}

}  // namespace patu::bpf
