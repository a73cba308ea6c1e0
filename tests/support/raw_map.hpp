// A pinned map by its path, so that tests see what the kernel has and not what the library under test says.
#pragma once

#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "patu_maps.h"
#include "sandbox.hpp"

namespace patu::test {

template <class Key, class Value>
class RawMap final {
 public:
  explicit RawMap(const std::string& name, const std::string& instance = "test")
      : fd_(::bpf_obj_get(
            (bpffs_path() + "/patu/" + instance + "/v" + std::to_string(PATU_MAPS_VERSION) + "/maps/" + name)
                .c_str())) {
    REQUIRE(fd_ >= 0);
  }
  ~RawMap() { ::close(fd_); }
  RawMap(const RawMap&) = delete;
  RawMap& operator=(const RawMap&) = delete;

  std::vector<std::pair<Key, Value>> all() const {
    std::vector<std::pair<Key, Value>> out;
    Key key{};
    for (int err = ::bpf_map_get_next_key(fd_, nullptr, &key); err == 0;
         err = ::bpf_map_get_next_key(fd_, &key, &key)) {
      Value value{};
      if (::bpf_map_lookup_elem(fd_, &key, &value) == 0) out.emplace_back(key, value);
    }
    return out;
  }
  std::size_t size() const { return all().size(); }
  int fd() const noexcept { return fd_; }
  void put(const Key& key, const Value& value) const {
    REQUIRE(::bpf_map_update_elem(fd_, &key, &value, BPF_ANY) == 0);
  }
  void erase(const Key& key) const { REQUIRE(::bpf_map_delete_elem(fd_, &key) == 0); }
  void clear() const {
    for (const auto& [key, value] : all()) erase(key);
  }

 private:
  int fd_;
};

using Pods = RawMap<patu_addr, patu_pod>;
using Leases = RawMap<patu_addr, patu_lease>;
using Releases = RawMap<patu_addr, std::uint64_t>;
using Attachments = RawMap<patu_ifname, patu_attachment>;

}  // namespace patu::test
