// Keys of maps as keys of unordered containers: the kernel compares every byte, and so does this.
#pragma once

#include <cstring>
#include <functional>
#include <string_view>
#include <type_traits>

namespace patu::services {

struct HashOfBytes {
  template <class Key>
  std::size_t operator()(const Key& key) const noexcept {
    static_assert(std::has_unique_object_representations_v<Key>);
    return std::hash<std::string_view>()({reinterpret_cast<const char*>(&key), sizeof key});
  }
};

struct EqualBytes {
  template <class Key>
  bool operator()(const Key& a, const Key& b) const noexcept {
    return std::memcmp(&a, &b, sizeof a) == 0;
  }
};

}  // namespace patu::services
