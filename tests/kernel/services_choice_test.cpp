// Which backend a socket gets: spread, weights, states, locality, and the affinity of pods.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <set>

#include "instance.hpp"
#include "raw_map.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

const Endpoint kV4 = endpoint("10.96.0.1:80");
const Endpoint kV6 = endpoint("[fd00:96::1]:80");
constexpr std::size_t kMost = 64;

using Affinity = RawMap<patu_affinity_key, patu_affinity>;
using Counters = RawMap<std::uint32_t, patu_counters>;
using Tally = std::array<std::uint32_t, kMost>;

Service udp_service(std::vector<Backend> backends) {
  return {"choice", {{kV4, Protocol::udp}, {kV6, Protocol::udp}}, std::move(backends)};
}

// A namespace in which every backend's address exists, as in the lab's own.
Netns new_pod() {
  auto pod = Netns::create();
  REQUIRE(pod);
  REQUIRE(output_in(*pod,
                    "(ip link set lo up && ip route add local 10.128.0.0/10 dev lo && "
                    "ip -6 route add local fd00:64::/32 dev lo) 2>&1") == "");
  return std::move(*pod);
}

// Whom a new UDP socket is connected to; nothing is sent. Backend number n of either family is number n.
std::uint32_t chosen(const Endpoint& frontend) {
  const Socket kind = kind_for(frontend);
  const UniqueFd socket = new_socket(kind, SOCK_DGRAM, 0);
  if (connect_socket(socket.get(), kind, frontend) != 0) return kMost;
  const auto peer = peer_of(socket.get());
  return peer ? peer->address.bytes()[15] : kMost;
}

Tally tally(const ServiceLab& lab, std::uint32_t sockets, const Endpoint& frontend) {
  Shared<Tally> out;
  CHECK(lab.as_client([&] {
    for (std::uint32_t i = 0; i < sockets; ++i) {
      const std::uint32_t at = chosen(frontend);
      if (at >= kMost) return false;
      ++(*out)[at];
    }
    return true;
  }));
  return *out;
}

// Pearson's statistic against the weights of backends 1, 2, …
double chi_squared(const Tally& tally, const std::vector<double>& weights) {
  double all = 0;
  double sum = 0;
  for (const double weight : weights) all += weight;
  std::uint32_t sockets = 0;
  for (const std::uint32_t one : tally) sockets += one;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double expected = sockets * weights[i] / all;
    const double off = tally[i + 1] - expected;
    sum += off * off / expected;
  }
  return sum;
}

std::uint32_t in_pod(const Netns& pod, const Endpoint& frontend = kV4) {
  Shared<std::uint32_t> out;
  CHECK(run_in(pod, true, [&] {
          *out = chosen(frontend);
          return true;
        }) == 0);
  return *out;
}

}  // namespace

