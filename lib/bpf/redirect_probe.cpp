// Two TCP sockets over the loopback device of a namespace of their own, put into the maps by hand.
#include "bpf/redirect_probe.hpp"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/netns_cookie.hpp"
#include "base/rollback.hpp"
#include "base/thread.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"
#include "bpf/map.hpp"
#include "patu_maps.h"

namespace patu::bpf {
namespace {

constexpr int kPatienceMs = 1000;
constexpr std::size_t kMessageBytes = 8192;
// No pod can have these, and sockops never lets them in.
constexpr std::array<std::uint8_t, 4> kClient{127, 0, 0, 1};
constexpr std::array<std::uint8_t, 4> kServer{127, 0, 0, 2};

using Message = std::array<char, kMessageBytes>;

Message message_of(char byte) {
  Message out;
  out.fill(byte);
  return out;
}

patu_addr mapped(const std::array<std::uint8_t, 4>& ip) {
  patu_addr out{};
  out.bytes[10] = out.bytes[11] = 0xff;
  std::memcpy(out.bytes + 12, ip.data(), ip.size());
  return out;
}

sockaddr_in endpoint(const std::array<std::uint8_t, 4>& ip, in_port_t port_be) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  std::memcpy(&out.sin_addr, ip.data(), ip.size());
  out.sin_port = port_be;
  return out;
}

struct Pair {
  UniqueFd client;
  UniqueFd server;
  in_port_t client_port = 0;
  in_port_t server_port = 0;
  std::uint64_t netns_cookie = 0;
};

Result<> bring_loopback_up() {
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return PATU_FAIL_ERRNO("socket");
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return PATU_FAIL_ERRNO("bring lo up");
  return {};
}

Result<UniqueFd> bound_socket(const std::array<std::uint8_t, 4>& ip, in_port_t& port_be) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return PATU_FAIL_ERRNO("socket");
  // No call of the trial may wait for ever.
  const timeval patience{.tv_sec = kPatienceMs / 1000, .tv_usec = 0};
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    if (::setsockopt(fd.get(), SOL_SOCKET, option, &patience, sizeof patience) != 0)
      return PATU_FAIL_ERRNO("SO_RCVTIMEO");
  sockaddr_in address = endpoint(ip, 0);
  socklen_t size = sizeof address;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return PATU_FAIL_ERRNO("bind");
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return PATU_FAIL_ERRNO("getsockname");
  port_be = address.sin_port;
  return fd;
}

Result<Pair> connect_pair() {
  Pair pair;
  PATU_TRY_LET(listener, bound_socket(kServer, pair.server_port));
  if (::listen(listener.get(), 1) != 0) return PATU_FAIL_ERRNO("listen");
  PATU_TRY_LET(client, bound_socket(kClient, pair.client_port));
  const sockaddr_in to = endpoint(kServer, pair.server_port);
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    return PATU_FAIL_ERRNO("connect");
  pair.server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!pair.server) return PATU_FAIL_ERRNO("accept");
  pair.client = std::move(client);
  PATU_TRY_LET(cookie, netns_cookie_of(pair.client.get()));
  pair.netns_cookie = cookie;
  return pair;
}

// TCP tells its next sequence number only to who repairs a connection.
Result<std::uint32_t> write_sequence(int fd) {
  const int on = 1;
  const int off = TCP_REPAIR_OFF_NO_WP;
  const int queue = TCP_SEND_QUEUE;
  std::uint32_t sequence = 0;
  socklen_t size = sizeof sequence;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) != 0 ||
      ::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof queue) != 0 ||
      ::getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &sequence, &size) != 0 ||
      ::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof off) != 0)
    return PATU_FAIL_ERRNO("TCP_REPAIR");
  return sequence;
}

patu_socket_key key_of(const Pair& pair, bool client) {
  patu_socket_key key{};
  key.local = mapped(client ? kClient : kServer);
  key.remote = mapped(client ? kServer : kClient);
  key.local_port = client ? pair.client_port : pair.server_port;
  key.remote_port = client ? pair.server_port : pair.client_port;
  key.netns_cookie = pair.netns_cookie;
  return key;
}

// What sockops would do.
Result<> enter(const RedirectFds& fds, const Pair& pair, bool client, std::uint32_t state) {
  const int fd = client ? pair.client.get() : pair.server.get();
  patu_stream stream{};
  stream.self = key_of(pair, client);
  stream.peer = key_of(pair, !client);
  stream.state = state;
  PATU_TRY_LET(sequence, write_sequence(fd));
  stream.write_seq = sequence;
  PATU_TRY((Map<int, patu_stream>(fds.streams).put(fd, stream)), "streams");
  return Map<patu_socket_key, std::uint32_t>(fds.sockets).put(stream.self, static_cast<std::uint32_t>(fd));
}

