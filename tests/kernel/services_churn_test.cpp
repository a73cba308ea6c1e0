// Changes at full speed while clients connect at full speed: not one connect may fail or arrive where it should not.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <random>

#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr std::uint32_t kSetSize = 16;
constexpr std::uint32_t kVersions = 1u << 18;  // that backends' numbers can tell apart
constexpr std::uint32_t kConnects = 300'000;
constexpr std::uint32_t kClients = 2;

const std::array kFrontends{endpoint("10.96.0.1:80"), endpoint("10.96.0.2:80"), endpoint("[fd00:96::1]:80"),
                            endpoint("[fd00:96::2]:80")};

std::string text(const Result<>& result) { return result ? "success" : result.error().to_string(); }

void put(ServiceTable& table, const Service& service) {
  const auto done = table.upsert(service);
  REQUIRE_MESSAGE(done, text(done));
}

// Set number v has 1 to 16 backends of either family, and shares none with another.
std::uint32_t size_of_set(std::uint32_t version) { return 1 + version * 7 % kSetSize; }

Service churned(std::uint32_t version) {
  Service service{"churned", {}, {}};
  for (const Endpoint& frontend : kFrontends) service.frontends.push_back({frontend});
  for (std::uint32_t i = 0; i < size_of_set(version); ++i)
    service.backends.push_back(backend_v4(version * kSetSize + i));
  for (std::uint32_t i = 0; i < size_of_set(version); ++i)
    service.backends.push_back(backend_v6(version * kSetSize + i));
  return service;
}

// Fills the hash, so that buckets hold several frontends; half of them are exchanged with every call.
Service neighbours(std::uint32_t version) {
  Service service{"neighbours", {}, {backend_v4(version % 1000 + 1, 9), backend_v6(version % 1000 + 1, 9)}};
  for (std::uint32_t i = 0; i < 48; ++i)
    service.frontends.push_back(
        {endpoint("10.97." + std::to_string(i % 2 == 0 ? 0 : version % 2) + "." + std::to_string(i + 1) + ":80")});
  return service;
}

