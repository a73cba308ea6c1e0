// What a service may be, and how it is packed into the kernel's bytes.
#include <doctest/doctest.h>

#include <arpa/inet.h>

#include <algorithm>

#include "plans.hpp"
#include "services/plan.hpp"

using namespace patu;
using namespace patu::services;
using namespace patu::test;

namespace {

Service sample() { return {"default/web:http", {{at("10.96.0.1:80")}}, {at("10.0.0.1:8080"), at("10.0.0.2:8080")}}; }

// One of each, in the order of the table.
Service everything() {
  Service service{"all", {}, {at("10.0.0.1:80"), at("10.0.0.1:81"), at("10.0.0.2:80"), at("[fd00:1::1]:80")}};
  service.frontends = {{at("0.0.0.0:30080"), Protocol::tcp, FrontendKind::host_port},
                       {at("10.96.0.1:80"), Protocol::udp},
                       {at("192.0.2.1:443"), Protocol::tcp, FrontendKind::load_balancer},
                       {at("192.0.2.2:443"), Protocol::tcp, FrontendKind::external},
                       {Endpoint{IpAddress(), 30443}, Protocol::udp, FrontendKind::node_port, true, true},
                       {at("[fd00::1]:80"), Protocol::tcp, FrontendKind::host_port}};
  service.backends[0].weight = 256;
  service.backends[1].state = BackendState::terminating;
  service.backends[2].state = BackendState::maintenance;
  service.backends[3].local = true;
  service.internal_policy = TrafficPolicy::local;
  service.affinity_timeout = std::chrono::seconds(600);
  service.close_tcp = true;
  return service;
}

void check_refused(const Service& service, Errc code, std::string_view says) {
  const auto plan = plan_of(service);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().code() == code);
  CHECK_MESSAGE(plan.error().to_string().find(says) != std::string::npos, plan.error().to_string());
}

}  // namespace

TEST_CASE("a word gives back what was packed into it, at the limits of every field") {
  for (const std::uint32_t base : {0u, 1u, 0x155555u, 0x3fffffu})
    for (const std::uint32_t count : {0u, 1u, 1024u, 0x1fffu})
      for (const std::uint32_t generation : {0u, 1u, 0xaaau, 0x1fffu})
        for (const std::uint32_t tag : {0u, 1u, 0x8001u, 0xffffu}) {
          const std::uint64_t word = patu_word(base, count, generation, tag);
          REQUIRE(patu_word_base(word) == base);
          REQUIRE(patu_word_count(word) == count);
          REQUIRE(patu_word_generation(word) == generation);
          REQUIRE(patu_word_tag(word) == tag);
        }
}

TEST_CASE("the tag depends on every byte of the key") {
  const auto plan = plan_of(sample());
  REQUIRE(plan);
  const patu_frontend_key& key = plan->frontends[0].key;
  for (std::size_t i = 0; i < sizeof key; ++i) {
    patu_frontend_key other = key;
    reinterpret_cast<std::uint8_t*>(&other)[i] ^= 1;
    CHECK(patu_frontend_tag(&other) != patu_frontend_tag(&key));
  }
}

TEST_CASE("a service comes back as it was, sorted") {
  const Service service = everything();
  const auto plan = plan_of(service);
  REQUIRE(plan);
  Record record{plan->head, plan->frontends};
  record.head.generation = 5;
  std::vector<patu_slot> slots = plan->slots;
  for (patu_slot& slot : slots) slot.generation = 5;
  const auto back = service_of(plan->name, record, slots);
  REQUIRE(back);
  CHECK(*back == everything());

  // In whichever order it was given.
  Service shuffled = service;
  std::reverse(shuffled.frontends.begin(), shuffled.frontends.end());
  std::reverse(shuffled.backends.begin(), shuffled.backends.end());
  const auto same = plan_of(shuffled);
  REQUIRE(same);
  CHECK(*service_of(same->name, record, slots) == everything());

  slots[1].generation = 6;
  const auto damaged = service_of(plan->name, record, slots);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code() == Errc::protocol);
}

