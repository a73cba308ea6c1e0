// SOCK_DIAG_BY_FAMILY and SOCK_DESTROY.
#include "nl/sock_diag.hpp"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>

#include "base/thread.hpp"
#include "base/try.hpp"

namespace patu::nl {
namespace {

constexpr std::uint32_t kUdpStates = 1u << TCP_ESTABLISHED;
constexpr std::uint32_t kTcpStates = 1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECV |
                                     1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT |
                                     1u << TCP_LAST_ACK | 1u << TCP_CLOSING;

Result<InetSocket> parse_socket(const Message& message, std::uint8_t protocol) {
  if (message.type() != SOCK_DIAG_BY_FAMILY) return fail(Errc::protocol, "netlink answer is not a socket");
  PATU_TRY_LET(header, message.body<inet_diag_msg>());
  return InetSocket{header.idiag_family, protocol, header.id, header.idiag_inode};
}

}  // namespace

IpAddress InetSocket::remote_address() const noexcept {
  IpAddress::Bytes bytes{};
  if (family == AF_INET) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(bytes.data() + 12, id.idiag_dst, 4);
  } else {
    std::memcpy(bytes.data(), id.idiag_dst, bytes.size());
  }
  return IpAddress::from_bytes(bytes);
}

Result<Socket> open_sock_diag_in(int netns_fd) {
  UniqueFd fd;
  PATU_TRY(in_netns(netns_fd, [&]() -> Result<> {
    fd = UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd) return PATU_FAIL_ERRNO("open sock_diag socket");
    return {};
  }));
  return Socket::adopt(std::move(fd));
}

Result<std::vector<InetSocket>> list_connected(Socket& socket, std::uint8_t family, std::uint8_t protocol,
                                               FunctionRef<bool(const InetSocket&)> wanted) {
  inet_diag_req_v2 header{};
  header.sdiag_family = family;
  header.sdiag_protocol = protocol;
  header.idiag_states = protocol == IPPROTO_UDP ? kUdpStates : kTcpStates;
  Request request(SOCK_DIAG_BY_FAMILY, 0, header);
  std::vector<InetSocket> sockets;
  const auto on_message = [&](const Message& message) -> Result<> {
    PATU_TRY_LET(found, parse_socket(message, protocol));
    if (wanted(found)) sockets.push_back(found);
    return {};
  };
  auto listed = socket.dump(request, on_message, [&] { sockets.clear(); });
  if (listed) return sockets;
  // kernel: what inet_diag, or its part for the protocol, says when it is not there.
  if (listed.error().code() == Errc::not_found)
    return fail(Errc::unsupported, "the kernel does not list sockets (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG)");
  return fail(std::move(listed.error()));
}

Result<bool> destroy_socket(Socket& socket, const InetSocket& which) {
  inet_diag_req_v2 header{};
  header.sdiag_family = which.family;
  header.sdiag_protocol = which.protocol;
  header.id = which.id;
  Request request(SOCK_DESTROY, 0, header);
  auto done = socket.call(request);
  if (done) return true;
  if (done.error().code() == Errc::not_found) return false;
  if (done.error().code() == Errc::unsupported)
    return fail(std::move(done.error()).context("the kernel lacks CONFIG_INET_DIAG_DESTROY"));
  return fail(std::move(done.error()));
}

}  // namespace patu::nl
