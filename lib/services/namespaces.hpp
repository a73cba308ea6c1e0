// The processes of this machine, and the network namespaces that they are in.
#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "base/function_ref.hpp"
#include "base/unique_fd.hpp"
#include "patu/error.hpp"

namespace patu::services {

// Numbers in /proc, as they are while it is read; `visit` gets a descriptor of /proc/<pid>. Errors: io (no /proc), those of `visit`.
Result<> visit_processes(FunctionRef<Result<>(int process_fd, int pid)> visit);

// Each namespace of a process once, the caller's included, by descriptor and inode number; one descriptor at a time. Returns how
// many there are besides, whose processes may not be looked into. Errors: io, those of `visit`.
using NamespaceVisit = FunctionRef<Result<>(int netns_fd, std::uint64_t inode, int pid)>;
Result<std::uint32_t> visit_namespaces(NamespaceVisit visit);

// Where namespaces were found before: who stays need not go through all processes again.
class KnownNamespaces final {
 public:
  // Visits those of `inodes` that are found. One that may not be looked into is not. Errors: io, those of `visit`.
  Result<> visit(const std::set<std::uint64_t>& inodes, FunctionRef<Result<>(int netns_fd, std::uint64_t inode)> visit);

 private:
  std::map<std::uint64_t, int> pids_;  // of a process that was in it; 0: the calling thread
};

}  // namespace patu::services
