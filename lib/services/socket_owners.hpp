// What the hooks remember of sockets that other processes hold: the kernel tells it only to who has the socket.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/function_ref.hpp"
#include "patu/error.hpp"
#include "patu_maps.h"

namespace patu::services {

// By inode number, as sock_diag and /proc/<pid>/fd have it: the socket's cookie.
using SocketCookies = std::unordered_map<std::uint32_t, std::uint64_t>;

// Looks for the sockets among the descriptors of all processes and reads their storage in the map `connected`; `tell` hears of
// each that was found, and of its storage if it has one. Those that were found are taken out of `sockets`; what is left is held
// by nobody, or by somebody who may not be looked into.
// Errors: unsupported (pidfd_getfd, Linux 5.6), io.
Result<> read_translations(int connected_fd, SocketCookies& sockets,
                           FunctionRef<void(std::uint32_t inode, const std::optional<patu_translation>&)> tell);

}  // namespace patu::services
