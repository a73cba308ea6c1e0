// What users of other socket load balancers complain about, by number: a test each of what becomes of the table here.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>

#include "instance.hpp"
#include "raw_map.hpp"
#include "real_peer.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

const Endpoint kFrontend = endpoint("10.96.0.1:80");
constexpr std::uint32_t kNobody = 0;

using Affinity = RawMap<patu_affinity_key, patu_affinity>;

Service web(std::vector<Backend> backends, Protocol protocol = Protocol::udp) {
  return {"web", {{kFrontend, protocol}}, std::move(backends)};
}

Service sticky(std::uint32_t backends) {
  Service service = web(backends_v4(1, backends));
  service.affinity_timeout = std::chrono::hours(1);
  return service;
}

// The number of the backend that a new UDP socket is connected to, or kNobody.
std::uint32_t chosen(const Endpoint& frontend = kFrontend) {
  const UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
  if (connect_socket(socket.get(), Socket::v4, frontend) != 0) return kNobody;
  const auto peer = peer_of(socket.get());
  return peer ? peer->address.bytes()[15] : kNobody;
}

std::vector<std::uint32_t> choices(const ServiceLab& lab, std::size_t sockets, const Endpoint& frontend = kFrontend) {
  Shared<std::array<std::uint32_t, 256>> out;
  CHECK(lab.as_client([&] {
    std::generate_n(out->begin(), sockets, [&] { return chosen(frontend); });
    return true;
  }));
  return {out->begin(), out->begin() + static_cast<std::ptrdiff_t>(sockets)};
}

std::set<std::uint32_t> met(const ServiceLab& lab, std::size_t sockets, const Endpoint& frontend = kFrontend) {
  const auto all = choices(lab, sockets, frontend);
  return {all.begin(), all.end()};
}

std::vector<std::uint32_t> ids() {
  std::vector<std::uint32_t> out;
  for (const auto& [key, value] : RawMap<patu_service_key, patu_service>("services").all())
    if (key.part == 0) out.push_back(value.id);
  std::sort(out.begin(), out.end());
  return out;
}

Service numbered(const std::string& name, std::uint8_t net, std::uint8_t n) {
  return {name + std::to_string(n), {{{IpAddress::v4(10, 96, net, n), 80}, Protocol::udp}}, {backend_v4(n)}};
}

}  // namespace

TEST_CASE("felix #2537: when affinity has timed out, the choice is a random one again") {
  ServiceLab lab;
  auto table = lab.open_table();
  must(table.upsert(sticky(60)));
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 6; ++i) {
    CHECK(met(lab, 5).size() == 1);
    seen.merge(met(lab, 1));
    auto [key, entry] = Affinity("affinity").all().at(0);
    entry.last_ns -= 3'601'000'000'000ull;
    Affinity("affinity").put(key, entry);
  }
  CHECK(seen.size() > 1);  // six times the same of 60: once in 10^8
}

TEST_CASE("calico #13399: making room for affinity takes nothing from a pod that is active") {
  DatapathOptions options = datapath_options();
  options.max_pods = 8;  // 32 choices
  ServiceLab lab(options);
  must(lab.open_table().upsert(sticky(60)));
  const auto before = met(lab, 1);
  const patu_affinity_key mine = Affinity("affinity").all().at(0).first;
  for (std::uint64_t pod = 1; pod <= 20; ++pod)
    Affinity("affinity").put({mine.netns_cookie + pod, mine.service_id, 0}, patu_affinity{});
  must(lab.open_table().remove("nothing"));
  CHECK(Affinity("affinity").size() == 1);
  CHECK(met(lab, 5) == before);
}

TEST_CASE("calico, nat_lookup: what a pod's affinity is does not depend on what another pod chose") {
  ServiceLab lab;
  must(lab.open_table().upsert(sticky(60)));
  std::set<std::uint32_t> all;
  for (int i = 0; i < 6; ++i) {
    const Netns pod = must(Netns::create());
    CHECK(output_in(pod, "(ip link set lo up && ip route add local 10.128.0.0/10 dev lo) 2>&1") == "");
    Shared<std::uint32_t> one;
    CHECK(run_in(pod, true, [&] { return (*one = chosen()) != kNobody; }) == 0);
    all.insert(*one);
  }
  CHECK(all.size() > 1);  // six pods that chose the same of 60: once in 10^8
}

TEST_CASE("calico, startupBuildPrev: two writers at once give no id twice, and an id is not given again at once") {
  ServiceLab lab;
  std::vector<pid_t> writers;
  for (const std::uint8_t net : {std::uint8_t{1}, std::uint8_t{2}})
    writers.push_back(lab.start_client([&, net] {
      auto table = lab.open_table();
      for (std::uint8_t n = 1; n <= 40; ++n)
        if (!table.upsert(numbered("net" + std::to_string(net) + "-", net, n))) return false;
      return true;
    }));
  for (const pid_t writer : writers) CHECK(wait_for(writer) == 0);
  const auto given = ids();
  CHECK(given.size() == 80);
  CHECK(std::adjacent_find(given.begin(), given.end()) == given.end());

  auto table = lab.open_table();
  must(table.remove("net1-7"));
  const auto left = ids();
  must(table.upsert(numbered("new", 3, 1)));
  for (const std::uint32_t id : ids())
    if (!std::binary_search(left.begin(), left.end(), id))
      CHECK_FALSE(std::binary_search(given.begin(), given.end(), id));
}

