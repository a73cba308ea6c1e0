// What connect(2) does with services: every kind of socket that meets them, and every kind that must not.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "instance.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr int kMptcp = 262;

const Endpoint kV4 = endpoint("10.96.0.1:80");
const Endpoint kV6 = endpoint("[fd00:96::1]:80");

std::string text(const Result<>& result) { return result ? "success" : result.error().to_string(); }

Service dual_stack(std::uint32_t backends) {
  Service service{"default/web", {{kV4}, {kV6}}, {}};
  for (std::uint32_t i = 1; i <= backends; ++i) {
    service.backends.push_back(backend_v4(i));
    service.backends.push_back(backend_v6(i));
  }
  return service;
}

// An address whose other ports and protocols are ordinary.
Frontend announced(const Endpoint& endpoint) { return {endpoint, Protocol::tcp, FrontendKind::load_balancer}; }

bool is_backend(const Service& service, const std::optional<Endpoint>& peer) {
  return peer && std::find(service.backends.begin(), service.backends.end(), *peer) != service.backends.end();
}

// Bytes there and back over one connection; the other end is whatever the listener accepts.
bool exchange(int client_fd, int server_fd) {
  char got[5] = {};
  return ::send(client_fd, "ping", 4, 0) == 4 && ::recv(server_fd, got, 4, MSG_WAITALL) == 4 &&
         std::string(got) == "ping" && ::send(server_fd, "pong", 4, 0) == 4 &&
         ::recv(client_fd, got, 4, MSG_WAITALL) == 4 && std::string(got) == "pong";
}

}  // namespace

TEST_CASE("a connect to a frontend arrives at a backend of the frontend's family") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service service = dual_stack(4);
  put(table, service);
  CHECK(lab.as_client([&] {
    for (int i = 0; i < 200; ++i) {
      const Connected v4 = connect_once(Socket::v4, kV4, lab.listener_fd());
      const Connected v6 = connect_once(Socket::v6, kV6, lab.listener_fd());
      const Connected mapped = connect_once(Socket::mapped, kV4, lab.listener_fd());
      if (!is_backend(service, v4.peer) || !v4.peer->address.is_v4()) return false;
      if (!is_backend(service, v6.peer) || !v6.peer->address.is_v6()) return false;
      if (!is_backend(service, mapped.peer) || !mapped.peer->address.is_v4()) return false;
    }
    return true;
  }));
}

TEST_CASE("the connection carries bytes, and lives on when its service changes and goes") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"web", {{kV4}}, {backend_v4(1)}});
  Shared<int> step;
  const pid_t client = lab.start_client([&] {
    const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, 0);
    if (connect_socket(socket.get(), Socket::v4, kV4) != 0) return false;
    const UniqueFd server(::accept4(lab.listener_fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!server || !exchange(socket.get(), server.get())) return false;
    auto mine = ServiceTable::open(lab.datapath());
    if (!mine || !mine->upsert({"web", {{kV4}}, {backend_v4(2)}}) || !exchange(socket.get(), server.get()))
      return false;
    if (!mine->remove("web") || !exchange(socket.get(), server.get())) return false;
    return peer_of(socket.get()) == backend_v4(1);
  });
  CHECK(wait_for(client) == 0);
}

TEST_CASE("every backend is chosen about equally often") {
  ServiceLab lab;
  auto table = lab.open_table();
  for (const std::uint32_t backends : {2u, 3u, 16u}) {
    put(table, {"web", {{kV4}}, backends_v4(1, backends)});
    Shared<std::array<std::uint32_t, 17>> chosen;
    REQUIRE(lab.as_client([&] {
      for (int i = 0; i < 3000; ++i) {
        const Connected one = connect_once(Socket::v4, kV4, lab.listener_fd());
        if (!one.peer) return false;
        ++(*chosen)[one.peer->address.bytes()[15]];
      }
      return true;
    }));
    double chi_squared = 0;
    const double expected = 3000.0 / backends;
    for (std::uint32_t i = 1; i <= backends; ++i)
      chi_squared += ((*chosen)[i] - expected) * ((*chosen)[i] - expected) / expected;
    // With 1, 2 and 15 degrees of freedom a fair choice exceeds this less than once in 10^9, 10^8 and 10^9 runs.
    CHECK(chi_squared < (backends == 16 ? 75.0 : 38.0));
  }
}

