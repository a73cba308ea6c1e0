// Typed access to a BPF map through its descriptor: the bytes of key and value are the types of patu_maps.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/function_ref.hpp"
#include "base/try.hpp"
#include "patu/error.hpp"

namespace patu::bpf {

enum class MapId : std::uint8_t;

// What stands for the descriptor of a map that could not be opened: negative, and every operation on it fails with the
// reason, an errno or one of those below.
int no_map(MapId id, int reason) noexcept;
inline constexpr int kMapUnloaded = 0x10001;  // with its whole instance
inline constexpr int kMapMissing = 0x10002;
inline constexpr int kMapForeign = 0x10003;
Error no_map_error(int map_fd);

// Untyped, so that the templates below stay thin. Keys and values are the map's sizes.
// A full hash says E2BIG, an array index out of range too; both become exhausted. An allocation that fails: out_of_memory.
Result<bool> map_lookup(int map_fd, const void* key, void* value);                         // false: absent
Result<> map_update(int map_fd, const void* key, const void* value, std::uint64_t flags);  // BPF_ANY, BPF_NOEXIST, …
Result<bool> map_erase(int map_fd, const void* key);                                       // false: was absent
// Whole map, in batches. `visit` sees each element at
// least once if it is there all the time, and may see one twice.
Result<> map_visit(int map_fd, std::size_t key_size, std::size_t value_size,
                   FunctionRef<Result<>(const void* key, const void* value)> visit);

// Elements side by side; values are not looked at where keys alone matter.
struct Elements {
  const void* keys;
  std::size_t key_size;
  const void* values;
  std::size_t value_size;
  std::size_t count;
};
// In their order, many in a system call; what stands before a failure is done, and once a system call has begun, not even
// a signal that kills interrupts it. `flags`: 0 or BPF_F_LOCK. What is to be erased and is not there, is passed over.
Result<> map_update_all(int map_fd, const Elements& elements, std::uint64_t flags);
Result<> map_erase_all(int map_fd, const Elements& elements);

// Borrows the descriptor of a map that lives in an Instance.
template <class Key, class Value>
class Map final {
  static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>);

 public:
  explicit Map(int map_fd) noexcept : fd_(map_fd) {}

  Result<std::optional<Value>> lookup(const Key& key) const {
    Value value;
    auto found = map_lookup(fd_, &key, &value);
    if (!found) return fail(std::move(found.error()));
    if (!*found) return std::optional<Value>{};
    return std::optional<Value>{value};
  }
  // False if the key is there already: then nothing was written. Errors: exhausted, out_of_memory, io.
  Result<bool> insert(const Key& key, const Value& value) const {
    auto done = map_update(fd_, &key, &value, 1 /* BPF_NOEXIST */);
    if (done) return true;
    if (done.error().code() == Errc::already_exists) return false;
    return fail(std::move(done.error()));
  }
  Result<> put(const Key& key, const Value& value) const { return map_update(fd_, &key, &value, 0); }
  Result<> put_all(std::span<const Key> keys, std::span<const Value> values, std::uint64_t flags = 0) const {
    return map_update_all(fd_, {keys.data(), sizeof(Key), values.data(), sizeof(Value), keys.size()}, flags);
  }
  // True if it was there.
  Result<bool> erase(const Key& key) const { return map_erase(fd_, &key); }
  Result<> erase_all(std::span<const Key> keys) const {
    return map_erase_all(fd_, {keys.data(), sizeof(Key), nullptr, 0, keys.size()});
  }

  Result<> visit(FunctionRef<Result<>(const Key&, const Value&)> visit) const {
    return map_visit(fd_, sizeof(Key), sizeof(Value), [&](const void* key, const void* value) {
      return visit(*static_cast<const Key*>(key), *static_cast<const Value*>(value));
    });
  }
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

// The one element of an array that has one. Borrows descriptor and name.
template <class Value>
class Element final {
 public:
  Element(int map_fd, const char* map) noexcept : map_(map_fd), name_(map) {}

  Result<Value> get() const {
    PATU_TRY_LET(value, map_.lookup(0), name_);
    if (!value) return fail(Errc::protocol, std::string("map ") + name_ + " has no element");
    return *value;
  }
  Result<> put(const Value& value) const {
    PATU_TRY(map_.put(0, value), name_);
    return {};
  }

 private:
  Map<std::uint32_t, Value> map_;
  const char* name_;
};

}  // namespace patu::bpf
