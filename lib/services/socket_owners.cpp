// A copy of the descriptor is made for the moment of the look.
#include "services/socket_owners.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/directory.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"
#include "bpf/map.hpp"
#include "services/namespaces.hpp"

namespace patu::services {
namespace {

Directory open_descriptors(int process_fd) {
  UniqueFd fd(::openat(process_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Directory directory(fd ? ::fdopendir(fd.get()) : nullptr);
  if (directory) (void)fd.release();
  return directory;
}

std::optional<int> number(std::string_view text) noexcept {
  int value = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || std::from_chars(text.data(), end, value).ptr != end) return std::nullopt;
  return value;
}

// "socket:[123]"
std::optional<std::uint32_t> socket_inode(int directory_fd, const char* name) noexcept {
  constexpr std::string_view kPrefix = "socket:[";
  std::array<char, 64> target{};
  const ssize_t length = ::readlinkat(directory_fd, name, target.data(), target.size());
  if (length <= 0) return std::nullopt;
  const std::string_view text(target.data(), static_cast<std::size_t>(length));
  std::uint32_t inode = 0;
  if (!text.starts_with(kPrefix) ||
      std::from_chars(text.data() + kPrefix.size(), text.data() + text.size(), inode).ec != std::errc())
    return std::nullopt;
  return inode;
}

// Empty: the process or its descriptor is gone, is another one by now, or may not be had.
Result<UniqueFd> copy_socket(int pid, int fd, std::uint64_t cookie) {
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  UniqueFd copy(process ? static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)) : -1);
  if (!copy) {
    if (errno == ENOSYS) return PATU_FAIL_ERRNO("the kernel lacks pidfd_getfd (Linux 5.6)");
    return UniqueFd();
  }
  std::uint64_t found = 0;
  socklen_t size = sizeof found;
  if (::getsockopt(copy.get(), SOL_SOCKET, SO_COOKIE, &found, &size) != 0 || found != cookie) return UniqueFd();
  return copy;
}

}  // namespace

Result<> read_translations(int connected_fd, SocketCookies& sockets,
                           FunctionRef<void(std::uint32_t inode, const std::optional<patu_translation>&)> tell) {
  return visit_processes([&](int process_fd, int pid) -> Result<> {
    if (sockets.empty()) return {};
    const Directory descriptors = open_descriptors(process_fd);
    if (!descriptors) return {};
    while (const dirent* entry = ::readdir(descriptors.get())) {
      const auto fd = number(entry->d_name);
      const auto inode = fd ? socket_inode(::dirfd(descriptors.get()), entry->d_name) : std::nullopt;
      const auto wanted = inode ? sockets.find(*inode) : sockets.end();
      if (wanted == sockets.end()) continue;
      PATU_TRY_LET(copy, copy_socket(pid, *fd, wanted->second));
      if (!copy) continue;
      PATU_TRY_LET(translation, (bpf::Map<int, patu_translation>(connected_fd).lookup(copy.get())), "connected");
      tell(*inode, translation);
      sockets.erase(wanted);
    }
    return {};
  });
}

}  // namespace patu::services