TEST_CASE("backends are added, replaced and taken away") {
  ServiceLab lab;
  auto table = lab.open_table();
  const auto reached = [&](int connects) {
    Shared<std::array<bool, 256>> seen;
    CHECK(lab.as_client([&] {
      for (int i = 0; i < connects; ++i) {
        const Connected one = connect_once(Socket::v4, kV4, lab.listener_fd());
        if (!one.peer || one.peer->port != kBackendPort) return false;
        (*seen)[one.peer->address.bytes()[15]] = true;
      }
      return true;
    }));
    std::set<int> out;
    for (int i = 0; i < 256; ++i)
      if ((*seen)[static_cast<std::size_t>(i)]) out.insert(i);
    return out;
  };
  put(table, {"web", {{kV4}}, backends_v4(1, 2)});
  CHECK(reached(100) == std::set<int>{1, 2});
  put(table, {"web", {{kV4}}, backends_v4(1, 4)});
  CHECK(reached(200) == std::set<int>{1, 2, 3, 4});
  put(table, {"web", {{kV4}}, backends_v4(101, 3)});
  CHECK(reached(150) == std::set<int>{101, 102, 103});
  put(table, {"web", {{kV4}}, {backend_v4(102)}});
  CHECK(reached(20) == std::set<int>{102});
}

TEST_CASE("a frontend without backends of its family refuses at once") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"empty", {{kV4}, {kV6}}, {}});
  put(table, {"only-v6", {{endpoint("10.96.0.2:80")}}, {backend_v6(1)}});
  put(table, {"only-v4", {{endpoint("[fd00:96::2]:80")}}, {backend_v4(1)}});
  const auto refusal = [&](Socket kind, const Endpoint& to) {
    Shared<int> error;
    CHECK(lab.as_client([&] {
      *error = connect_once(kind, to, lab.listener_fd()).error;
      return true;
    }));
    return *error;
  };
  CHECK(refusal(Socket::v4, kV4) == lab.refusal());
  CHECK(refusal(Socket::v6, kV6) == lab.refusal());
  CHECK(refusal(Socket::mapped, kV4) == lab.refusal());
  CHECK(refusal(Socket::v4, endpoint("10.96.0.2:80")) == lab.refusal());
  CHECK(refusal(Socket::v6, endpoint("[fd00:96::2]:80")) == lab.refusal());

  put(table, {"empty", {{kV4}, {kV6}}, {backend_v4(1), backend_v6(1)}});
  CHECK(refusal(Socket::v4, kV4) == 0);
  CHECK(refusal(Socket::v6, kV6) == 0);
  put(table, {"empty", {{kV4}, {kV6}}, {}});
  CHECK(refusal(Socket::v4, kV4) == lab.refusal());
}

TEST_CASE("a socket that was refused can connect when there is a backend") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"web", {{kV4}}, {}});
  CHECK(lab.as_client([&] {
    auto mine = ServiceTable::open(lab.datapath());
    const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, 0);
    if (!mine || connect_socket(socket.get(), Socket::v4, kV4) != lab.refusal()) return false;
    return mine->upsert({"web", {{kV4}}, {backend_v4(1)}}) && connect_socket(socket.get(), Socket::v4, kV4) == 0 &&
           peer_of(socket.get()) == backend_v4(1);
  }));
}

TEST_CASE("other addresses, other ports and other processes are untouched") {
  ServiceLab lab;
  auto table = lab.open_table();
  // The frontends are real addresses here, with a listener of their own, so that "untouched" is a connect that works.
  const Endpoint real_v4 = backend_v4(500);
  const Endpoint real_v6 = backend_v6(500);
  put(table, {"web", {announced(real_v4), announced(real_v6)}, {backend_v4(1), backend_v6(1)}});
  const auto peer = [&](bool in_cgroup, Socket kind, const Endpoint& to) {
    Shared<Connected> out;
    const auto body = [&] {
      *out = connect_once(kind, to, lab.listener_fd());
      return true;
    };
    if (in_cgroup)
      CHECK(lab.as_client(body));
    else
      body();
    return out->peer;
  };
  CHECK(peer(true, Socket::v4, real_v4) == backend_v4(1));
  CHECK(peer(true, Socket::v6, real_v6) == backend_v6(1));
  CHECK(peer(false, Socket::v4, real_v4) == real_v4);
  CHECK(peer(false, Socket::v6, real_v6) == real_v6);
  CHECK(peer(false, Socket::mapped, real_v4) == real_v4);
  CHECK(peer(true, Socket::v4, backend_v4(501)) == backend_v4(501));
  CHECK(peer(true, Socket::v6, backend_v6(501)) == backend_v6(501));
  CHECK(peer(true, Socket::mapped, backend_v4(501)) == backend_v4(501));

  const auto removed = table.remove("web");
  REQUIRE_MESSAGE(removed, text(removed));
  put(table, {"web", {announced(backend_v4(500, 81))}, {backend_v4(1)}});
  CHECK(peer(true, Socket::v4, real_v4) == real_v4);
  CHECK(peer(true, Socket::v4, backend_v4(500, 81)) == backend_v4(1));
}

