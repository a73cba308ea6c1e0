// UDP and services: connected and not, answers under the right name, and conversations that stay where they are.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>

#include "datagrams.hpp"
#include "instance.hpp"
#include "patu_maps.h"

using namespace patu;
using namespace patu::test;

namespace {

const Endpoint kV4 = endpoint("10.96.0.10:53");
const Endpoint kV6 = endpoint("[fd00:96::a]:53");

struct Kind {
  Socket socket;
  Endpoint frontend;
};
const Kind kKinds[] = {{Socket::v4, kV4}, {Socket::v6, kV6}, {Socket::mapped, kV4}};

Service dns(std::uint32_t first, std::uint32_t backends, const Endpoint& v4 = kV4) {
  Service service{"kube-system/dns:" + std::to_string(v4.port) + v4.to_string(), {{v4, Protocol::udp}}, {}};
  if (v4 == kV4) service.frontends.push_back({kV6, Protocol::udp});
  for (std::uint32_t i = first; i < first + backends; ++i) {
    service.backends.push_back(backend_v4(i));
    service.backends.push_back(backend_v6(i));
  }
  return service;
}

bool has(const Service& service, const Endpoint& backend) {
  return std::find_if(service.backends.begin(), service.backends.end(),
                      [&](const Backend& one) { return one.endpoint == backend; }) != service.backends.end();
}

UniqueFd datagram_socket(Socket kind) { return new_socket(kind, SOCK_DGRAM, 0); }

struct Lab : ServiceLab {
  Lab() : ServiceLab(datapath_options(), PeerNames::as_shipped) {}
  DatagramServer server;
  ServiceTable table = open_table();
  Shared<std::atomic<int>> step;

  void reach(int wanted) {
    for (int i = 0; i < 5000 && *step < wanted; ++i) ::usleep(1000);
    REQUIRE(*step == wanted);
  }
  void await(int wanted) {  // in the client
    while (*step < wanted) ::usleep(200);
  }
};

}  // namespace

TEST_CASE("a datagram to a frontend reaches a backend, and the answer comes from the frontend") {
  Lab lab;
  const Service service = dns(1, 4);
  put(lab.table, service);
  for (const Kind& kind : kKinds) {
    CHECK(lab.as_client([&] {
      for (int i = 0; i < 50; ++i) {
        const UniqueFd socket = datagram_socket(kind.socket);
        const Answer answer = ask(socket.get(), kind.socket, kind.frontend);
        if (answer.error != 0 || answer.from != kind.frontend || !has(service, answer.backend)) return false;
        if (answer.backend.address.is_v4() != kind.frontend.address.is_v4()) return false;
      }
      return true;
    }));
  }
}

TEST_CASE("a connected UDP socket talks to one backend and believes to talk to the frontend") {
  Lab lab;
  const Service service = dns(1, 4);
  put(lab.table, service);
  for (const Kind& kind : kKinds) {
    CHECK(lab.as_client([&] {
      const UniqueFd socket = datagram_socket(kind.socket);
      if (connect_socket(socket.get(), kind.socket, kind.frontend) != 0) return false;
      if (peer_of(socket.get()) != kind.frontend) return false;
      std::set<Endpoint> met;
      for (int i = 0; i < 20; ++i) {
        const Answer answer = ask_connected(socket.get());
        if (answer.error != 0 || answer.from != kind.frontend || !has(service, answer.backend)) return false;
        met.insert(answer.backend);
      }
      return met.size() == 1;
    }));
  }
}

TEST_CASE("getpeername tells the frontend of TCP connections too") {
  ServiceLab lab(datapath_options(), PeerNames::as_shipped);
  auto table = lab.open_table();
  put(table, {"web", {{endpoint("10.96.0.1:80")}, {endpoint("[fd00:96::1]:80")}}, {backend_v4(1), backend_v6(1)}});
  CHECK(lab.as_client([&] {
    for (const Kind& kind : {Kind{Socket::v4, endpoint("10.96.0.1:80")}, Kind{Socket::v6, endpoint("[fd00:96::1]:80")},
                             Kind{Socket::mapped, endpoint("10.96.0.1:80")}}) {
      const Connected one = connect_once(kind.socket, kind.frontend, lab.listener_fd());
      if (one.error != 0 || one.peer != kind.frontend) return false;
      // What was connected to directly keeps its name.
      const Endpoint direct = kind.socket == Socket::v6 ? backend_v6(1) : backend_v4(1);
      if (connect_once(kind.socket, direct, lab.listener_fd()).peer != direct) return false;
    }
    return true;
  }));
}

