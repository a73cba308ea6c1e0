// What goes away while it is looked at is passed over.
#include "services/namespaces.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/directory.hpp"
#include "base/try.hpp"

namespace patu::services {
namespace {

bool is_gone(int err) noexcept { return err == ENOENT || err == ESRCH || err == ENOTDIR; }
// kernel: every namespace has a tree /proc/<pid>/net of its own, whose files' inode numbers tell it from others; that may be
// looked at in every process. Empty: the process is gone (kernel: which /proc/<pid>/ns/net calls EACCES as well).
std::optional<std::uint64_t> alias_of(int process_fd) noexcept {
  struct stat status {};
  if (::fstatat(process_fd, "net/dev", &status, 0) != 0) return std::nullopt;
  return status.st_ino;
}

bool is_denied(int err) noexcept { return err == EACCES || err == EPERM; }

// Empty if it is another one by now, or gone.
UniqueFd open_if_still(int pid, std::uint64_t inode) {
  const std::string path = "/proc/" + (pid == 0 ? std::string("thread-self") : std::to_string(pid)) + "/ns/net";
  UniqueFd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!netns || ::fstat(netns.get(), &status) != 0 || status.st_ino != inode) return {};
  return netns;
}

}  // namespace

Result<> visit_processes(FunctionRef<Result<>(int process_fd, int pid)> visit) {
  const Directory proc(::opendir("/proc"));
  if (!proc) return PATU_FAIL_ERRNO("open /proc");
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(proc.get());
    if (entry == nullptr && errno != 0) return PATU_FAIL_ERRNO("read /proc");
    if (entry == nullptr) return {};
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    int pid = 0;
    if (std::from_chars(entry->d_name, end, pid).ptr != end) continue;
    const UniqueFd process(::openat(::dirfd(proc.get()), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!process) {
      if (is_gone(errno)) continue;
      return PATU_FAIL_ERRNO(std::string("open /proc/") + entry->d_name);
    }
    PATU_TRY(visit(process.get(), pid));
  }
}

Result<std::uint32_t> visit_namespaces(NamespaceVisit visit) {
  std::set<std::uint64_t> seen;  // all are of one file system
  std::set<std::uint64_t> seen_aliases;
  std::set<std::uint64_t> denied_aliases;
  const auto look = [&](int process_fd, int pid) -> Result<> {
    struct stat status {};
    const bool looked = ::fstatat(process_fd, "ns/net", &status, 0) == 0;
    if (looked && seen.contains(status.st_ino)) return {};
    const UniqueFd netns(looked ? ::openat(process_fd, "ns/net", O_RDONLY | O_CLOEXEC) : -1);
    if (!netns) {
      const int err = errno;
      if (is_gone(err)) return {};
      if (!is_denied(err)) return fail_errno(err, "open network namespace of process " + std::to_string(pid));
      if (const auto alias = alias_of(process_fd)) denied_aliases.insert(*alias);
      return {};
    }
    // It may have moved to another meanwhile.
    if (::fstat(netns.get(), &status) != 0) return PATU_FAIL_ERRNO("stat network namespace");
    if (!seen.insert(status.st_ino).second) return {};
    if (const auto alias = alias_of(process_fd)) seen_aliases.insert(*alias);
    return visit(netns.get(), status.st_ino, pid);
  };
  PATU_TRY(visit_processes(look));
  const auto is_unseen = [&](std::uint64_t alias) { return !seen_aliases.contains(alias); };
  return static_cast<std::uint32_t>(std::count_if(denied_aliases.begin(), denied_aliases.end(), is_unseen));
}

Result<> KnownNamespaces::visit(const std::set<std::uint64_t>& inodes,
                                FunctionRef<Result<>(int netns_fd, std::uint64_t inode)> visit) {
  std::set<std::uint64_t> unknown;
  for (const std::uint64_t inode : inodes) {
    const auto known = pids_.find(inode);
    const UniqueFd netns = open_if_still(known == pids_.end() ? 0 : known->second, inode);
    if (netns)
      PATU_TRY(visit(netns.get(), inode));
    else
      unknown.insert(inode);
  }
  if (unknown.empty()) return {};
  pids_.clear();
  PATU_TRY(visit_namespaces([&](int netns_fd, std::uint64_t inode, int pid) -> Result<> {
    pids_.emplace(inode, pid);
    return unknown.contains(inode) ? visit(netns_fd, inode) : Result<>();
  }));
  return {};
}

}  // namespace patu::services
