// Clients that keep a socket for long, when the backend behind it goes: through the hooks, from end to end.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "closing_bench.hpp"
#include "instance.hpp"

using namespace patu;
using namespace patu::test;

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

namespace {

constexpr std::uint16_t kDns = 53;

struct Case {
  Socket kind;
  Endpoint frontend;
  std::array<Endpoint, 2> servers;
};

const Case kCases[] = {
    {Socket::v4, endpoint("10.96.0.53:53"), {backend_v4(1, kDns), backend_v4(2, kDns)}},
    {Socket::mapped, endpoint("10.96.0.53:53"), {backend_v4(1, kDns), backend_v4(2, kDns)}},
    {Socket::v6, endpoint("[fd00:96::53]:53"), {backend_v6(1, kDns), backend_v6(2, kDns)}},
};

Service dns(const Case& which, std::vector<Backend> backends) {
  Service service;
  service.name = "kube-system/dns";
  service.frontends = {{which.frontend, Protocol::udp}};
  service.backends = std::move(backends);
  return service;
}

// Both servers, in the namespace that this is called in.
class Servers final {
 public:
  explicit Servers(const Case& which) {
    for (std::size_t i = 0; i < fds_.size(); ++i) {
      fds_[i] = new_socket(kind_for(which.servers[i]), SOCK_DGRAM, 0);
      ok_ = ok_ && fds_[i] && bind_to(fds_[i].get(), which.servers[i]);
    }
  }
  bool ok() const noexcept { return ok_; }

  // Sends a question over the connected socket; returns which server answered it, 0 if none did.
  int ask(int client_fd) const {
    char byte = 'q';
    if (::send(client_fd, &byte, 1, 0) != 1) return 0;
    std::array<pollfd, 2> ready{{{fds_[0].get(), POLLIN, 0}, {fds_[1].get(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), 10'000) != 1) return 0;
    const std::size_t who = ready[0].revents != 0 ? 0 : 1;
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    if (::recvfrom(fds_[who].get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&from), &size) != 1) return 0;
    byte = static_cast<char>('1' + who);
    if (::sendto(fds_[who].get(), &byte, 1, 0, reinterpret_cast<const sockaddr*>(&from), size) != 1) return 0;
    if (::recv(client_fd, &byte, 1, 0) != 1) return 0;
    return byte - '0';
  }

 private:
  static bool bind_to(int fd, const Endpoint& at) {
    const IpAddress::Bytes& bytes = at.address.bytes();
    if (at.address.is_v4()) {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(at.port);
      std::copy_n(bytes.data() + 12, 4, reinterpret_cast<std::uint8_t*>(&address.sin_addr));
      return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    const int on = 1;  // kernel: a local route is enough for IPv4 alone
    if (::setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on) != 0) return false;
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(at.port);
    std::copy(bytes.begin(), bytes.end(), address.sin6_addr.s6_addr);
    return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  std::array<UniqueFd, 2> fds_;
  bool ok_ = true;
};

// As nginx's resolver: one connected socket, kept as long as it works. Returns the errno that ended the wait for an answer.
int resolve_until_told(const Case& which, std::atomic<int>& asked) {
  const Servers servers(which);
  const UniqueFd client = new_socket(which.kind, SOCK_DGRAM, 0);
  if (!servers.ok() || !client || connect_socket(client.get(), which.kind, which.frontend) != 0) return -1;
  if (servers.ask(client.get()) != 1) return -2;
  asked = 1;
  char byte = 0;
  const int told = ::recv(client.get(), &byte, 1, 0) < 0 ? errno : -3;
  if (connect_socket(client.get(), which.kind, which.frontend) != 0) return -4;
  if (servers.ask(client.get()) != 2) return -5;
  return told;
}

template <class Change>
void check_resolver(const ServiceLab& lab, const Netns& netns, const Case& which, Change change) {
  Shared<std::atomic<int>> asked;
  const pid_t client = start_in(
      netns, true, [&] { return resolve_until_told(which, *asked) == ECONNABORTED; }, 30);
  for (int i = 0; i < 10'000 && *asked == 0; ++i) ::poll(nullptr, 0, 1);
  REQUIRE(*asked == 1);
  auto table = lab.open_table();
  change(table);
  CHECK(wait_for(client) == 0);
}

}  // namespace

TEST_CASE("a resolver that keeps its socket is told when the server goes, and its next connect reaches the live one") {
  ServiceLab lab;
  auto node = Netns::current();
  REQUIRE(node);
  const Netns pod = make_pod();
  for (const Case& which : kCases) {
    for (const Netns* netns : {static_cast<const Netns*>(&*node), &pod}) {
      CAPTURE(which.frontend.to_string());
      auto table = lab.open_table();
      put(table, dns(which, {which.servers[0]}));
      check_resolver(lab, *netns, which, [&](ServiceTable& other) { put(other, dns(which, {which.servers[1]})); });
      put(table, dns(which, {which.servers[0]}));
      check_resolver(lab, *netns, which, [&](ServiceTable& other) {
        const auto report = other.sync(std::vector{dns(which, {which.servers[1]})});
        REQUIRE(report);
        CHECK(report->closed.closed == 1);
        CHECK(report->closed.unreachable == 0);
      });
      CHECK(lab.entries("stale") == 0);
    }
  }
}

TEST_CASE("a socket stays open while its backend only ends or rests") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Case& which = kCases[0];
  put(table, dns(which, {which.servers[0]}));
  CHECK(lab.as_client([&] {
    const Servers servers(which);
    const UniqueFd client = new_socket(which.kind, SOCK_DGRAM, 0);
    if (connect_socket(client.get(), which.kind, which.frontend) != 0 || servers.ask(client.get()) != 1) return false;
    for (const BackendState state : {BackendState::terminating, BackendState::maintenance, BackendState::active}) {
      auto mine = ServiceTable::open(lab.datapath());
      if (!mine || !mine->upsert(dns(which, {{which.servers[0], state}, {which.servers[1]}}))) return false;
      if (state_of(client.get()) != State::open || servers.ask(client.get()) != 1) return false;
    }
    return true;
  }));
}

TEST_CASE("with its service, a connected UDP socket is closed; a TCP connection only if the service says so") {
  ServiceLab lab;
  auto table = lab.open_table();
  for (const bool close_tcp : {false, true}) {
    CAPTURE(close_tcp);
    Service web{"web", {{endpoint("10.96.0.1:80")}, {endpoint("10.96.0.1:80"), Protocol::udp}}, {backend_v4(1)}};
    web.close_tcp = close_tcp;
    put(table, web);
    Shared<std::array<State, 2>> states;
    CHECK(lab.as_client([&] {
      const UniqueFd stream = new_socket(Socket::v4, SOCK_STREAM, 0);
      const UniqueFd datagram = new_socket(Socket::v4, SOCK_DGRAM, 0);
      const UniqueFd direct = new_socket(Socket::v4, SOCK_STREAM, 0);
      auto mine = ServiceTable::open(lab.datapath());
      if (!mine || connect_socket(stream.get(), Socket::v4, endpoint("10.96.0.1:80")) != 0 ||
          connect_socket(datagram.get(), Socket::v4, endpoint("10.96.0.1:80")) != 0 ||
          connect_socket(direct.get(), Socket::v4, backend_v4(1)) != 0 || !mine->remove("web"))
        return false;
      *states = {state_of(stream.get()), state_of(datagram.get())};
      return state_of(direct.get()) == State::open;
    }));
    CHECK((*states)[0] == (close_tcp ? State::closed : State::open));
    CHECK((*states)[1] == State::closed);
    CHECK(lab.entries("stale") == 0);
  }
}