TEST_CASE("an unconnected socket stays with its backend through every change that keeps it, and moves when it goes") {
  Lab lab;
  put(lab.table, dns(1, 16));
  const pid_t client = lab.start_client([&] {
    for (const Kind& kind : kKinds) {
      const UniqueFd socket = datagram_socket(kind.socket);
      const UniqueFd connected = datagram_socket(kind.socket);
      if (connect_socket(connected.get(), kind.socket, kind.frontend) != 0) return false;
      const Endpoint first = ask(socket.get(), kind.socket, kind.frontend).backend;
      for (int i = 0; i < 20; ++i)
        if (ask(socket.get(), kind.socket, kind.frontend).backend != first) return false;
      ++*lab.step;  // the set grows, changes its order and its place
      lab.await(*lab.step + 1);
      for (int i = 0; i < 20; ++i)
        if (ask(socket.get(), kind.socket, kind.frontend).backend != first) return false;
      // A connect of the same socket to the same service, too.
      const Endpoint before = ask_connected(connected.get()).backend;
      for (int i = 0; i < 5; ++i)
        if (connect_socket(connected.get(), kind.socket, kind.frontend) != 0 ||
            ask_connected(connected.get()).backend != before)
          return false;
      ++*lab.step;  // everything is exchanged
      lab.await(*lab.step + 1);
      const Answer moved = ask(socket.get(), kind.socket, kind.frontend);
      if (moved.error != 0 || moved.backend == first || moved.from != kind.frontend) return false;
      for (int i = 0; i < 20; ++i)
        if (ask(socket.get(), kind.socket, kind.frontend).backend != moved.backend) return false;
      ++*lab.step;
      lab.await(*lab.step + 1);
    }
    return true;
  });
  int step = 0;
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    lab.reach(++step);
    Service more = dns(1, 16);
    for (std::uint32_t n = 500; n < 540; ++n)
      more.backends.insert(more.backends.begin(), {backend_v4(n), backend_v6(n)});
    put(lab.table, more);
    Service weighted = more;
    for (Backend& backend : weighted.backends) backend.weight = 3;
    weighted.backends.push_back(backend_v4(0));
    put(lab.table, weighted);
    *lab.step = ++step;
    lab.reach(++step);
    put(lab.table, dns(1000, 16));
    *lab.step = ++step;
    lab.reach(++step);
    put(lab.table, dns(1, 16));
    *lab.step = ++step;
  }
  CHECK(wait_for(client) == 0);
}

TEST_CASE("answers that come late, after the backend was taken out, still come from the frontend") {
  Lab lab;
  put(lab.table, dns(1, 1));
  const pid_t client = lab.start_client([&] {
    const UniqueFd socket = datagram_socket(Socket::v4);
    if (send_datagram(socket.get(), Socket::v4, kV4) != 0) return false;
    *lab.step = 1;
    lab.await(2);
    if (send_datagram(socket.get(), Socket::v4, kV4) != 0) return false;
    const Answer late = receive_datagram(socket.get());
    const Answer current = receive_datagram(socket.get());
    return late.from == kV4 && late.backend == backend_v4(1) && current.from == kV4 && current.backend == backend_v4(2);
  });
  lab.reach(1);
  put(lab.table, dns(2, 1));
  *lab.step = 2;
  CHECK(wait_for(client) == 0);
}

TEST_CASE("one socket talks to 32 services at once, and every answer has the right name") {
  Lab lab;
  constexpr std::uint16_t kServices = PATU_DATAGRAMS + PATU_MORE_DATAGRAMS;
  std::vector<Endpoint> frontends;
  for (std::uint16_t i = 0; i < kServices; ++i) {
    frontends.push_back({IpAddress::v4(10, 96, 1, static_cast<std::uint8_t>(i)), 53});
    Service service = dns(100 + 10u * i, 1, frontends.back());
    put(lab.table, service);
  }
  CHECK(lab.as_client([&] {
    const UniqueFd socket = datagram_socket(Socket::v4);
    for (int round = 0; round < 3; ++round) {
      for (const Endpoint& frontend : frontends)
        if (send_datagram(socket.get(), Socket::v4, frontend) != 0) return false;
      for (std::uint16_t i = 0; i < kServices; ++i) {
        const Answer answer = receive_datagram(socket.get());
        const auto at = std::find(frontends.begin(), frontends.end(), answer.from);
        if (answer.error != 0 || at == frontends.end()) return false;
        if (answer.backend != backend_v4(100 + 10u * static_cast<std::uint32_t>(at - frontends.begin()))) return false;
      }
    }
    return true;
  }));
}

TEST_CASE("a socket that has talked to more services than it can remember goes on, and forgets the first") {
  Lab lab;
  constexpr std::uint32_t kServices = PATU_DATAGRAMS + PATU_MORE_DATAGRAMS + 8;
  std::vector<Endpoint> frontends;
  for (std::uint32_t i = 0; i < kServices; ++i) {
    frontends.push_back({IpAddress::v4(10, 96, 2, static_cast<std::uint8_t>(i)), 53});
    put(lab.table, dns(100 + 10 * i, 1, frontends.back()));
  }
  CHECK(lab.as_client([&] {
    const UniqueFd socket = datagram_socket(Socket::v4);
    for (int round = 0; round < 3; ++round)
      for (const Endpoint& frontend : frontends)
        if (ask(socket.get(), Socket::v4, frontend).from != frontend) return false;
    return true;
  }));
}

