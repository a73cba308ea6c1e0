// What this kernel can do, asked from it once per loading.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"
#include "patu/error.hpp"

namespace patu::bpf {

// PATU_FEATURE_SET_RETVAL and _NETNS_COOKIE as far as this kernel has them.
Result<std::uint32_t> probe_features();

// kernel: cgroup_root's own inode number. Every other cgroup has a larger one.
inline constexpr std::uint64_t kRootCgroupId = 1;

struct Cgroup {
  UniqueFd fd;
  std::uint64_t id = 0;  // its inode number, as bpf_link_info has it
  std::string path;
};

// A directory of a cgroup2 hierarchy; with an empty path the true root, wherever mountinfo says that it is mounted.
// Errors: not_found, invalid_argument (not cgroup2; only a part of the hierarchy can be seen), io.
Result<Cgroup> open_cgroup(const std::string& path);

}  // namespace patu::bpf
