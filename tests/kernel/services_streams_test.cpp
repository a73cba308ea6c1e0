// TCP that is more than TCP, through services: fast open with data in its first packet, and multipath.
#include <doctest/doctest.h>
#include <linux/mptcp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "instance.hpp"
#include "real_peer.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr int kMptcp = 262;
constexpr int kSolMptcp = 284;
constexpr std::uint16_t kMultipathPort = 8081;

const Endpoint kV4 = endpoint("10.96.0.1:80");
const Endpoint kV6 = endpoint("[fd00:96::1]:80");

struct Kind {
  Socket socket;
  Endpoint frontend;
};
const Kind kKinds[] = {{Socket::v4, kV4}, {Socket::v6, kV6}, {Socket::mapped, kV4}};

struct Lab : ServiceLab {
  ServiceTable table = open_table();

  Lab() : ServiceLab(datapath_options(), PeerNames::as_shipped) {
    must(table.upsert({"web", {{kV4}, {kV6}}, {backend_v4(1), backend_v6(1)}}));
  }
  UniqueFd accept() const { return UniqueFd(::accept4(listener_fd(), nullptr, nullptr, SOCK_CLOEXEC)); }
};

bool says(const UniqueFd& server, const std::string& what) {
  std::string got(what.size(), '\0');
  return ::recv(server.get(), got.data(), got.size(), MSG_WAITALL) == static_cast<ssize_t>(got.size()) && got == what;
}

