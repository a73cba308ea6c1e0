// Sockets of a network namespace, listed and destroyed by NETLINK_SOCK_DIAG.
#pragma once

#include <linux/inet_diag.h>

#include <cstdint>
#include <vector>

#include "base/function_ref.hpp"
#include "nl/socket.hpp"

namespace patu::nl {

struct InetSocket {
  std::uint8_t family = 0;    // AF_INET or AF_INET6
  std::uint8_t protocol = 0;  // IPPROTO_UDP or IPPROTO_TCP
  inet_diag_sockid id{};
  std::uint32_t inode = 0;  // of its file; 0: it has none (any more)

  std::uint64_t cookie() const noexcept {  // SO_COOKIE
    return std::uint64_t{id.idiag_cookie[1]} << 32 | id.idiag_cookie[0];
  }
  // Where it is connected to; an IPv6 socket's may be IPv4-mapped.
  IpAddress remote_address() const noexcept;
};

// Of another namespace, by way of a thread that ends at once. Errors: permission_denied, io.
Result<Socket> open_sock_diag_in(int netns_fd);

// Those of the wanted that have a peer, or are about to: UDP sockets that are connected, TCP sockets in every state but LISTEN,
// CLOSE and TIME_WAIT. `family` is AF_INET or AF_INET6.
// Errors: unsupported (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG), busy, timed_out, protocol, io.
Result<std::vector<InetSocket>> list_connected(Socket& socket, std::uint8_t family, std::uint8_t protocol,
                                               FunctionRef<bool(const InetSocket&)> wanted);

// Whoever reads the socket is told ECONNABORTED. Two UDP sockets may have the same addresses and ports: then the
// kernel finds only one of them, and says not_found of the other. False: it is not there any more, or not found.
// Errors: unsupported (CONFIG_INET_DIAG_DESTROY), permission_denied, timed_out, io.
Result<bool> destroy_socket(Socket& socket, const InetSocket& which);

}  // namespace patu::nl