struct Counters {
  std::atomic<std::uint32_t> started{0};  // the last version whose upsert began, and ended
  std::atomic<std::uint32_t> finished{0};
  std::atomic<std::uint32_t> clients_done{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> connects{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> misled{0};
  std::atomic<int> last_error{0};
};

// True if the peer belongs to a set that was in force at some moment between two.
bool was_in_force(const Endpoint& peer, bool v4, std::uint32_t first, std::uint32_t last) {
  if (peer.port != kBackendPort || peer.address.is_v4() != v4) return false;
  const auto& b = peer.address.bytes();
  const std::uint32_t number =
      v4 ? std::uint32_t{b[13] & 0x3fu} << 16 | std::uint32_t{b[14]} << 8 | b[15]
         : std::uint32_t{b[12]} << 24 | std::uint32_t{b[13]} << 16 | std::uint32_t{b[14]} << 8 | b[15];
  const std::uint32_t version = number / kSetSize;
  return version >= first && version <= last && number % kSetSize < size_of_set(version);
}

void connect_and_judge(const ServiceLab& lab, Counters& counters, std::uint32_t i) {
  const Endpoint& to = kFrontends[i % kFrontends.size()];
  const bool v4 = to.address.is_v4();
  const Socket kind = !v4 ? Socket::v6 : i % 8 < 4 ? Socket::v4 : Socket::mapped;
  const std::uint32_t first = counters.finished;
  const Connected one = connect_once(kind, to, lab.listener_fd());
  const std::uint32_t last = counters.started;
  ++counters.connects;
  if (one.error != 0) {
    ++counters.failed;
    counters.last_error = one.error;
  } else if (!one.peer || !was_in_force(*one.peer, v4, first, last)) {
    ++counters.misled;
  }
}

pid_t start_connecting(const ServiceLab& lab, Counters& counters, std::uint32_t connects) {
  return lab.start_client(
      [&lab, &counters, connects] {
        for (std::uint32_t i = 0; i < connects && !counters.stop; ++i) connect_and_judge(lab, counters, i);
        ++counters.clients_done;
        return true;
      },
      300);
}

void replace(ServiceTable& table, Counters& counters, std::uint32_t version) {
  counters.started = version;
  const auto done = table.upsert(churned(version));
  counters.finished = version;
  REQUIRE_MESSAGE(done, text(done));
}

bool is_one_of(const Service& service, std::uint32_t first, std::uint32_t last) {
  for (std::uint32_t version = first; version <= last; ++version)
    if (service == churned(version)) return true;
  return false;
}

void check_flawless(const Counters& counters) {
  CHECK(counters.failed == 0);
  CHECK(counters.misled == 0);
  CHECK(counters.last_error == 0);
  MESSAGE(counters.connects.load(), " connects during ", counters.finished.load(), " replacements");
}

}  // namespace

TEST_CASE("no connect fails or goes astray while all backends are replaced at full speed") {
  DatapathOptions options = datapath_options();
  options.max_services = 48;  // 96 entries in 128 buckets
  ServiceLab lab(options);
  auto table = lab.open_table();
  put(table, neighbours(0));
  put(table, churned(0));
  Shared<Counters> counters;
  std::array<pid_t, kClients> clients{};
  for (pid_t& client : clients) client = start_connecting(lab, *counters, kConnects / kClients);
  std::uint32_t version = 0;
  while (counters->clients_done < kClients && version + 1 < kVersions) {
    replace(table, *counters, ++version);
    if (version % 4 == 0) put(table, neighbours(version / 4));
  }
  for (const pid_t client : clients) CHECK(wait_for(client) == 0);
  check_flawless(*counters);
  CHECK(counters->connects == kConnects);
  CHECK(version >= kSetSize);  // every size of set was in force
}

TEST_CASE("two processes that write at once are serialised, and no connect notices") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, churned(0));
  Shared<Counters> counters;
  const pid_t client = start_connecting(lab, *counters, 0xffffffff);
  // One replaces the set; both write services of their own and take turns at one that they share.
  const auto writer = [&](const std::string& name, bool churns) {
    return lab.start_client([&lab, &counters, name, churns] {
      auto mine = ServiceTable::open(lab.datapath());
      if (!mine) return false;
      for (std::uint32_t i = 1; i <= 100; ++i) {
        if (churns) replace(*mine, *counters, i);
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
  CHECK(counters->connects > 0);

  auto services = table.list();
  REQUIRE(services);
  REQUIRE(services->size() == 2);  // each removed its own at the end
  CHECK((*services)[0].backends.size() == churned(100).backends.size());
  CHECK((*services)[1].name == "shared");
  const std::size_t last = (*services)[1].backends.size();  // the last writer's, whole
  CHECK((*services)[1].backends == backends_v4(1600, static_cast<std::uint32_t>(last)));
  CHECK(lab.entries("frontends") == kFrontends.size() + 1);
}

TEST_CASE("writers are killed at random moments, and no connect notices") {
  ServiceLab lab;
  auto table = lab.open_table();
  put(table, churned(0));
  Shared<Counters> counters;
  const pid_t client = start_connecting(lab, *counters, 0xffffffff);
  std::mt19937 random(11);
  auto netns = Netns::current();
  REQUIRE(netns);
  for (int round = 0; round < 200; ++round) {
    const pid_t writer = start_in(*netns, false, [&] {
      auto mine = ServiceTable::open(lab.datapath());
      if (!mine) return false;
      // `finished` lags behind after a kill: what was begun may be in force, and what was in force before may still be.
      for (;;) replace(*mine, *counters, counters->started + 1);
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
  CHECK(lab.entries("frontends") == kFrontends.size() + 1);
}
