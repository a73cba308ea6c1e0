// Changes at full speed while clients connect at full speed: not one connect may fail or arrive where it should not.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <random>

#include "churn.hpp"
#include "instance.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr std::uint32_t kConnects = 300'000;

void replace_all(ServiceTable& table, ChurnCounters& counters, std::uint32_t version,
                 Protocols protocols = Protocols::tcp) {
  const std::string why = replace(table, counters, version, protocols);
  REQUIRE_MESSAGE(why.empty(), why);
}

pid_t start_connecting(const ServiceLab& lab, ChurnCounters& counters) {
  return start_churn_client(lab, counters, ChurnWork::tcp_connect, 0xffffffff);
}

bool is_one_of(const Service& service, std::uint32_t first, std::uint32_t last) {
  for (std::uint32_t version = first; version <= last; ++version)
    if (service == churned(version)) return true;
  return false;
}

void check_flawless(const ChurnCounters& counters) {
  CHECK(counters.failed == 0);
  CHECK(counters.misled == 0);
  CHECK(counters.last_error == 0);
  MESSAGE(counters.tcp_connects.load(), " connects by TCP and ", counters.udp_connects.load(), " by UDP, ",
          counters.answers.load(), " answers and ", counters.closed.load(), " closed sockets during ",
          counters.finished.load(), " replacements");
}

// Replaces all backends until the clients that count are done.
void churn_until_done(const ServiceLab& lab, ChurnCounters& counters, std::uint32_t clients, Protocols protocols) {
  auto table = lab.open_table();
  std::uint32_t version = 0;
  while (counters.clients_done < clients && version + 1 < kVersions) {
    replace_all(table, counters, ++version, protocols);
    if (version % 4 == 0) put(table, neighbours(version / 4));
  }
  CHECK(version >= kSetSize);  // every size of set was in force
}

}  // namespace

TEST_CASE("no connect fails or goes astray while all backends are replaced at full speed") {
  DatapathOptions options = datapath_options();
  options.max_services = 48;  // 96 entries in 128 buckets
  ServiceLab lab(options);
  auto table = lab.open_table();
  put(table, neighbours(0));
  put(table, churned(0));
  Shared<ChurnCounters> counters;
  std::array<pid_t, 2> clients{};
  for (pid_t& client : clients)
    client = start_churn_client(lab, *counters, ChurnWork::tcp_connect, kConnects / 4 / clients.size());
  churn_until_done(lab, *counters, clients.size(), Protocols::tcp);
  for (const pid_t client : clients) CHECK(wait_for(client) == 0);
  check_flawless(*counters);
  CHECK(counters->tcp_connects == kConnects / 4);
}

TEST_CASE("nor does one of UDP, nor a datagram, and sockets are closed only with their backends") {
  DatapathOptions options = datapath_options();
  options.max_services = 48;
  ServiceLab lab(options);
  DatagramServer server;
  auto table = lab.open_table();
  put(table, neighbours(0));
  put(table, churned(0, Protocols::tcp_and_udp));
  Shared<ChurnCounters> counters;
  const std::array clients{start_churn_client(lab, *counters, ChurnWork::tcp_connect, kConnects / 8),
                           start_churn_client(lab, *counters, ChurnWork::udp_connect, kConnects / 2),
                           start_churn_client(lab, *counters, ChurnWork::udp_talk, kConnects / 8),
                           start_churn_client(lab, *counters, ChurnWork::udp_ask, 30'000)};
  churn_until_done(lab, *counters, clients.size(), Protocols::tcp_and_udp);
  for (const pid_t client : clients) CHECK(wait_for(client) == 0);
  check_flawless(*counters);
  CHECK(counters->tcp_connects == kConnects / 8);
  CHECK(counters->udp_connects == kConnects * 5 / 8);
  CHECK(counters->answers > 30'000);
}

TEST_CASE("two processes that write at once are serialised, and no connect notices") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, churned(0));
  Shared<ChurnCounters> counters;
  const pid_t client = start_connecting(lab, *counters);
  // One replaces the set; both write services of their own and take turns at one that they share.
  const auto writer = [&](const std::string& name, bool churns) {
    return lab.start_client([&lab, &counters, name, churns] {
      auto mine = ServiceTable::open(lab.datapath());
      if (!mine) return false;
      for (std::uint32_t i = 1; i <= 100; ++i) {
        if (churns) replace_all(*mine, *counters, i);
        const std::uint32_t address = churns ? 1 : 2;
        Service own{name,
                    {{{IpAddress::v4(10, 98, 0, static_cast<std::uint8_t>(address)), 80}}},
                    backends_v4(i * 16, 1 + i % 16)};
        Service shared{"shared", {{endpoint("10.98.0.3:80")}}, backends_v4(i * 16, address)};
        if (!mine->upsert(own) || !mine->upsert(shared)) return false;
        if (i % 10 == 0 && !mine->remove(name)) return false;
      }
      return true;
    });
  };
  const pid_t one = writer("one", true);
  const pid_t two = writer("two", false);
  CHECK(wait_for(one) == 0);
  CHECK(wait_for(two) == 0);
  counters->stop = true;
  CHECK(wait_for(client) == 0);
  check_flawless(*counters);
  CHECK(counters->connects() > 0);

  auto services = table.list();
  REQUIRE(services);
  REQUIRE(services->size() == 2);  // each removed its own at the end
  CHECK((*services)[0].backends.size() == churned(100).backends.size());
  CHECK((*services)[1].name == "shared");
  const std::size_t last = (*services)[1].backends.size();  // the last writer's, whole
  CHECK((*services)[1].backends == backends_v4(1600, static_cast<std::uint32_t>(last)));
  CHECK(lab.entries("frontends") == churned(0).frontends.size() + 1);
}

TEST_CASE("writers are killed at random moments, and no connect notices") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, churned(0));
  Shared<ChurnCounters> counters;
  const pid_t client = start_connecting(lab, *counters);
  std::mt19937 random(11);
  auto netns = Netns::current();
  REQUIRE(netns);
  for (int round = 0; round < 200; ++round) {
    const pid_t writer = start_in(*netns, false, [&] {
      auto mine = ServiceTable::open(lab.datapath());
      if (!mine) return false;
      // `finished` lags behind after a kill: what was begun may be in force, and what was in force before may still be.
      for (;;) replace_all(*mine, *counters, counters->started + 1);
    });
    ::usleep(static_cast<useconds_t>(random() % 4000));
    ::kill(writer, SIGKILL);
    CHECK(wait_for(writer) == 128 + SIGKILL);
    if (round % 4 == 0) {
      auto services = table.list();
      REQUIRE(services);
      REQUIRE(services->size() == 1);
      CHECK(is_one_of((*services)[0], counters->finished, counters->started));
    }
  }
  counters->stop = true;
  CHECK(wait_for(client) == 0);
  check_flawless(*counters);
  put(table, churned(0));
  put(table, {"other", {{endpoint("10.98.0.9:80")}}, {backend_v4(5)}});
  CHECK(lab.entries("frontends") == churned(0).frontends.size() + 1);
}
