// Putting programs, maps and links into the kernel and publishing their pins: fresh, in addition, or in place.
#pragma once

#include <cstdint>

#include "bpf/instance.hpp"
#include "bpf/object.hpp"
#include "bpf/probe.hpp"
#include "patu/datapath.hpp"

namespace patu::bpf {

// All of these are called under lock_instance, on a thread whose signals are blocked.
struct Target {
  const DatapathOptions& options;
  int instance_fd;
  const Cgroup& cgroup;
};

// Removes what a killed process left half-made.
Result<> clean_staging(const Target& target);
// Refuses an instance in which another layout version is pinned.
Result<> refuse_other_versions(const Target& target);
// Everything, from nothing.
Result<> load_all(const Target& target);
// What differs from this build, what is missing, and links that the kernel cut because their cgroup went away.
Result<> upgrade(const Target& target, Instance& instance);

// True if nothing is to be done. Errors: invalid_argument (attached to another cgroup).
Result<bool> is_current(const Target& target, const Instance& instance);

}  // namespace patu::bpf
