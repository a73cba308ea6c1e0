// What explain() says against what a connect does: for every kind of frontend, from every kind of namespace, also of neighbours.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "instance.hpp"
#include "raw_map.hpp"
#include "real_peer.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Verdict = Explanation::Verdict;

constexpr std::uint16_t kPorts[] = {80, 81, 82, 53, 30080, 30081, 30082, 8080};

// Every address is local and every port of the table has a listener: a connect fails only because a program refuses it.
constexpr const char* kOpenWorld =
    "ip link set lo up; ip route replace local 0.0.0.0/0 dev lo; ip -6 route replace local ::/0 dev lo";

// The lab's own listener has its port already.
std::vector<UniqueFd> listen_in(const Netns& netns, bool is_lab) {
  std::vector<UniqueFd> out;
  must(in_netns(netns.fd(), [&]() -> Result<> {
    for (const std::uint16_t port : kPorts) {
      if (is_lab && port == kBackendPort) continue;
      UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in6 any{};
      any.sin6_family = AF_INET6;
      any.sin6_port = htons(port);
      const int on = 1;
      if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
          ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || ::listen(fd.get(), 4096) != 0)
        return PATU_FAIL_ERRNO("listen");
      out.push_back(std::move(fd));
    }
    return {};
  }));
  return out;
}

Frontend frontend(const char* at, FrontendKind kind, Protocol protocol = Protocol::tcp) {
  return {endpoint(at), protocol, kind};
}

Frontend node_port(bool v4, std::uint16_t port, bool loopback, Protocol protocol = Protocol::tcp) {
  return {{ip(v4 ? "0.0.0.0" : "::"), port}, protocol, FrontendKind::node_port, loopback};
}

Backend at(const Endpoint& where, BackendState state) { return {where, state}; }

using Kind = FrontendKind;

std::vector<Service> all_services() {
  std::vector<Service> out;
  const auto add = [&](const char* name, std::vector<Frontend> frontends, std::vector<Backend> backends) -> Service& {
    Service& service = out.emplace_back();
    service.name = name;
    service.frontends = std::move(frontends);
    service.backends = std::move(backends);
    return service;
  };
  std::vector<Backend> both = backends_v4(1, 3);
  both.push_back({backend_v6(1)});
  both.push_back({backend_v6(2)});
  add("web",
      {frontend("10.96.0.1:80", Kind::cluster), frontend("[fd00:96::1]:80", Kind::cluster),
       frontend("198.51.100.7:80", Kind::load_balancer), frontend("203.0.113.9:80", Kind::external),
       frontend("192.0.2.1:81", Kind::external), frontend("[2001:db8::1]:81", Kind::external),
       frontend("192.0.2.1:82", Kind::host_port), frontend("203.0.113.10:82", Kind::host_port),
       node_port(true, 30080, true), node_port(false, 30080, true)},
      both);
  add("dns",
      {frontend("10.96.0.10:53", Kind::cluster), frontend("10.96.0.10:53", Kind::cluster, Protocol::udp),
       frontend("[fd00:96::10]:53", Kind::cluster, Protocol::udp), node_port(true, 30081, false, Protocol::udp),
       node_port(false, 30081, true, Protocol::udp)},
      backends_v4(11, 2))
      .affinity_timeout = std::chrono::seconds(1000);
  add("empty", {frontend("10.96.0.3:80", Kind::cluster), node_port(true, 30082, true), node_port(false, 30082, true)},
      {});
  add("elsewhere", {frontend("10.96.0.4:80", Kind::cluster), node_port(true, 30081, false)}, backends_v4(21, 2))
      .internal_policy = TrafficPolicy::local;
  Service& here = add("here", {frontend("10.96.0.5:80", Kind::cluster)}, backends_v4(31, 3));
  here.internal_policy = TrafficPolicy::local;
  here.backends[1].local = true;
  add("resting", {frontend("10.96.0.6:80", Kind::cluster)}, {at(backend_v4(41), BackendState::maintenance)});
  add("going", {frontend("10.96.0.7:80", Kind::cluster)},
      {at(backend_v4(51), BackendState::terminating), at(backend_v4(52), BackendState::maintenance)});
  // A cluster address that is also the node's, and one with an external frontend of another service.
  add("on the node", {frontend("192.0.2.5:80", Kind::cluster)}, backends_v4(61, 1));
  add("shared", {frontend("203.0.113.11:80", Kind::cluster)}, backends_v4(71, 1));
  add("shared, external", {frontend("203.0.113.11:81", Kind::external)}, backends_v4(81, 1));
  return out;
}

