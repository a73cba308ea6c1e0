// Pins by descriptor: bpf(2) takes a path, and /proc makes one of a directory that was checked.
#include "bpf/pin.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/directory.hpp"
#include "base/try.hpp"
#include "bpf/layout.hpp"

namespace patu::bpf {
namespace {

std::string path_of(int directory_fd, const std::string& name) {
  return "/proc/thread-self/fd/" + std::to_string(directory_fd) + "/" + name;
}

}  // namespace

Result<UniqueFd> open_bpffs(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return PATU_FAIL_ERRNO("open " + path);
  struct statfs fs {};
  if (::fstatfs(fd.get(), &fs) != 0) return PATU_FAIL_ERRNO("statfs " + path);
  if (fs.f_type != BPF_FS_MAGIC)
    return fail(Errc::invalid_argument, path + " is not a BPF file system; mount one: mount -t bpf bpf " + path);
  return fd;
}

Result<UniqueFd> open_directory(int parent_fd, const std::string& name) {
  UniqueFd fd(::openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return PATU_FAIL_ERRNO("open directory " + name);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return PATU_FAIL_ERRNO("stat directory " + name);
  if (st.st_uid != ::geteuid())
    return fail(Errc::permission_denied, "directory " + name + " belongs to user " + std::to_string(st.st_uid) +
                                             ", not to the caller: whoever owns it could replace what is pinned there");
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return fail(Errc::permission_denied,
                "directory " + name + " can be written by others than its owner; chmod go-w it");
  return fd;
}

Result<UniqueFd> make_directory(int parent_fd, const std::string& name) {
  if (::mkdirat(parent_fd, name.c_str(), 0700) != 0 && errno != EEXIST)
    return PATU_FAIL_ERRNO("make directory " + name);
  return open_directory(parent_fd, name);
}

bool is_same_directory(int parent_fd, const std::string& name, int directory_fd) {
  struct stat there {};
  struct stat here {};
  return ::fstatat(parent_fd, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && ::fstat(directory_fd, &here) == 0 &&
         there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

Result<bool> exists(int parent_fd, const std::string& name) {
  struct stat st {};
  if (::fstatat(parent_fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) return true;
  if (errno == ENOENT) return false;
  return PATU_FAIL_ERRNO("stat " + name);
}

Result<std::vector<std::string>> entries(int directory_fd) {
  // A descriptor of its own: reading moves the offset, which duplicates would share.
  UniqueFd fd(::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return PATU_FAIL_ERRNO("open directory");
  Directory dir(::fdopendir(fd.get()));
  if (!dir) return PATU_FAIL_ERRNO("read directory");
  (void)fd.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return PATU_FAIL_ERRNO("read directory");
  std::sort(names.begin(), names.end());
  return names;
}

Result<> pin(int object_fd, int directory_fd, const std::string& name) {
  if (bpf_obj_pin(object_fd, path_of(directory_fd, name).c_str()) != 0) return PATU_FAIL_ERRNO("pin " + name);
  return {};
}

Result<> pin_over(int object_fd, int directory_fd, const std::string& parent, const std::string& name) {
  const std::string fresh = parent + kNewPrefix + name;
  if (::unlinkat(directory_fd, fresh.c_str(), 0) != 0 && errno != ENOENT) return PATU_FAIL_ERRNO("unlink " + fresh);
  PATU_TRY(pin(object_fd, directory_fd, fresh));
  return rename(directory_fd, fresh, directory_fd, parent + name);
}

Result<UniqueFd> open_pin(int directory_fd, const std::string& name) {
  UniqueFd fd(bpf_obj_get(path_of(directory_fd, name).c_str()));
  if (!fd) return PATU_FAIL_ERRNO("open pin " + name);
  return fd;
}

Result<> rename(int from_fd, const std::string& from, int to_fd, const std::string& to) {
  if (::renameat(from_fd, from.c_str(), to_fd, to.c_str()) != 0) return PATU_FAIL_ERRNO("rename " + from + " to " + to);
  return {};
}

Result<> remove_tree(int parent_fd, const std::string& name, const std::string& path,
                     std::vector<std::string>* removed) {
  if (::unlinkat(parent_fd, name.c_str(), 0) == 0) {
    if (removed != nullptr) removed->push_back(path);
    return {};
  }
  if (errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return PATU_FAIL_ERRNO("unlink " + path);
  UniqueFd fd(::openat(parent_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return PATU_FAIL_ERRNO("open directory " + path);
  PATU_TRY_LET(names, entries(fd.get()), path);
  for (const std::string& entry : names) PATU_TRY(remove_tree(fd.get(), entry, path + "/" + entry, removed));
  if (::unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return PATU_FAIL_ERRNO("remove directory " + path);
  return {};
}

}  // namespace patu::bpf
