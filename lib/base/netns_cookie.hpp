// The number that the kernel gives each network namespace once and never again.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "base/try.hpp"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace patu {

// Of the namespace that a socket of any family was opened in; 0 before Linux 5.14. Errors: io.
inline Result<std::uint64_t> netns_cookie_of(int socket_fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket_fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0) return cookie;
  if (errno == ENOPROTOOPT) return std::uint64_t{0};
  return PATU_FAIL_ERRNO("SO_NETNS_COOKIE");
}

}  // namespace patu