constexpr const char* kAddresses[] = {
    "10.96.0.1",   "10.96.0.3",    "10.96.0.4",    "10.96.0.5",   "10.96.0.6",   "10.96.0.7",
    "10.96.0.10",  "10.96.0.99",   "fd00:96::1",   "fd00:96::10", "fd00:96::99", "198.51.100.7",
    "203.0.113.9", "203.0.113.10", "203.0.113.11", "192.0.2.1",   "192.0.2.5",   "2001:db8::1",
    "2001:db8::9", "127.0.0.1",    "127.1.2.3",    "::1",         "10.128.0.1",  "fd00:64::1",
};

struct Outcome {
  Verdict verdict = Verdict::untouched;
  int error = 0;
  std::optional<Endpoint> peer;
};

Outcome connect_to(const Endpoint& to, Protocol protocol, Socket kind, int refusal) {
  const UniqueFd socket = new_socket(kind, protocol == Protocol::tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
  const linger reset{1, 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  Outcome out;
  out.error = connect_socket(socket.get(), kind, to);
  if (out.error == refusal) out.verdict = Verdict::refused;
  if (out.error != 0) return out;
  out.peer = real_peer(socket.get(), protocol);
  if (out.peer && *out.peer != to) out.verdict = Verdict::translated;
  return out;
}

bool agree(const Explanation& said, const Outcome& seen, const Endpoint& to) {
  if (said.verdict != seen.verdict) return false;
  if (said.verdict == Verdict::refused) return said.candidates.empty();
  if (seen.error != 0 || !seen.peer) return false;
  if (said.verdict == Verdict::untouched) return *seen.peer == to && said.candidates.empty();
  const bool candidate = std::any_of(said.candidates.begin(), said.candidates.end(),
                                     [&](const Backend& one) { return one.endpoint == *seen.peer; });
  return candidate && (!said.preferred || said.preferred == seen.peer);
}

struct World {
  ServiceLab lab;
  Netns node = must(Netns::current());
  Netns pod = must(Netns::create());
  Netns exempt = must(Netns::create());
  ServiceTable table;
  std::vector<std::vector<UniqueFd>> listeners;

  World() : table(prepare()) {
    RawMap<std::uint64_t, std::uint32_t>("exempt").put(must(exempt.cookie()), 1);
    for (const Service& service : all_services()) must(table.upsert(service));
    for (const Netns* netns : {&node, &pod, &exempt}) listeners.push_back(listen_in(*netns, netns == &node));
  }
  ~World() {
    (void)output_of("ip link del nic; ip route del local 0.0.0.0/0 dev lo; ip -6 route del local ::/0 dev lo");
  }

  struct Counts {
    unsigned untouched = 0, translated = 0, refused = 0, wrong = 0;
  };
  // In a child of the cgroup: every address with every port, by each protocol and kind of socket.
  Counts compare(const Netns& from, bool anonymous = false) {
    Shared<Counts> counts;
    const auto body = [&] {
      for (const char* address : kAddresses)
        for (const std::uint16_t port : kPorts)
          for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
            const Endpoint to{*IpAddress::parse(address), port};
            compare_one(to, protocol, kind_for(to), anonymous ? nullptr : &from, *counts);
            if (to.address.is_v4()) compare_one(to, protocol, Socket::mapped, anonymous ? nullptr : &from, *counts);
          }
      return true;
    };
    CHECK(run_in(from, true, body) == 0);
    return *counts;
  }

 private:
  ServiceTable prepare() {
    CHECK(output_of("(ip link add nic type bridge && ip link set nic up && ip addr add 192.0.2.1/24 dev nic && "
                    "ip addr add 192.0.2.5/24 dev nic && ip addr add 2001:db8::1/64 dev nic nodad) 2>&1") == "");
    for (const Netns* netns : {&node, &pod, &exempt})
      CHECK(output_in(*netns, std::string("(") + kOpenWorld + ") 2>&1") == "");
    return lab.open_table();
  }
  void compare_one(const Endpoint& to, Protocol protocol, Socket kind, const Netns* from, Counts& counts) {
    const auto said = table.explain(to, protocol, from);
    const Outcome seen = connect_to(to, protocol, kind, lab.refusal());
    if (seen.verdict == Verdict::untouched) ++counts.untouched;
    if (seen.verdict == Verdict::translated) ++counts.translated;
    if (seen.verdict == Verdict::refused) ++counts.refused;
    if (said && agree(*said, seen, to)) return;
    ++counts.wrong;
    (void)std::fprintf(stderr, "%s/%s: verdict %d seen (error %d, peer %s), %d said: %s\n", to.to_string().c_str(),
                       std::string(to_string(protocol)).c_str(), static_cast<int>(seen.verdict), seen.error,
                       seen.peer ? seen.peer->to_string().c_str() : "none", said ? static_cast<int>(said->verdict) : -1,
                       said ? said->why.c_str() : said.error().to_string().c_str());
  }
};

void check_all_kinds(const World::Counts& counts) {
  CHECK(counts.wrong == 0);
  CHECK(counts.untouched > 50);
  CHECK(counts.translated > 20);
  CHECK(counts.refused > 50);
}

}  // namespace