TEST_CASE("the default spread over 16 backends passes a chi-squared test, for TCP and UDP and both families") {
  ServiceLab lab;
  auto table = lab.open_table();
  std::vector<Backend> backends;
  for (std::uint32_t i = 1; i <= 16; ++i) backends.insert(backends.end(), {backend_v4(i), backend_v6(i)});
  put(table, udp_service(backends));
  put(table, {"tcp", {{kV4}}, backends});
  const std::vector<double> even(16, 1.0);
  // Of 15 degrees of freedom; a fair choice exceeds it once in a million runs.
  constexpr double kLimit = 56.5;
  for (const Endpoint& frontend : {kV4, kV6}) CHECK(chi_squared(tally(lab, 32'000, frontend), even) < kLimit);
  Shared<Tally> tcp;
  CHECK(lab.as_client([&] {
    for (int i = 0; i < 16'000; ++i) {
      const Connected one = connect_once(Socket::v4, kV4, lab.listener_fd());
      if (!one.peer) return false;
      ++(*tcp)[one.peer->address.bytes()[15]];
    }
    return true;
  }));
  CHECK(chi_squared(*tcp, even) < kLimit);
}

TEST_CASE("weights are shares") {
  ServiceLab lab;
  auto table = lab.open_table();
  const std::vector<double> weights{1, 2, 3, 50, 256, 1, 20, 7};
  std::vector<Backend> backends;
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    backends.emplace_back(backend_v4(i + 1));
    backends.back().weight = static_cast<std::uint16_t>(weights[i]);
  }
  put(table, udp_service(backends));
  CHECK(chi_squared(tally(lab, 60'000, kV4), weights) < 40.5);  // of 7 degrees of freedom, once in a million
}

TEST_CASE("terminating backends are chosen only while none is active, those in maintenance never") {
  ServiceLab lab;
  auto table = lab.open_table();
  const auto met = [&](const Endpoint& frontend) {
    const Tally counts = tally(lab, 400, frontend);
    std::set<std::size_t> out;
    for (std::size_t i = 0; i < kMost; ++i)
      if (counts[i] != 0) out.insert(i);
    return out;
  };
  using Set = std::set<std::size_t>;
  std::vector<Backend> backends{{backend_v4(1)},
                                {backend_v4(2), BackendState::terminating},
                                {backend_v4(3), BackendState::maintenance},
                                {backend_v4(4)},
                                {backend_v6(1), BackendState::terminating},
                                {backend_v6(2), BackendState::maintenance},
                                {backend_v6(3), BackendState::terminating}};
  put(table, udp_service(backends));
  CHECK(met(kV4) == Set{1, 4});
  CHECK(met(kV6) == Set{1, 3});  // of this family none is active
  backends[0].state = backends[3].state = BackendState::terminating;
  put(table, udp_service(backends));
  CHECK(met(kV4) == Set{1, 2, 4});
  for (Backend& backend : backends) backend.state = BackendState::maintenance;
  put(table, udp_service(backends));
  CHECK(lab.as_client([&] {
    const UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
    return connect_socket(socket.get(), Socket::v4, kV4) == lab.refusal();
  }));
}

TEST_CASE("with the local policy a cluster address leads to this node's backends, other addresses to all") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Endpoint announced = endpoint("203.0.113.1:80");
  Service service = udp_service({backend_v4(1), backend_v4(2), backend_v4(3), backend_v6(1)});
  service.frontends.push_back({announced, Protocol::udp, FrontendKind::load_balancer});
  service.backends[1].local = true;
  service.internal_policy = TrafficPolicy::local;
  put(table, service);
  const Tally local = tally(lab, 300, kV4);
  CHECK(local[2] == 300);
  const Tally all = tally(lab, 300, announced);
  CHECK((all[1] > 0 && all[2] > 0 && all[3] > 0));
  CHECK(lab.as_client([&] {
    const UniqueFd socket = new_socket(Socket::v6, SOCK_DGRAM, 0);
    return connect_socket(socket.get(), Socket::v6, kV6) == lab.refusal();  // none of its family is here
  }));
  service.internal_policy = TrafficPolicy::cluster;
  put(table, service);
  CHECK(tally(lab, 300, kV4)[1] > 0);
}

TEST_CASE("a pod stays with its backend, other pods have their own, and families are clients of their own") {
  ServiceLab lab;
  auto table = lab.open_table();
  std::vector<Backend> backends;
  for (std::uint32_t i = 1; i <= 16; ++i) backends.insert(backends.end(), {backend_v4(i), backend_v6(i)});
  Service service = udp_service(backends);
  service.affinity_timeout = std::chrono::seconds(10800);
  put(table, service);
  std::vector<Netns> pods;
  std::set<std::uint32_t> met;
  for (int i = 0; i < 8; ++i) {
    pods.push_back(new_pod());
    const std::uint32_t first = in_pod(pods.back());
    const std::uint32_t first_v6 = in_pod(pods.back(), kV6);
    for (int again = 0; again < 5; ++again) {
      CHECK(in_pod(pods.back()) == first);
      CHECK(in_pod(pods.back(), kV6) == first_v6);
    }
    met.insert(first);
  }
  CHECK(met.size() > 1);  // 8 pods that all chose one of 16: once in 2^28
  CHECK(Affinity("affinity").size() == 16);
  CHECK(Counters("counters").all().at(0).second.affinity_hits == 8 * 10);
}

TEST_CASE("affinity ends when it has timed out, and when the backend cannot be chosen any more") {
  ServiceLab lab;
  auto table = lab.open_table();
  std::vector<Backend> backends;
  for (std::uint32_t i = 1; i <= 60; ++i) backends.emplace_back(backend_v4(i));
  Service service = udp_service(backends);
  service.affinity_timeout = std::chrono::seconds(100);
  put(table, service);
  const Netns pod = new_pod();
  const std::uint32_t first = in_pod(pod);
  CHECK(in_pod(pod) == first);
  // As if it had not asked for longer than that.
  Affinity affinity("affinity");
  std::set<std::uint32_t> met;
  for (int i = 0; i < 5; ++i) {
    auto [key, entry] = affinity.all().at(0);
    entry.last_ns -= 101'000'000'000ull;
    affinity.put(key, entry);
    met.insert(in_pod(pod));
  }
  CHECK(met.size() > 1);  // five times the same of 60: once in 13 million
  const std::uint32_t now = in_pod(pod);
  // Changes that keep the backend keep the affinity.
  std::reverse(service.backends.begin(), service.backends.end());
  service.backends.emplace_back(backend_v4(61));
  put(table, service);
  CHECK(in_pod(pod) == now);
  // And those that do not, end it.
  for (Backend& backend : service.backends)
    if (backend.endpoint == backend_v4(now)) backend.state = BackendState::terminating;
  put(table, service);
  const std::uint32_t next = in_pod(pod);
  CHECK(next != now);
  CHECK(in_pod(pod) == next);
}

TEST_CASE("all threads of a pod that ask at once for the first time get the same backend") {
  ServiceLab lab;
  auto table = lab.open_table();
  constexpr int kClients = 6;
  for (int round = 0; round < 20; ++round) {
    std::vector<Backend> backends;
    for (std::uint32_t i = 1; i <= 60; ++i) backends.emplace_back(backend_v4(i));
    Service service{"round" + std::to_string(round),
                    {{Endpoint{IpAddress::v4(10, 96, 7, static_cast<std::uint8_t>(round)), 80}, Protocol::udp}},
                    backends};
    service.affinity_timeout = std::chrono::seconds(100);
    put(table, service);
    Shared<std::array<std::uint32_t, kClients>> chose;
    Shared<std::atomic<int>> ready;
    std::vector<pid_t> clients;
    for (std::size_t i = 0; i < kClients; ++i)
      clients.push_back(lab.start_client([&, i] {
        for (++*ready; *ready < kClients;) {
        }
        (*chose)[i] = chosen(service.frontends[0].endpoint);
        return true;
      }));
    for (const pid_t client : clients) CHECK(wait_for(client) == 0);
    CHECK(std::set<std::uint32_t>(chose->begin(), chose->end()).size() == 1);
  }
}