TEST_CASE("calico, upsertService: a full map is an error that names the map, and the others are served") {
  DatapathOptions options = datapath_options();
  options.max_services = 1;  // two frontends
  ServiceLab lab(options);
  auto table = lab.open_table();
  must(table.upsert(web({backend_v4(1)})));
  Service large{"large", {}, {backend_v4(2)}};
  for (std::uint8_t n = 1; n <= 3; ++n) large.frontends.push_back(numbered("", 9, n).frontends[0]);
  const std::vector<Service> wanted{web({backend_v4(3)}), large};
  const SyncReport report = must(table.sync(wanted));
  REQUIRE(report.refused.size() == 1);
  CHECK(report.refused[0].name == "large");
  CHECK(report.refused[0].code == Errc::exhausted);
  CHECK_MESSAGE(report.refused[0].reason.find("frontends") != std::string::npos, report.refused[0].reason);
  CHECK(met(lab, 5) == std::set<std::uint32_t>{3});
}

TEST_CASE("cilium #31988: an API server that answers with nothing takes no service away") {
  ServiceLab lab;
  auto table = lab.open_table();
  must(table.upsert(web({backend_v4(1)})));
  const auto refused = table.sync({});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::invalid_argument);
  CHECK(met(lab, 5) == std::set<std::uint32_t>{1});
}

TEST_CASE("cilium #37613: with the local policy the cluster address alone is local, other frontends lead to all") {
  ServiceLab lab;
  const Endpoint announced = endpoint("203.0.113.1:80");
  Service service = web(backends_v4(1, 3));
  service.frontends.push_back({announced, Protocol::udp, FrontendKind::load_balancer});
  service.backends[1].local = true;
  service.internal_policy = TrafficPolicy::local;
  must(lab.open_table().upsert(service));
  CHECK(met(lab, 100) == std::set<std::uint32_t>{2});
  CHECK(met(lab, 100, announced) == std::set<std::uint32_t>{1, 2, 3});
}

TEST_CASE("KPNG: UDP is balanced") {
  ServiceLab lab;
  must(lab.open_table().upsert(web(backends_v4(1, 4))));
  CHECK(met(lab, 100) == std::set<std::uint32_t>{1, 2, 3, 4});  // the odds against it are 4 * (3/4)^100
}

TEST_CASE("KPNG: backends whose address and port have the same sum are two") {
  ServiceLab lab;
  must(lab.open_table().upsert(web({backend_v4(5, 81), backend_v4(6, 80)})));
  CHECK(met(lab, 60) == std::set<std::uint32_t>{5, 6});
}

TEST_CASE("KPNG: TCP and UDP of one address and port are two frontends") {
  ServiceLab lab;
  auto table = lab.open_table();
  must(table.upsert(web({backend_v4(1)})));
  must(table.upsert({"web, TCP", {{kFrontend}}, {backend_v4(2)}}));
  CHECK(met(lab, 5) == std::set<std::uint32_t>{1});
  CHECK(lab.as_client([&] { return connect_once(Socket::v4, kFrontend, lab.listener_fd()).peer == backend_v4(2); }));
}

TEST_CASE("KPNG: a service that shrinks leaves no backend behind") {
  ServiceLab lab;
  auto table = lab.open_table();
  must(table.upsert(web(backends_v4(1, 8))));
  must(table.upsert(web({backend_v4(4)})));
  CHECK(met(lab, 100) == std::set<std::uint32_t>{4});
}

TEST_CASE("KPNG: no connect leaves with the service's own address, whatever is missing") {
  ServiceLab lab;
  // Whoever gets through meets the lab's listener: the addresses are the machine's own, the port is its.
  const Endpoint own = backend_v4(700);
  must(lab.open_table().upsert({"other port", {{{own.address, 80}}}, {backend_v4(1)}}));
  must(lab.open_table().upsert({"no backend", {{backend_v4(701)}}, {}}));
  must(lab.open_table().upsert({"other family", {{backend_v4(702)}}, {backend_v6(1)}}));
  must(lab.open_table().upsert({"resting", {{backend_v4(703)}}, {{backend_v4(1), BackendState::maintenance}}}));
  CHECK(lab.as_client([&] {
    for (const std::uint32_t n : {700u, 701u, 702u, 703u})
      for (const Socket kind : {Socket::v4, Socket::mapped})
        if (connect_once(kind, backend_v4(n), lab.listener_fd()).error != lab.refusal()) return false;
    return true;
  }));
}

TEST_CASE("KPNG: services outlive the process that made them") {
  CHECK(output_of("ip route replace local 10.128.0.0/10 dev lo 2>&1") == "");
  const Netns here = must(Netns::current());
  CHECK(run_in(here, false, [] {
          auto datapath = Datapath::open(datapath_options());
          if (!datapath) return false;
          auto table = ServiceTable::open(*datapath);
          return table && table->upsert(web({backend_v4(1)})).has_value();
        }) == 0);
  CHECK(run_in(here, true, [] {
          const UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
          return connect_socket(socket.get(), Socket::v4, kFrontend) == 0 &&
                 real_peer(socket.get(), Protocol::udp) == backend_v4(1);
        }) == 0);
  (void)must(Datapath::unload(datapath_options(), UnloadMode::force));
}