TEST_CASE("explain agrees with every connect, whatever the address, port, protocol and namespace") {
  World world;
  SUBCASE("from the node") { check_all_kinds(world.compare(world.node)); }
  SUBCASE("from a pod") { check_all_kinds(world.compare(world.pod)); }
  SUBCASE("from a namespace that is not named") { check_all_kinds(world.compare(world.pod, true)); }
  SUBCASE("from an exempt pod") {
    const World::Counts counts = world.compare(world.exempt);
    CHECK(counts.wrong == 0);
    CHECK(counts.untouched > 100);
    CHECK(counts.translated + counts.refused == 0);
  }
}

TEST_CASE("the sentence names what the verdict hangs on") {
  World world;
  const auto why = [&](const char* to, const Netns* from = nullptr, Protocol protocol = Protocol::tcp) {
    return must(world.table.explain(endpoint(to), protocol, from)).why;
  };
  CHECK(
      why("203.0.113.9:80") ==
      "frontend 203.0.113.9:80/TCP of service \"web\" counts only while its address is one of the node's, which it is "
      "not");
  CHECK(why("203.0.113.11:81") ==
        "frontend 203.0.113.11:81/TCP of service \"shared, external\" counts only while its address is one of the "
        "node's, which it is not, and 203.0.113.11 is a cluster address of 1 frontend: connect is refused");
  CHECK(why("198.51.100.7:30080") ==
        "198.51.100.7 is none of the node's addresses, which frontend 0.0.0.0:30080/TCP of service \"web\" is for");
  CHECK(why("127.0.0.1:30080") ==
        "through loopback addresses frontend 0.0.0.0:30080/TCP of service \"web\" is only for processes in the node's "
        "own namespace");
  CHECK(why("127.0.0.1:30080", &world.node) ==
        "frontend 0.0.0.0:30080/TCP of service \"web\" leads to one of its 3 backends");
  CHECK(why("127.0.0.1:30081", &world.node) ==
        "frontend 0.0.0.0:30081/TCP of service \"elsewhere\" is not for loopback addresses");
  CHECK(why("10.96.0.4:80") ==
        "frontend 10.96.0.4:80/TCP of service \"elsewhere\" has no IPv4 backend that can be chosen");
  CHECK(why("10.96.0.5:80") == "frontend 10.96.0.5:80/TCP of service \"here\" leads to its one backend");
}
