// Events of services: what is told, to whom, and what a reader that was killed leaves to the next.
#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "instance.hpp"
#include "raw_map.hpp"
#include "service_lab.hpp"
#include "service_words.hpp"

using namespace patu;
using namespace patu::test;

namespace {

void check_refusal(const ServiceLab& lab, const char* at) {
  CHECK(lab.as_client(
      [&] { return connect_once(kind_for(endpoint(at)), endpoint(at), lab.listener_fd()).error == lab.refusal(); }));
}

bool is_readable(const ServiceEvents& events) {
  pollfd poll{events.fd(), POLLIN, 0};
  return ::poll(&poll, 1, 0) == 1;
}

}  // namespace

TEST_CASE("an event tells who was refused what, once for many connects of a moment") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  must(table.upsert(service("empty", {cluster("10.96.0.1:80"), cluster("[fd00:96::1]:80")})));
  must(table.upsert(service("also empty", {cluster("10.96.0.2:80")})));
  ServiceEvents events = must(table.events());
  CHECK_FALSE(is_readable(events));
  CHECK(must(events.read()).empty());
  const auto before = std::chrono::steady_clock::now();
  check_refusal(lab, "10.96.0.1:80");
  check_refusal(lab, "10.96.0.1:80");
  check_refusal(lab, "10.96.0.2:80");
  CHECK(is_readable(events));
  const std::vector<ServiceEvent> heard = must(events.read());
  REQUIRE(heard.size() >= 2);
  CHECK(heard[0].kind == ServiceEvent::Kind::no_backend);
  CHECK(heard[0].service == "empty");
  CHECK(heard[0].frontend.endpoint == endpoint("10.96.0.1:80"));
  CHECK(heard[0].frontend.protocol == Protocol::tcp);
  CHECK(heard[0].netns_cookie == must(must(Netns::current()).cookie()));
  CHECK(heard[0].time >= before);
  CHECK(heard[0].time <= std::chrono::steady_clock::now());
  CHECK(heard.back().service == "also empty");
  CHECK_FALSE(is_readable(events));
  CHECK(must(events.read()).empty());
}

TEST_CASE("an event of a service that is gone has no name") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  must(table.upsert(service("empty", {cluster("10.96.0.1:80")})));
  ServiceEvents events = must(table.events());
  check_refusal(lab, "10.96.0.1:80");
  must(table.remove("empty"));
  const std::vector<ServiceEvent> heard = must(events.read());
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].service.empty());
  CHECK(heard[0].frontend.endpoint == endpoint("10.96.0.1:80"));
}

TEST_CASE("only one reads the events at a time, and nothing is told while nobody does") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  must(table.upsert(service("first", {cluster("10.96.0.1:80")})));
  must(table.upsert(service("second", {cluster("10.96.0.2:80")})));
  const std::size_t descriptors = open_descriptors();
  {
    const ServiceEvents events = must(table.events());
    CHECK(raw_table().wants_events == 1);
    auto busy = table.events();
    REQUIRE_FALSE(busy);
    check_error(busy.error(), Errc::busy, "open the events of services: somebody reads the events already");
    CHECK(lab.as_client([&] {
      auto elsewhere = lab.open_table().events();
      return !elsewhere && elsewhere.error().code() == Errc::busy;
    }));
    CHECK(raw_table().wants_events == 1);
  }
  CHECK(raw_table().wants_events == 0);
  CHECK(open_descriptors() == descriptors);
  check_refusal(lab, "10.96.0.1:80");
  ServiceEvents events = must(table.events());
  CHECK(must(events.read()).empty());
  check_refusal(lab, "10.96.0.2:80");
  CHECK(must(events.read()).size() == 1);
}

TEST_CASE("a reader that was killed stands in nobody's way, and what it has not read is not told to the next") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  for (int i = 1; i <= 3; ++i)
    must(table.upsert(
        service("empty-" + std::to_string(i), {cluster(("10.96.0." + std::to_string(i) + ":80").c_str())})));
  Shared<bool> reads;
  const pid_t reader = lab.start_client([&]() -> bool {
    const auto events = lab.open_table().events();
    *reads = events.has_value();
    for (;;) ::pause();
  });
  while (!*static_cast<volatile bool*>(&*reads)) std::this_thread::yield();
  check_refusal(lab, "10.96.0.1:80");
  REQUIRE(::kill(reader, SIGKILL) == 0);
  (void)wait_for(reader);
  CHECK(raw_table().wants_events == 1);
  check_refusal(lab, "10.96.0.2:80");

  ServiceEvents events = must(table.events());
  CHECK(must(events.read()).empty());
  check_refusal(lab, "10.96.0.3:80");
  const std::vector<ServiceEvent> heard = must(events.read());
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].service == "empty-3");
}

TEST_CASE("changes of the table leave the reader its events") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  ServiceEvents events = must(table.events());
  ServiceTable other = lab.open_table();
  for (int i = 1; i <= 5; ++i)
    must(other.upsert(service("empty", {cluster(("10.96.0." + std::to_string(i) + ":80").c_str())})));
  (void)must(other.refresh_node_addresses());
  CHECK(raw_table().wants_events == 1);
  check_refusal(lab, "10.96.0.5:80");
  CHECK(must(events.read()).size() == 1);
}

TEST_CASE("a choice that could not be remembered for the pod is told, and holds all the same") {
  ServiceLab lab(small_datapath(16));
  ServiceTable table = lab.open_table();
  Service sticky = service("sticky", {cluster("10.96.0.1:80")}, backends_v4(1, 2));
  sticky.affinity_timeout = std::chrono::hours(1);
  must(table.upsert(sticky));
  const std::vector<Gauge> gauges = must(table.fill());
  const auto affinity =
      std::find_if(gauges.begin(), gauges.end(), [](const Gauge& gauge) { return gauge.name == "affinity"; });
  patu_affinity lasting{};
  lasting.last_ns = ~0ull >> 1;
  for (std::uint64_t i = 0; i < affinity->limit; ++i)
    RawMap<patu_affinity_key, patu_affinity>("affinity").put({1'000'000 + i, 1, 0}, lasting);
  ServiceEvents events = must(table.events());
  CHECK(
      lab.as_client([&] { return connect_once(Socket::v4, endpoint("10.96.0.1:80"), lab.listener_fd()).error == 0; }));
  const std::vector<ServiceEvent> heard = must(events.read());
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].kind == ServiceEvent::Kind::affinity_full);
  CHECK(heard[0].service == "sticky");
}

TEST_CASE("a reader outlives its instance, and hears nothing any more") {
  ServiceLab lab;
  ServiceEvents events = must(lab.open_table().events());
  (void)must(Datapath::unload(datapath_options(), UnloadMode::force));
  CHECK(must(events.read()).empty());
}
