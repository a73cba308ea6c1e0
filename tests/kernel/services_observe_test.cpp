// The reading side of a service table: figures, gauges, and what explain() says of a connect that nobody makes.
#include <doctest/doctest.h>

#include "bpf/info.hpp"
#include "instance.hpp"
#include "names.hpp"
#include "raw_map.hpp"
#include "service_lab.hpp"
#include "service_words.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Table = RawMap<std::uint32_t, patu_service_table>;
using Counters = RawMap<std::uint32_t, patu_counters>;
using Verdict = Explanation::Verdict;

std::uint32_t id_of(const std::string& name) {
  for (const auto& [key, value] : RawMap<patu_service_key, patu_service>("services").all())
    if (key.part == 0 && name == reinterpret_cast<const char*>(key.name)) return value.id;
  FAIL("no such service");
  return 0;
}

std::uint32_t limit_of(const std::string& map) {
  const RawMap<std::uint32_t, std::uint32_t> raw(map);
  return must(bpf::inspect<bpf_map_info>(raw.fd(), "map")).max_entries;
}

template <class Key, class Value>
std::size_t size_of(const char* map) {
  return RawMap<Key, Value>(map).size();
}

std::size_t elements(const std::string& map) {
  if (map == "frontends") return size_of<patu_frontend_key, patu_frontend>("frontends");
  if (map == "services") return size_of<patu_service_key, patu_service>("services");
  if (map == "addresses") return size_of<patu_addr, patu_address>("addresses");
  if (map == "counters") return size_of<std::uint32_t, patu_counters>("counters");
  if (map == "affinity") return size_of<patu_affinity_key, patu_affinity>("affinity");
  if (map == "exempt") return size_of<std::uint64_t, std::uint32_t>("exempt");
  return size_of<patu_stale_key, std::uint32_t>("stale");
}

void check_gauges(const ServiceTable& table, std::uint64_t slots) {
  std::vector<std::string> names;
  for (const Gauge& gauge : must(table.fill())) {
    CAPTURE(gauge.name);
    names.push_back(gauge.name);
    if (gauge.name == "slots") {
      CHECK(gauge.used == slots);
      CHECK(gauge.limit == 1u << 22);
      continue;
    }
    CHECK(gauge.used == elements(gauge.name));
    CHECK(gauge.limit == limit_of(gauge.name));
  }
  CHECK(names == std::vector<std::string>{"frontends", "services", "addresses", "counters", "affinity", "exempt",
                                          "stale", "slots"});
}

void check_refusal(const ServiceLab& lab, const char* at) {
  CHECK(lab.as_client(
      [&] { return connect_once(kind_for(endpoint(at)), endpoint(at), lab.listener_fd()).error == lab.refusal(); }));
}

}  // namespace

TEST_CASE("statistics are those that the programs counted, by name") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  CHECK(must(table.stats()).empty());
  must(table.upsert(service("b", {cluster("10.96.0.2:80")}, backends_v4(1, 2))));
  must(table.upsert(service("a", {cluster("10.96.0.1:80")})));
  Counters("counters").put(id_of("b"), {5, 4, 3, 2, 1});
  std::vector<ServiceStats> stats = must(table.stats());
  REQUIRE(stats.size() == 2);
  CHECK(stats[0].name == "a");
  CHECK(stats[0].connects + stats[0].refused + stats[0].retries + stats[0].affinity_hits == 0);
  CHECK(stats[1].name == "b");
  CHECK(stats[1].connects == 5);
  CHECK(stats[1].refused == 4);
  CHECK(stats[1].retries == 3);
  CHECK(stats[1].affinity_hits == 2);

  for (int i = 0; i < 3; ++i) check_refusal(lab, "10.96.0.1:80");
  CHECK(
      lab.as_client([&] { return connect_once(Socket::v4, endpoint("10.96.0.2:80"), lab.listener_fd()).error == 0; }));
  stats = must(table.stats());
  CHECK(stats[0].refused == 3);
  CHECK(stats[1].connects == 6);
  must(table.remove("a"));
  CHECK(must(table.stats()).size() == 1);
}

TEST_CASE("gauges are the elements of each map, and its limit") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  check_gauges(table, 0);
  Service many = service("many", {}, backends_v4(1, 40));
  for (int port = 1; port <= 9; ++port)
    many.frontends.push_back(cluster(("10.96.0.1:" + std::to_string(port)).c_str()));
  must(table.upsert(many));
  Service local = service("local", {cluster("10.96.0.2:80")}, backends_v4(1, 3));
  local.backends[0].local = true;
  local.internal_policy = TrafficPolicy::local;
  must(table.upsert(local));
  RawMap<std::uint64_t, std::uint32_t>("exempt").put(4711, 1);
  RawMap<patu_affinity_key, patu_affinity>("affinity").put({1, 2, 0}, {});
  check_gauges(table, 40 + 3 + 1);
  must(table.remove("many"));
  check_gauges(table, 3 + 1);
}

