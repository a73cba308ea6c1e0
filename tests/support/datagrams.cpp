// Destination addresses come as IPV6_PKTINFO, IPv4 ones mapped, and go back the same way as source.
#include "datagrams.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace patu::test {
namespace {

constexpr int kPatienceMs = 5000;

struct Said {
  std::array<std::uint8_t, 16> address;
  std::uint16_t port;
};

UniqueFd serve_everywhere() {
  UniqueFd fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const int off = 0;
  const int room = 8 << 20;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(kBackendPort);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (!fd || ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) != 0 ||
      // kernel: an AnyIP route alone does not make an IPv6 address one to send from.
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    throw std::runtime_error(std::string("serve datagrams: ") + std::strerror(errno));
  return fd;
}

// Without the heap: the process forks while this runs. False: nothing is there.
bool answer_one(int socket_fd) {
  sockaddr_in6 from{};
  std::array<char, 16> asked{};
  Said said{};
  alignas(cmsghdr) std::array<char, 256> control{};
  iovec in{asked.data(), asked.size()};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &in;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket_fd, &message, 0) < 0) return false;
  in6_pktinfo info{};
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at))
    if (at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_PKTINFO) std::memcpy(&info, CMSG_DATA(at), sizeof info);
  std::memcpy(said.address.data(), &info.ipi6_addr, said.address.size());
  said.port = kBackendPort;
  iovec out{&said, sizeof said};
  info.ipi6_ifindex = 0;
  message.msg_iov = &out;
  message.msg_controllen = CMSG_SPACE(sizeof info);
  cmsghdr* first = CMSG_FIRSTHDR(&message);
  first->cmsg_level = IPPROTO_IPV6;
  first->cmsg_type = IPV6_PKTINFO;
  first->cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(CMSG_DATA(first), &info, sizeof info);
  (void)::sendmsg(socket_fd, &message, 0);
  return true;
}

void serve(int socket_fd, int stop_fd) {
  for (;;) {
    std::array<pollfd, 2> wait{{{socket_fd, POLLIN, 0}, {stop_fd, POLLIN, 0}}};
    if (::poll(wait.data(), wait.size(), -1) < 0 || wait[1].revents != 0) return;
    while (answer_one(socket_fd)) {
    }
  }
}

}  // namespace

DatagramServer::DatagramServer()
    : socket_(serve_everywhere()),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      thread_([socket_fd = socket_.get(), stop_fd = stop_.get()] { serve(socket_fd, stop_fd); }) {}

DatagramServer::~DatagramServer() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

int send_datagram(int socket_fd, Socket kind, const Endpoint& to) {
  const SocketAddress address = address_for(kind, to);
  return ::sendto(socket_fd, "who?", 4, 0, address.get(), address.size) == 4 ? 0 : errno;
}

int send_connected(int socket_fd) { return ::send(socket_fd, "who?", 4, 0) == 4 ? 0 : errno; }

Answer receive_datagram(int socket_fd) {
  pollfd wait{socket_fd, POLLIN, 0};
  if (::poll(&wait, 1, kPatienceMs) != 1) return {ETIMEDOUT};
  SocketAddress from;
  Said said{};
  if (::recvfrom(socket_fd, &said, sizeof said, 0, from.get(), &from.size) != sizeof said) return {errno};
  return {0, endpoint_of(from), {IpAddress::from_bytes(said.address), said.port}};
}

Answer ask(int socket_fd, Socket kind, const Endpoint& to) {
  if (const int error = send_datagram(socket_fd, kind, to); error != 0) return {error};
  return receive_datagram(socket_fd);
}

Answer ask_connected(int socket_fd) {
  if (const int error = send_connected(socket_fd); error != 0) return {error};
  return receive_datagram(socket_fd);
}

}  // namespace patu::test
