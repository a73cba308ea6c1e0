// What a kernel test runs in: network and mount namespaces, a bpffs and a cgroup of its own, gone when the test is.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "patu/patu.hpp"

namespace patu::test {

// Enters new network and mount namespaces, mounts a bpffs at bpffs_path(), makes cgroup_path() (the process stays outside)
// and brings loopback up. Returns 0, or what main() must return: 77 with a line that says why this machine cannot, or 1
// instead under PATU_REQUIRE_KERNEL_TESTS=1.
int enter_sandbox();
// Removes the cgroup (its processes must have ended) and the bpffs. False, and a line that names it, if something is left:
// a cgroup that is not empty, a descriptor or a thread more than at the start.
bool leave_sandbox();

const std::string& bpffs_path();   // private to this process's mount namespace
const std::string& cgroup_path();  // <cgroup2>/patu-test-<pid>

// Options for an instance in the sandbox.
DatapathOptions datapath_options(const std::string& instance = "test");

// Runs `body` in a forked child that has entered the namespace (and the cgroup if asked for); returns its exit status, 0 if
// the body returned true, 128 + the signal's number if one ended it. The child is killed when the calling thread ends, and
// after `seconds` at the latest. A failed CHECK inside the body is not counted by the parent: return false instead.
int run_in(const Netns& netns, bool in_cgroup, const std::function<bool()>& body, unsigned seconds = 60);
// Starts such a child and returns its pid; the caller waits for it with wait_for().
pid_t start_in(const Netns& netns, bool in_cgroup, const std::function<bool()>& body, unsigned seconds = 60);
int wait_for(pid_t pid);

// What `command` prints, by /bin/sh; for reading state back by another way than the one under test.
std::string output_of(const std::string& command);
// The same inside a namespace.
std::string output_in(const Netns& netns, const std::string& command);

// Counts of this process, for proving that a verb leaves nothing.
std::size_t open_descriptors();
std::size_t threads();

}  // namespace patu::test