TEST_CASE("UDP and other sockets of the same address and port are untouched") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Endpoint v4 = backend_v4(500);
  const Endpoint v6 = backend_v6(500);
  put(table, {"web", {announced(v4), announced(v6)}, {backend_v4(1), backend_v6(1)}});
  put(table, {"empty", {announced(backend_v4(501)), announced(backend_v6(501))}, {}});
  const auto peer = [&](Socket kind, const Endpoint& to, int type, int protocol) {
    Shared<std::optional<Endpoint>> out;
    CHECK(lab.as_client([&] {
      const UniqueFd socket = new_socket(kind, type, protocol);
      if (socket && connect_socket(socket.get(), kind, to) == 0) *out = peer_of(socket.get());
      return true;
    }));
    return *out;
  };
  CHECK(peer(Socket::v4, v4, SOCK_DGRAM, 0) == v4);
  CHECK(peer(Socket::v6, v6, SOCK_DGRAM, 0) == v6);
  CHECK(peer(Socket::mapped, v4, SOCK_DGRAM, 0) == v4);
  CHECK(peer(Socket::v4, backend_v4(501), SOCK_DGRAM, 0) == backend_v4(501));
  CHECK(peer(Socket::v6, backend_v6(501), SOCK_DGRAM, 0) == backend_v6(501));
  // A raw socket's port is its protocol.
  const auto raw = peer(Socket::v4, v4, SOCK_RAW, IPPROTO_ICMP);
  REQUIRE(raw);
  CHECK(raw->address == v4.address);
}

TEST_CASE("a connect that does not block arrives at a backend") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service service = dual_stack(4);
  put(table, service);
  CHECK(lab.as_client([&] {
    for (int i = 0; i < 100; ++i) {
      const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM | SOCK_NONBLOCK, 0);
      const int begun = connect_socket(socket.get(), Socket::v4, kV4);
      if (begun != 0 && begun != EINPROGRESS) return false;
      pollfd writable{socket.get(), POLLOUT, 0};
      int error = -1;
      socklen_t size = sizeof error;
      if (::poll(&writable, 1, 10'000) != 1 || ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 ||
          error != 0)
        return false;
      const auto peer = peer_of(socket.get());
      if (!is_backend(service, peer)) return false;
      // The second call asks for the outcome of the first: it must not choose again.
      if (connect_socket(socket.get(), Socket::v4, kV4) != 0 || peer_of(socket.get()) != peer) return false;
      if (connect_socket(socket.get(), Socket::v4, kV4) != EISCONN) return false;
    }
    return true;
  }));
}

TEST_CASE("multipath TCP arrives at a backend") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service service = dual_stack(4);
  put(table, service);
  if (!new_socket(Socket::v4, SOCK_STREAM, kMptcp)) {
    WARN_MESSAGE(false, "this kernel has no MPTCP (CONFIG_MPTCP, net.mptcp.enabled): nothing to try");
    return;
  }
  CHECK(lab.as_client([&] {
    for (const auto& [kind, to] : {std::pair{Socket::v4, kV4}, {Socket::v6, kV6}, {Socket::mapped, kV4}})
      if (!is_backend(service, connect_once(kind, to, lab.listener_fd(), kMptcp).peer)) return false;
    return true;
  }));
}

TEST_CASE("TCP fast open arrives at a backend, with its data") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service service = dual_stack(4);
  put(table, service);
  CHECK(lab.as_client([&] {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(kV4.port);
    to.sin_addr.s_addr = htonl(0x0a600001);  // kV4
    for (int i = 0; i < 20; ++i) {
      const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, 0);
      if (::sendto(socket.get(), "early", 5, MSG_FASTOPEN, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 5)
        return false;
      if (!is_backend(service, peer_of(socket.get()))) return false;
      const UniqueFd server(::accept4(lab.listener_fd(), nullptr, nullptr, SOCK_CLOEXEC));
      char got[6] = {};
      if (!server || ::recv(server.get(), got, 5, MSG_WAITALL) != 5 || std::string(got) != "early") return false;
    }
    return true;
  }));
}

TEST_CASE("a backend may have a frontend's address: the choice is made once") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, {"self", {{backend_v4(7)}}, {backend_v4(7)}});
  put(table, {"chain", {{kV4}}, {backend_v4(7)}});
  CHECK(lab.as_client([&] {
    return connect_once(Socket::v4, backend_v4(7), lab.listener_fd()).peer == backend_v4(7) &&
           connect_once(Socket::v4, kV4, lab.listener_fd()).peer == backend_v4(7);
  }));
}