TEST_CASE("after connect(AF_UNSPEC) and a new connect to an ordinary address nothing is rewritten") {
  Lab lab;
  put(lab.table, dns(1, 1));
  put(lab.table, {"web", {{endpoint("10.96.0.1:80")}}, {backend_v4(1)}});
  CHECK(lab.as_client([&] {
    sockaddr nobody{};
    nobody.sa_family = AF_UNSPEC;
    const UniqueFd udp = datagram_socket(Socket::v4);
    for (const Endpoint& ordinary : {backend_v4(7), backend_v4(1)}) {  // another host, and the backend itself
      if (connect_socket(udp.get(), Socket::v4, kV4) != 0 || ask_connected(udp.get()).from != kV4) return false;
      if (::connect(udp.get(), &nobody, sizeof nobody) != 0) return false;
      if (connect_socket(udp.get(), Socket::v4, ordinary) != 0 || peer_of(udp.get()) != ordinary) return false;
      if (ask_connected(udp.get()).from != ordinary) return false;
      if (::connect(udp.get(), &nobody, sizeof nobody) != 0) return false;
    }
    const UniqueFd tcp = new_socket(Socket::v4, SOCK_STREAM, 0);
    if (connect_socket(tcp.get(), Socket::v4, endpoint("10.96.0.1:80")) != 0) return false;
    if (peer_of(tcp.get()) != endpoint("10.96.0.1:80")) return false;
    if (::connect(tcp.get(), &nobody, sizeof nobody) != 0) return false;
    return connect_socket(tcp.get(), Socket::v4, backend_v4(1)) == 0 && peer_of(tcp.get()) == backend_v4(1);
  }));
}

TEST_CASE("a socket that sends to a backend by its own address is answered by that address") {
  Lab lab;
  put(lab.table, dns(1, 1));
  for (const Kind& kind : kKinds) {
    CHECK(lab.as_client([&] {
      const Endpoint backend = kind.frontend.address.is_v4() ? backend_v4(1) : backend_v6(1);
      const UniqueFd socket = datagram_socket(kind.socket);
      for (int i = 0; i < 3; ++i) {
        if (ask(socket.get(), kind.socket, kind.frontend).from != kind.frontend) return false;
        if (ask(socket.get(), kind.socket, backend).from != backend) return false;
      }
      return true;
    }));
  }
}

TEST_CASE("sockets spread over the backends, each datagram of a new socket by itself") {
  Lab lab;
  put(lab.table, dns(1, 8));
  CHECK(lab.as_client([&] {
    std::set<Endpoint> met;
    for (int i = 0; i < 200; ++i) {
      const UniqueFd socket = datagram_socket(Socket::v4);
      met.insert(ask(socket.get(), Socket::v4, kV4).backend);
    }
    return met.size() == 8;  // the odds against it are 8 * (7/8)^200
  }));
}

TEST_CASE("without a backend a datagram is refused at once, and so is every other port of a cluster address") {
  Lab lab;
  put(lab.table, {"empty", {{kV4, Protocol::udp}, {kV6, Protocol::udp}}, {}});
  CHECK(lab.as_client([&] {
    for (const Kind& kind : kKinds) {
      const UniqueFd socket = datagram_socket(kind.socket);
      if (send_datagram(socket.get(), kind.socket, kind.frontend) != lab.refusal()) return false;
      if (connect_socket(socket.get(), kind.socket, kind.frontend) != lab.refusal()) return false;
      const Endpoint other{kind.frontend.address, 54};
      if (send_datagram(socket.get(), kind.socket, other) != lab.refusal()) return false;
      const UniqueFd tcp = new_socket(kind.socket, SOCK_STREAM, 0);
      if (connect_socket(tcp.get(), kind.socket, kind.frontend) != lab.refusal()) return false;
      // UDP-Lite is none of the protocols that a service can have: refused, not let through untranslated.
      const UniqueFd lite = new_socket(kind.socket, SOCK_DGRAM, IPPROTO_UDPLITE);
      if (lite && send_datagram(lite.get(), kind.socket, kind.frontend) != lab.refusal()) return false;
    }
    return true;
  }));
}

TEST_CASE("TCP and UDP on one address and port are two frontends") {
  Lab lab;
  put(lab.table, {"udp", {{kV4, Protocol::udp}}, {backend_v4(1)}});
  put(lab.table, {"tcp", {{kV4, Protocol::tcp}}, {backend_v4(2)}});
  CHECK(lab.as_client([&] {
    const UniqueFd udp = datagram_socket(Socket::v4);
    if (ask(udp.get(), Socket::v4, kV4).backend != backend_v4(1)) return false;
    const UniqueFd tcp = new_socket(Socket::v4, SOCK_STREAM, 0);
    if (connect_socket(tcp.get(), Socket::v4, kV4) != 0) return false;
    const UniqueFd other_end(::accept4(lab.listener_fd(), nullptr, nullptr, SOCK_CLOEXEC));
    return local_of(other_end.get()) == backend_v4(2);
  }));
}
