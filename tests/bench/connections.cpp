// A connection's other end is taken and closed between the measured calls, a datagram likewise.
#include "connections.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>

#include "service_lab.hpp"

namespace patu::test {
namespace {

std::uint32_t ns_between(Clock::time_point begin, Clock::time_point end) {
  return static_cast<std::uint32_t>((end - begin).count());
}

UniqueFd receive_everywhere() {
  UniqueFd fd = new_socket(Socket::v4, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(kBackendPort);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) give_up("bind");
  return fd;
}

Sample time_tcp(const SocketAddress& to, int listener_fd) {
  const auto begin = Clock::now();
  UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, 0);
  const linger reset{1, 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  const auto call = Clock::now();
  const int error = ::connect(socket.get(), to.get(), to.size);
  const auto called = Clock::now();
  if (error != 0) give_up("connect failed: " + std::to_string(errno));
  { const UniqueFd other_end(::accept4(listener_fd, nullptr, nullptr, SOCK_CLOEXEC)); }
  const auto closing = Clock::now();
  socket = UniqueFd();
  const auto end = Clock::now();
  return {ns_between(call, called), ns_between(begin, called) + ns_between(closing, end)};
}

Sample time_udp(const SocketAddress& to) {
  const auto begin = Clock::now();
  UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
  const auto call = Clock::now();
  const int error = ::connect(socket.get(), to.get(), to.size);
  const auto called = Clock::now();
  socket = UniqueFd();
  const auto end = Clock::now();
  if (error != 0) give_up("connect of UDP failed");
  return {ns_between(call, called), ns_between(begin, end)};
}

Sample time_send(const SocketAddress& to, int socket_fd, int receiver_fd) {
  char byte = 0;
  const auto call = Clock::now();
  const ssize_t sent = ::sendto(socket_fd, &byte, 1, 0, to.get(), to.size);
  const auto called = Clock::now();
  if (sent != 1 || ::recv(receiver_fd, &byte, 1, 0) != 1) give_up("send failed");
  return {ns_between(call, called), ns_between(call, called)};
}

}  // namespace

std::function<Sample()> tcp_connects(const Target& target, int listener_fd) {
  return [target, listener_fd] { return time_tcp(address_for(Socket::v4, target()), listener_fd); };
}

std::function<Sample()> udp_connects(const Target& target) {
  return [target] { return time_udp(address_for(Socket::v4, target())); };
}

std::function<Sample()> udp_sends_from_one_socket(const Target& target) {
  const auto socket = std::make_shared<UniqueFd>(new_socket(Socket::v4, SOCK_DGRAM, 0));
  return [target, socket] {
    const UniqueFd receiver = receive_everywhere();
    return time_send(address_for(Socket::v4, target()), socket->get(), receiver.get());
  };
}

std::function<Sample()> udp_sends_from_new_sockets(const Target& target) {
  return [target] {
    const UniqueFd receiver = receive_everywhere();
    const auto begin = Clock::now();
    UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
    const auto made = Clock::now();
    const Sample sent = time_send(address_for(Socket::v4, target()), socket.get(), receiver.get());
    const auto closing = Clock::now();
    socket = UniqueFd();
    const auto end = Clock::now();
    return Sample{sent.call_ns, ns_between(begin, made) + sent.call_ns + ns_between(closing, end)};
  };
}

}  // namespace patu::test
