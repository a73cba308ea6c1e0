// Network namespaces as descriptors of nsfs.
#include "patu/netns.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/netns_cookie.hpp"
#include "base/thread.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"

namespace patu {
namespace {

// The calling thread's: a process may have threads in several namespaces.
constexpr const char* kCurrent = "/proc/thread-self/ns/net";

Result<> verify(int fd) {
  struct statfs filesystem {};
  // The magic first: an ioctl number means something else to another kind of file.
  if (::fstatfs(fd, &filesystem) != 0) return PATU_FAIL_ERRNO("fstatfs");
  if (filesystem.f_type != NSFS_MAGIC || ::ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
    return fail(Errc::invalid_argument, "not a network namespace");
  return {};
}

Result<UniqueFd> open_verified(const char* path) {
  // O_NONBLOCK, because the path may be a FIFO that nobody writes to.
  UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return PATU_FAIL_ERRNO(path);
  PATU_TRY(verify(fd.get()), path);
  return fd;
}

}  // namespace

Netns::~Netns() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Netns> Netns::open(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    return fail(Errc::invalid_argument, "path of network namespace has a zero byte");
  PATU_TRY_LET(fd, open_verified(path.c_str()), "open network namespace");
  return Netns(fd.release());
}

Result<Netns> Netns::of_pid(pid_t pid) {
  if (pid <= 0) return fail(Errc::invalid_argument, "network namespace of process " + std::to_string(pid));
  return open("/proc/" + std::to_string(pid) + "/ns/net");
}

Result<Netns> Netns::from_fd(int netns_fd) {
  UniqueFd fd(::fcntl(netns_fd, F_DUPFD_CLOEXEC, 0));
  if (!fd) {
    const int err = errno;
    const std::string what = "network namespace of descriptor " + std::to_string(netns_fd);
    return fail(err == EBADF ? Error::from_errno(Errc::invalid_argument, err, what) : Error::from_errno(err, what));
  }
  PATU_TRY(verify(fd.get()), "descriptor " + std::to_string(netns_fd));
  return Netns(fd.release());
}

Result<Netns> Netns::current() { return open(kCurrent); }

Result<Netns> Netns::create() {
  UniqueFd created;
  const auto work = [&]() -> Result<> {
    if (::unshare(CLONE_NEWNET) != 0) return PATU_FAIL_ERRNO("unshare");  // ENOSPC: /proc/sys/user/max_net_namespaces
    PATU_TRY_LET(fd, open_verified(kCurrent));
    created = std::move(fd);
    return {};
  };
  PATU_TRY(on_thread(work), "create network namespace");
  return Netns(created.release());
}

bool Netns::same_as(const Netns& other) const noexcept {
  struct stat mine {};
  struct stat theirs {};
  return ::fstat(fd_, &mine) == 0 && ::fstat(other.fd_, &theirs) == 0 && mine.st_dev == theirs.st_dev &&
         mine.st_ino == theirs.st_ino;
}

Result<std::uint64_t> Netns::cookie() const {
  std::uint64_t cookie = 0;
  const auto work = [&]() -> Result<> {
    // Netlink, because it is the one family that every kernel with namespaces has.
    const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
    if (!fd) return PATU_FAIL_ERRNO("socket");
    PATU_TRY_LET(found, netns_cookie_of(fd.get()));
    if (found == 0) return fail(Errc::unsupported, "SO_NETNS_COOKIE needs Linux 5.14");
    cookie = found;
    return {};
  };
  PATU_TRY(in_netns(fd_, work), "cookie of network namespace");
  return cookie;
}

}  // namespace patu