Result<> send_message(int fd, const Message& message) {
  const ssize_t sent = ::send(fd, message.data(), message.size(), MSG_NOSIGNAL);
  if (sent < 0) return PATU_FAIL_ERRNO("send");
  if (static_cast<std::size_t>(sent) != message.size()) return fail(Errc::timed_out, "send");
  return {};
}

// What arrives within the patience, `most` bytes at most.
std::string receive(int fd, std::size_t most) {
  std::string out;
  std::array<char, 4096> buffer;
  while (out.size() < most) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, kPatienceMs) != 1) break;
    const ssize_t got = ::recv(fd, buffer.data(), std::min(buffer.size(), most - out.size()), MSG_DONTWAIT);
    if (got <= 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return out;
}

Result<std::uint32_t> charged_bytes(int fd) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof memory;
  if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0) return PATU_FAIL_ERRNO("SO_MEMINFO");
  return memory[SK_MEMINFO_RMEM_ALLOC];
}

// All that was sent lies in the peer's queue: the peer has acknowledged it. False if it does not, in time.
bool is_acknowledged(int fd) {
  for (int waited = 0; waited < kPatienceMs; ++waited) {
    int unacknowledged = 0;
    if (::ioctl(fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0) return true;
    ::poll(nullptr, 0, 1);
  }
  return false;
}

// From client to server: a redirected message, then one through TCP; both are there before anything is read.
Result<> try_redirecting(const RedirectFds& fds, const Pair& pair, RedirectFindings& findings) {
  const Message first = message_of('r');
  const Message second = message_of('t');
  PATU_TRY_LET(before, charged_bytes(pair.server.get()));
  PATU_TRY(send_message(pair.client.get(), first));
  PATU_TRY_LET(after, charged_bytes(pair.server.get()));
  const Map<int, patu_stream> streams(fds.streams);
  PATU_TRY_LET(stream, streams.lookup(pair.client.get()), "streams");
  const bool redirected = stream && stream->sent.bytes == first.size();
  if (!redirected) {
    findings.detail = "the message was not redirected (state " + std::to_string(stream ? stream->state : 0) + ")";
    return {};
  }
  stream->state = PATU_STREAM_SWITCHED_OFF;
  PATU_TRY(streams.put(pair.client.get(), *stream), "streams");
  PATU_TRY(send_message(pair.client.get(), second));
  const bool arrived = is_acknowledged(pair.client.get());
  const std::string expected = std::string(first.data(), first.size()) + std::string(second.data(), second.size());
  findings.charges = after - before >= first.size() && after > before;
  findings.delivers = arrived && receive(pair.server.get(), expected.size()) == expected;
  if (!findings.delivers)
    findings.detail = "redirected bytes do not arrive, or not before those that TCP brings after them";
  else if (!findings.charges)
    findings.detail = "redirected bytes are not charged to the receiver, so that nothing bounds them";
  return {};
}

// From server to client, which is in the map.
Result<> try_fionread(const Pair& pair, RedirectFindings& findings) {
  const Message message = message_of('f');
  PATU_TRY(send_message(pair.server.get(), message));
  int counted = 0;
  if (is_acknowledged(pair.server.get()) && ::ioctl(pair.client.get(), FIONREAD, &counted) == 0)
    findings.fionread_ok = static_cast<std::size_t>(counted) == message.size();
  return {};
}

Result<> try_pair(const RedirectFds& fds, RedirectFindings& findings) {
  PATU_TRY(bring_loopback_up());
  PATU_TRY_LET(pair, connect_pair());
  patu_pod pod{};
  pod.netns_cookie = pair.netns_cookie;
  pod.flags = PATU_POD_REDIRECT;
  const Map<patu_addr, patu_pod> pods(fds.pods);
  const Rollback forget([&] {
    (void)pods.erase(mapped(kClient));
    (void)pods.erase(mapped(kServer));
  });
  PATU_TRY(pods.put(mapped(kClient), pod), "pods");
  PATU_TRY(pods.put(mapped(kServer), pod), "pods");
  PATU_TRY(enter(fds, pair, true, PATU_STREAM_REDIRECTED), "put the client into the maps");
  PATU_TRY(enter(fds, pair, false, PATU_STREAM_SWITCHED_OFF), "put the server into the maps");
  PATU_TRY(try_redirecting(fds, pair, findings));
  return try_fionread(pair, findings);
}

}  // namespace

Result<RedirectFindings> probe_redirect(const RedirectFds& fds) {
  RedirectFindings findings;
  PATU_TRY(on_thread([&]() -> Result<> {
    if (::unshare(CLONE_NEWNET) != 0) return PATU_FAIL_ERRNO("unshare network namespace");
    return try_pair(fds, findings);
  }));
  return findings;
}

}  // namespace patu::bpf