TEST_CASE("gauges are counted where a writer that died has left the figures behind") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  must(table.upsert(service("a", {cluster("10.96.0.1:80")}, backends_v4(1, 2))));
  patu_service_table killed = raw_table();
  killed.sequence |= 1;
  killed.frontend_entries = killed.service_entries = killed.address_entries = killed.stale_entries = 1000;
  Table("service_table").put(0, killed);
  check_gauges(table, 2);
}

TEST_CASE("explain says what a connect would do, and why") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  const auto explain = [&](const char* to, Protocol protocol = Protocol::tcp, const Netns* from = nullptr) {
    return must(table.explain(endpoint(to), protocol, from));
  };
  CHECK(explain("10.96.0.1:80").verdict == Verdict::untouched);
  CHECK(explain("10.96.0.1:80").why == "no frontend: 10.96.0.1 is an ordinary address here");

  Service web = service("web", {cluster("10.96.0.1:80"), cluster("10.96.0.1:443")});
  web.backends = {{backend_v4(1)}, {backend_v4(2), BackendState::maintenance}, {backend_v4(3)}};
  web.backends[0].weight = 7;
  must(table.upsert(web));
  const Explanation translated = explain("10.96.0.1:80");
  CHECK(translated.verdict == Verdict::translated);
  CHECK(translated.service == "web");
  CHECK(translated.frontend == cluster("10.96.0.1:80"));
  CHECK(translated.candidates == std::vector<Backend>{web.backends[0], web.backends[2]});
  CHECK_FALSE(translated.preferred);
  CHECK(translated.why == "frontend 10.96.0.1:80/TCP of service \"web\" leads to one of its 2 backends");

  const Explanation other_port = explain("10.96.0.1:81");
  CHECK(other_port.verdict == Verdict::refused);
  CHECK(other_port.service.empty());
  CHECK(other_port.why == "no frontend, and 10.96.0.1 is a cluster address of 2 frontends: connect is refused");
  CHECK(explain("10.96.0.1:80", Protocol::udp).verdict == Verdict::refused);

  const Explanation empty = [&] {
    must(table.upsert(service("empty", {cluster("10.96.0.2:80"), cluster("[fd00:96::2]:80")}, {backend_v6(1)})));
    return explain("10.96.0.2:80");
  }();
  CHECK(empty.verdict == Verdict::refused);
  CHECK(empty.service == "empty");
  CHECK(empty.frontend == cluster("10.96.0.2:80"));
  CHECK(empty.why == "frontend 10.96.0.2:80/TCP of service \"empty\" has no IPv4 backend that can be chosen");
  CHECK(explain("[fd00:96::2]:80").verdict == Verdict::translated);

  const Netns pod = must(Netns::create());
  RawMap<std::uint64_t, std::uint32_t>("exempt").put(must(pod.cookie()), 1);
  const Explanation exempt = explain("10.96.0.1:80", Protocol::tcp, &pod);
  CHECK(exempt.verdict == Verdict::untouched);
  CHECK(exempt.service.empty());
  CHECK(exempt.why == "the network namespace is an exempt pod's, for which nothing is resolved");
}

TEST_CASE("explain names affinity's choice, while it lasts, and for its namespace alone") {
  ServiceLab lab;
  ServiceTable table = lab.open_table();
  Service sticky = service("sticky", {cluster("10.96.0.1:80")}, backends_v4(1, 50));
  sticky.affinity_timeout = std::chrono::hours(1);
  must(table.upsert(sticky));
  const Netns here = must(Netns::current());
  const Netns other = must(Netns::create());
  const auto preferred = [&](const Netns* from) {
    return must(table.explain(endpoint("10.96.0.1:80"), Protocol::tcp, from)).preferred;
  };
  CHECK_FALSE(preferred(&here));
  CHECK(
      lab.as_client([&] { return connect_once(Socket::v4, endpoint("10.96.0.1:80"), lab.listener_fd()).error == 0; }));
  const auto entries = RawMap<patu_affinity_key, patu_affinity>("affinity").all();
  REQUIRE(entries.size() == 1);
  const auto& [key, entry] = entries[0];
  const Endpoint chosen{to_address(entry.backend), kBackendPort};
  CHECK(preferred(&here) == chosen);
  CHECK_FALSE(preferred(&other));
  CHECK_FALSE(preferred(nullptr));

  patu_affinity expired = entry;
  expired.last_ns = 1;
  expired.timeout_s = 0;
  RawMap<patu_affinity_key, patu_affinity>("affinity").put(key, expired);
  CHECK_FALSE(preferred(&here));
  RawMap<patu_affinity_key, patu_affinity>("affinity").put(key, entry);
  for (Backend& backend : sticky.backends)
    if (backend.endpoint == chosen) backend.state = BackendState::terminating;
  must(table.upsert(sticky));
  CHECK_FALSE(preferred(&here));
}