TEST_CASE("every property of a service has a place of its own in the record") {
  const Service service = everything();
  std::vector<Service> others(7, service);
  others[0].affinity_timeout = std::chrono::seconds(601);
  others[1].close_tcp = false;
  others[2].internal_policy = TrafficPolicy::cluster;
  others[3].frontends[4].loopback = false;
  others[4].frontends[4].reserve_port = false;
  others[5].frontends[2].kind = FrontendKind::cluster;
  others[6].frontends[1].protocol = Protocol::tcp;
  for (const Service& other : others) {
    const auto plan = plan_of(other);
    REQUIRE(plan);
    Record record{plan->head, plan->frontends};
    const auto back = service_of(plan->name, record, plan->slots);
    REQUIRE(back);
    CHECK(*back == other);
    CHECK(*back != service);
  }
}

TEST_CASE("names of 1 to 187 bytes are kept, and no others") {
  for (const std::string& name :
       {std::string("a"), std::string(187, 'x'), std::string("ns/name:port"), std::string("gr\xc3\xbc\xc3\x9f")})
    CHECK(name_of(key_of(name)) == name);
  for (const std::string& name :
       {std::string(), std::string(188, 'x'), std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f")}) {
    Service service = sample();
    service.name = name;
    check_refused(service, Errc::invalid_argument, "name");
  }
}

TEST_CASE("endpoints that no connection can lead to are refused, and the text says which and why") {
  for (const auto& [endpoint, why] : {
           std::pair{Endpoint{IpAddress::v4(10, 0, 0, 1), 0}, "port 0"},
           std::pair{Endpoint{IpAddress(), 80}, "the unspecified address"},
           std::pair{at("0.0.0.0:80"), "the unspecified address"},
           std::pair{at("127.0.0.1:80"), "a loopback address"},
           std::pair{at("127.255.0.9:80"), "a loopback address"},
           std::pair{at("[::1]:80"), "a loopback address"},
           std::pair{at("224.0.0.1:80"), "multicast and broadcast"},
           std::pair{at("[ff02::1]:80"), "multicast and broadcast"},
           std::pair{at("255.255.255.255:80"), "multicast and broadcast"},
           std::pair{at("[fe80::1]:80"), "a link-local address"},
       }) {
    Service service = sample();
    service.backends.push_back(endpoint);
    check_refused(service, Errc::invalid_argument, "backend " + endpoint.to_string() + ": " + why);
    service = sample();
    service.frontends.push_back({endpoint});
    check_refused(service, Errc::invalid_argument, "frontend " + endpoint.to_string() + ": " + why);
  }
  Service service = sample();
  service.frontends = {{at("169.254.20.10:53")}};  // as node-local resolvers have it
  CHECK(plan_of(service));
}

TEST_CASE("what is given twice is refused") {
  Service service = sample();
  service.backends.push_back(service.backends[0]);
  check_refused(service, Errc::invalid_argument, "backend 10.0.0.1:8080 is given twice");
  service = sample();
  service.frontends.push_back(service.frontends[0]);
  check_refused(service, Errc::invalid_argument, "frontend 10.96.0.1:80/TCP is given twice");
}

TEST_CASE("TCP and UDP of one address and port are two frontends, and any other protocol is unsupported") {
  Service service = sample();
  service.frontends.push_back(service.frontends[0]);
  service.frontends[1].protocol = Protocol::udp;
  CHECK(plan_of(service));
  for (const auto& [protocol, text] : {std::pair{132, "132 (SCTP)"}, {136, "136 (UDP-Lite)"}, {0, "0"}, {1, "1"}}) {
    service.frontends[1].protocol = static_cast<Protocol>(protocol);
    check_refused(service, Errc::unsupported, "protocol " + std::string(text) + " is not supported, only TCP and UDP");
  }
}

TEST_CASE("a kind of frontend and its address belong together") {
  using enum FrontendKind;
  const auto with = [](std::string_view endpoint, FrontendKind kind) {
    Service service = sample();
    service.frontends = {{at(endpoint), Protocol::tcp, kind}};
    return service;
  };
  for (const FrontendKind kind : {cluster, load_balancer, external}) {
    CHECK(plan_of(with("192.0.2.1:80", kind)));
    check_refused(with("0.0.0.0:80", kind), Errc::invalid_argument, "the unspecified address");
    check_refused(with("[::]:80", kind), Errc::invalid_argument, "the unspecified address");
  }
  CHECK(plan_of(with("0.0.0.0:30080", node_port)));
  CHECK(plan_of(with("[::]:30080", node_port)));
  check_refused(with("192.0.2.1:30080", node_port), Errc::invalid_argument, "given as 0.0.0.0 or [::]");
  CHECK(plan_of(with("0.0.0.0:80", host_port)));
  CHECK(plan_of(with("192.0.2.1:80", host_port)));
  check_refused(with("127.0.0.1:80", host_port), Errc::invalid_argument, "a loopback address");
  check_refused(with("192.0.2.1:80", static_cast<FrontendKind>(5)), Errc::invalid_argument, "its kind is not known");
  Service service = with("0.0.0.0:80", host_port);
  service.frontends[0].endpoint.port = 0;
  check_refused(service, Errc::invalid_argument, "port 0");
}

TEST_CASE("loopback and reserved ports are for ports of every address of the node") {
  using enum FrontendKind;
  for (const bool loopback : {true, false}) {
    for (const FrontendKind kind : {cluster, load_balancer, external, host_port}) {
      Service service = sample();
      service.frontends = {{at("192.0.2.1:80"), Protocol::tcp, kind, loopback, !loopback}};
      check_refused(service, Errc::invalid_argument,
                    loopback ? "loopback is for node ports" : "reserve_port is for node");
    }
    for (const FrontendKind kind : {node_port, host_port}) {
      Service service = sample();
      service.frontends = {{at("[::]:80"), Protocol::tcp, kind, loopback, !loopback}};
      CHECK(plan_of(service));
    }
  }
}

TEST_CASE("weights, states, policies and affinity have limits") {
  Service service = sample();
  for (const std::uint16_t weight : {std::uint16_t{0}, std::uint16_t{257}, std::uint16_t{65535}}) {
    service.backends[1].weight = weight;
    check_refused(service, Errc::invalid_argument, "backend 10.0.0.2:8080: weight " + std::to_string(weight));
  }
  service.backends[1].weight = 256;
  CHECK(plan_of(service));
  service.backends[1].state = static_cast<BackendState>(3);
  check_refused(service, Errc::invalid_argument, "its state is not known");
  service = sample();
  service.internal_policy = static_cast<TrafficPolicy>(2);
  check_refused(service, Errc::invalid_argument, "policy");
  service = sample();
  for (const int seconds : {0, 1, 86400}) {
    service.affinity_timeout = std::chrono::seconds(seconds);
    CHECK(plan_of(service));
  }
  for (const int seconds : {-1, 86401}) {
    service.affinity_timeout = std::chrono::seconds(seconds);
    check_refused(service, Errc::invalid_argument, "affinity of " + std::to_string(seconds) + " s");
  }
}

TEST_CASE("a service has 1 to 1024 frontends and 0 to 1024 backends") {
  Service service = sample();
  service.frontends.clear();
  check_refused(service, Errc::invalid_argument, "at least one frontend");
  const auto many = [](std::size_t count) {
    std::vector<Backend> out;
    for (std::size_t i = 0; i < count; ++i)
      out.emplace_back(Endpoint{IpAddress::v4(10, 1, 0, 1), static_cast<std::uint16_t>(i + 1)});
    return out;
  };
  service = sample();
  service.backends = many(1024);
  CHECK(plan_of(service));
  service.backends = many(1025);
  check_refused(service, Errc::invalid_argument, "1025 backends");
  service = sample();
  service.backends.clear();
  CHECK(plan_of(service));
  service.frontends.clear();
  for (const Backend& backend : many(1025)) service.frontends.push_back({backend.endpoint});
  check_refused(service, Errc::invalid_argument, "1025 frontends");
}