// Whether the first packet carried data, and the other end took it.
bool was_open_fast(const UniqueFd& socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

bool sends_at_once(const UniqueFd& socket, const Kind& to, bool by_connect) {
  if (by_connect) {
    const int on = 1;
    return ::setsockopt(socket.get(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on) == 0 &&
           connect_socket(socket.get(), to.socket, to.frontend) == 0 && ::send(socket.get(), "early", 5, 0) == 5;
  }
  const SocketAddress address = address_for(to.socket, to.frontend);
  return ::sendto(socket.get(), "early", 5, MSG_FASTOPEN, address.get(), address.size) == 5;
}

// As the lab's, but of multipath TCP; no descriptor where the kernel has none.
UniqueFd multipath_listener() {
  UniqueFd fd = new_socket(Socket::v6, SOCK_STREAM, kMptcp);
  const SocketAddress any = address_for(Socket::v6, {ip("::"), kMultipathPort});
  if (!fd) {
    WARN_MESSAGE(false, "this kernel has no MPTCP (CONFIG_MPTCP, net.mptcp.enabled): nothing to try");
    return fd;
  }
  const int on = 1;
  REQUIRE(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  REQUIRE(::bind(fd.get(), any.get(), any.size) == 0);
  REQUIRE(::listen(fd.get(), 64) == 0);
  return fd;
}

Service multipath_web() {
  return {.name = "web",
          .frontends = {{kV4}, {kV6}},
          .backends = {backend_v4(1, kMultipathPort), backend_v6(1, kMultipathPort)},
          .close_tcp = true};
}

// Whether both ends speak multipath TCP, and have not fallen back.
bool is_multipath(const UniqueFd& socket) {
  mptcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(socket.get(), kSolMptcp, MPTCP_INFO, &info, &size) == 0 &&
         (info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK) == 0;
}

}  // namespace

TEST_CASE("TCP fast open reaches a backend with data in its first packet, and getpeername tells the frontend") {
  Lab lab;
  CHECK(output_of("sysctl -qw net.ipv4.tcp_fastopen=3 2>&1") == "");
  const int pending = 64;
  REQUIRE(::setsockopt(lab.listener_fd(), IPPROTO_TCP, TCP_FASTOPEN, &pending, sizeof pending) == 0);
  for (const bool by_connect : {false, true}) {
    CAPTURE(by_connect);
    CHECK(lab.as_client([&] {
      for (const Kind& kind : kKinds) {
        bool fast = false;
        for (int i = 0; i < 3; ++i) {  // the first connection gets the cookie that the next ones need
          const UniqueFd socket = new_socket(kind.socket, SOCK_STREAM, 0);
          if (!sends_at_once(socket, kind, by_connect)) return false;
          const UniqueFd server = lab.accept();
          if (!server || !says(server, "early") || peer_of(socket.get()) != kind.frontend) return false;
          const bool v4 = kind.frontend.address.is_v4();
          if (real_peer(socket.get(), Protocol::tcp) != (v4 ? backend_v4(1) : backend_v6(1))) return false;
          fast = was_open_fast(socket);
        }
        if (!fast) return false;
      }
      return true;
    }));
  }
}

TEST_CASE("multipath TCP reaches a backend, and getpeername tells the frontend") {
  Lab lab;
  const UniqueFd listener = multipath_listener();
  if (!listener) return;
  for (const bool multipath_backend : {true, false}) {  // else the connection falls back to TCP
    if (multipath_backend)
      must(lab.table.upsert(multipath_web()));
    else
      must(lab.table.upsert({"web", {{kV4}, {kV6}}, {backend_v4(1), backend_v6(1)}}));
    for (const Kind& kind : kKinds) {
      CAPTURE(kind.frontend.to_string());
      CHECK(lab.as_client([&] {
        const UniqueFd socket = new_socket(kind.socket, SOCK_STREAM, kMptcp);
        if (connect_socket(socket.get(), kind.socket, kind.frontend) != 0) return false;
        const UniqueFd server(
            ::accept4(multipath_backend ? listener.get() : lab.listener_fd(), nullptr, nullptr, SOCK_CLOEXEC));
        const auto backend = local_of(server.get());
        if (!backend || backend->address != (kind.socket == Socket::v6 ? backend_v6(1) : backend_v4(1)).address)
          return false;
        return ::send(socket.get(), "ping", 4, 0) == 4 && says(server, "ping") &&
               is_multipath(socket) == multipath_backend && peer_of(socket.get()) == kind.frontend;
      }));
    }
  }
}

TEST_CASE("a multipath connection that asked for an ordinary address keeps its peer's name") {
  Lab lab;
  const UniqueFd listener = multipath_listener();
  if (!listener) return;
  must(lab.table.upsert(multipath_web()));
  CHECK(lab.as_client([&] {
    for (const Kind& kind : kKinds) {
      const Endpoint direct = (kind.socket == Socket::v6 ? backend_v6 : backend_v4)(1, kMultipathPort);
      const UniqueFd translated = new_socket(kind.socket, SOCK_STREAM, kMptcp);
      const UniqueFd socket = new_socket(kind.socket, SOCK_STREAM, kMptcp);
      if (connect_socket(translated.get(), kind.socket, kind.frontend) != 0 ||
          connect_socket(socket.get(), kind.socket, direct) != 0 || peer_of(socket.get()) != direct ||
          peer_of(translated.get()) != kind.frontend)
        return false;
    }
    return true;
  }));
}

TEST_CASE("a multipath connection whose backend is closed ends when the kernel has waited for another path") {
  Lab lab;
  const UniqueFd listener = multipath_listener();
  if (!listener) return;
  if (output_of("sysctl -qw net.mptcp.close_timeout=1 2>&1") != "") {
    WARN_MESSAGE(false, "this kernel always waits a minute (no net.mptcp.close_timeout): not tried");
    return;
  }
  must(lab.table.upsert(multipath_web()));
  CHECK(lab.as_client([&] {
    const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, kMptcp);
    if (connect_socket(socket.get(), Socket::v4, kV4) != 0) return false;
    const UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!server || ::send(socket.get(), "ping", 4, 0) != 4 || !says(server, "ping") || !is_multipath(socket))
      return false;
    auto mine = ServiceTable::open(lab.datapath());
    pollfd told{socket.get(), POLLIN, 0};
    char byte = 0;
    return mine && mine->remove("web") && ::poll(&told, 1, 30'000) == 1 && ::recv(socket.get(), &byte, 1, 0) <= 0;
  }));
  CHECK(output_of("sysctl -qw net.mptcp.close_timeout=60 2>&1") == "");
}
