// What a service may be, and how it is packed into the kernel's bytes.
#include <doctest/doctest.h>

#include <arpa/inet.h>

#include <algorithm>

#include "services/plan.hpp"

using namespace patu;
using namespace patu::services;

namespace {

Endpoint at(std::string_view text) {
  const auto endpoint = Endpoint::parse(text);
  REQUIRE_MESSAGE(endpoint, std::string(text));
  return *endpoint;
}

Service sample() { return {"default/web:http", {{at("10.96.0.1:80")}}, {at("10.0.0.1:8080"), at("10.0.0.2:8080")}}; }

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
  const patu_frontend_key& key = plan->frontends[0];
  for (std::size_t i = 0; i < sizeof key; ++i) {
    patu_frontend_key other = key;
    reinterpret_cast<std::uint8_t*>(&other)[i] ^= 1;
    CHECK(patu_frontend_tag(&other) != patu_frontend_tag(&key));
  }
}

TEST_CASE("backends are sorted, IPv4 first, and each frontend's word covers those of its family") {
  Service service = sample();
  service.frontends.push_back({at("[fd00::1]:80")});
  service.backends = {at("[fd00:1::2]:80"), at("10.0.0.9:80"), at("[fd00:1::1]:80"), at("10.0.0.1:81"),
                      at("10.0.0.1:80")};
  const auto plan = plan_of(service);
  REQUIRE(plan);
  CHECK(plan->v4_count == 3);
  patu_service head{};
  head.base = 4000;
  head.v4_count = 3;
  head.v6_count = 2;
  head.generation = 77;
  const std::uint64_t v4 = word_of(head, plan->frontends[0]);
  CHECK(patu_word_base(v4) == 4000);
  CHECK(patu_word_count(v4) == 3);
  CHECK(patu_word_generation(v4) == 77);
  CHECK(patu_word_tag(v4) == patu_frontend_tag(&plan->frontends[0]));
  const std::uint64_t v6 = word_of(head, plan->frontends[1]);
  CHECK(patu_word_base(v6) == 4003);
  CHECK(patu_word_count(v6) == 2);
}

TEST_CASE("a service comes back as it was, sorted") {
  Service service = sample();
  service.frontends = {{at("[fd00::1]:80")}, {at("10.96.0.2:80")}, {at("10.96.0.1:443")}, {at("10.96.0.1:80")}};
  service.backends = {at("[fd00:1::1]:80"), at("10.0.0.2:80"), at("10.0.0.1:80")};
  const auto plan = plan_of(service);
  REQUIRE(plan);
  Record record{{}, plan->frontends};
  record.head.generation = 5;
  std::vector<patu_slot> slots = plan->backends;
  for (patu_slot& slot : slots) slot.generation = 5;
  const auto back = service_of(plan->name, record, slots);
  REQUIRE(back);
  CHECK(back->name == service.name);
  CHECK(back->frontends ==
        std::vector<Frontend>{{at("10.96.0.1:80")}, {at("10.96.0.1:443")}, {at("10.96.0.2:80")}, {at("[fd00::1]:80")}});
  CHECK(back->backends == std::vector<Endpoint>{at("10.0.0.1:80"), at("10.0.0.2:80"), at("[fd00:1::1]:80")});

  slots[1].generation = 6;
  const auto damaged = service_of(plan->name, record, slots);
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code() == Errc::protocol);
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
           std::pair{at("224.0.0.1:80"), "TCP has no multicast"},
           std::pair{at("[ff02::1]:80"), "TCP has no multicast"},
           std::pair{at("255.255.255.255:80"), "TCP has no multicast"},
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

TEST_CASE("UDP and unknown protocols are refused as unsupported") {
  Service service = sample();
  service.frontends[0].protocol = Protocol::udp;
  check_refused(service, Errc::unsupported, "UDP");
  service.frontends[0].protocol = static_cast<Protocol>(132);
  check_refused(service, Errc::unsupported, "132");
}

TEST_CASE("a service has 1 to 1024 frontends and 0 to 1024 backends") {
  Service service = sample();
  service.frontends.clear();
  check_refused(service, Errc::invalid_argument, "at least one frontend");
  const auto many = [](std::size_t count) {
    std::vector<Endpoint> out;
    for (std::size_t i = 0; i < count; ++i)
      out.push_back({IpAddress::v4(10, 1, 0, 1), static_cast<std::uint16_t>(i + 1)});
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
  for (const Endpoint& endpoint : many(1025)) service.frontends.push_back({endpoint});
  check_refused(service, Errc::invalid_argument, "1025 frontends");
}
