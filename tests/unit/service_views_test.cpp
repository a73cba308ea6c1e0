// Which slots a frontend chooses from, and that each backend gets exactly the share that its weight says.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "plans.hpp"
#include "services/plan.hpp"

using namespace patu;
using namespace patu::services;
using namespace patu::test;

namespace {

// As if it had been given a place.
Plan placed(const Service& service) {
  Plan plan = planned(service);
  plan.head.base = 1000;
  plan.head.generation = 7;
  return plan;
}

Backend backend(std::string_view text, BackendState state = BackendState::active, std::uint16_t weight = 1,
                bool local = false) {
  Backend out(at(text), state);
  out.weight = weight;
  out.local = local;
  return out;
}

// The backends that clients of the frontend choose from.
std::vector<Endpoint> view(const Plan& plan, std::size_t frontend) {
  const View found = view_of(plan.head, plan.frontends.at(frontend));
  std::vector<Endpoint> out;
  for (std::uint32_t i = 0; i < found.count; ++i) {
    REQUIRE(found.base >= 1000);
    out.push_back(backend_of(plan.slots.at(found.base - 1000 + i)).endpoint);
  }
  return out;
}

std::vector<Endpoint> endpoints(std::initializer_list<std::string_view> texts) {
  std::vector<Endpoint> out;
  for (const std::string_view text : texts) out.push_back(at(text));
  return out;
}

// How many of the 2^32 * slots outcomes lead to each slot.
std::vector<std::uint64_t> outcomes(const std::vector<patu_slot>& slots) {
  std::vector<std::uint64_t> out(slots.size());
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const std::uint64_t own = std::uint64_t{slots[i].threshold} + 1;
    out[i] += own;
    REQUIRE(slots[i].alias < slots.size());
    out[slots[i].alias] += (std::uint64_t{1} << 32) - own;
  }
  return out;
}

std::vector<patu_slot> weighted(const std::vector<std::uint16_t>& weights) {
  std::vector<patu_slot> slots;
  for (const std::uint16_t weight : weights) {
    Backend one(at("10.0.0.1:80"));
    one.weight = weight;
    slots.push_back(slot_of(one));
  }
  set_shares(slots);
  return slots;
}

Service dual() {
  return {"web",
          {{at("10.96.0.1:80")}, {at("[fd00::1]:80")}},
          {backend("10.0.0.3:80"), backend("[fd00:1::2]:80"), backend("10.0.0.1:80"), backend("[fd00:1::1]:80"),
           backend("10.0.0.2:80")}};
}

}  // namespace

TEST_CASE("any weights give each backend its share of all outcomes, to the last of 2^32") {
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::uint16_t> weights(1 + random() % (round % 50 == 0 ? 1024 : 40));
    for (std::uint16_t& weight : weights)
      weight = static_cast<std::uint16_t>(round % 3 == 0 ? (random() % 2 == 0 ? 1 : 256) : 1 + random() % 256);
    const auto slots = weighted(weights);
    const auto met = outcomes(slots);
    std::uint64_t total = 0;
    for (const std::uint16_t weight : weights) total += weight;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto exact = static_cast<long double>(weights[i]) * 4294967296.0L *
                         static_cast<long double>(weights.size()) / static_cast<long double>(total);
      // Each slot that gives a part away rounds it once.
      const auto error = static_cast<long double>(met[i]) - exact;
      REQUIRE(error < static_cast<long double>(weights.size()) + 1);
      REQUIRE(-error < static_cast<long double>(weights.size()) + 1);
    }
  }
}

TEST_CASE("equal weights need no second look: every slot is itself, always") {
  for (const std::uint16_t weight : {std::uint16_t{1}, std::uint16_t{256}})
    for (const std::size_t count : {1u, 2u, 3u, 1024u})
      for (const patu_slot& slot : weighted(std::vector<std::uint16_t>(count, weight)))
        REQUIRE(slot.threshold == 0xffffffffu);
}

TEST_CASE("equal weights beside one that is larger are exact where binary fractions are") {
  const auto slots = weighted({1, 3, 1, 3});
  CHECK(outcomes(slots) == std::vector<std::uint64_t>{1ull << 31, 3ull << 31, 1ull << 31, 3ull << 31});
}

TEST_CASE("each frontend's view is that of its family, sorted by address and port") {
  const Plan plan = placed(dual());
  CHECK(view(plan, 0) == endpoints({"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}));
  CHECK(view(plan, 1) == endpoints({"[fd00:1::1]:80", "[fd00:1::2]:80"}));
  CHECK(view_of(plan.head, plan.frontends[0]) == View{1000, 3});
  CHECK(view_of(plan.head, plan.frontends[1]) == View{1003, 2});
  const std::uint64_t word = word_of(plan.head, plan.frontends[1]);
  CHECK(patu_word_base(word) == 1003);
  CHECK(patu_word_count(word) == 2);
  CHECK(patu_word_generation(word) == 7);
  CHECK(patu_word_tag(word) == patu_frontend_tag(&plan.frontends[1].key));
}

TEST_CASE("terminating backends are chosen only while none of their family is active, and those in maintenance never") {
  Service service = dual();
  service.backends = {backend("10.0.0.1:80", BackendState::terminating), backend("10.0.0.2:80"),
                      backend("10.0.0.3:80", BackendState::maintenance),
                      backend("[fd00:1::1]:80", BackendState::terminating),
                      backend("[fd00:1::2]:80", BackendState::maintenance)};
  const Plan plan = placed(service);
  CHECK(view(plan, 0) == endpoints({"10.0.0.2:80"}));
  CHECK(view(plan, 1) == endpoints({"[fd00:1::1]:80"}));
  // The others are behind their family's view.
  CHECK(plan.head.v4_count == 3);
  CHECK(plan.head.v6_count == 2);
  CHECK(plan.slots.size() == 5);
  CHECK(backend_of(plan.slots[1]) == service.backends[0]);
  CHECK(backend_of(plan.slots[2]) == service.backends[2]);
  CHECK(plan.slots[1].threshold == 0xffffffffu);

  service.backends = {backend("10.0.0.3:80", BackendState::maintenance)};
  CHECK(view(placed(service), 0).empty());
}

TEST_CASE("with the local policy, cluster frontends lead to the node's own backends and all others to all") {
  Service service = dual();
  service.internal_policy = TrafficPolicy::local;
  service.frontends = {{at("10.96.0.1:80")},
                       {at("192.0.2.1:80"), Protocol::tcp, FrontendKind::load_balancer},
                       {at("[fd00::1]:80")},
                       {at("[fd00::2]:80"), Protocol::tcp, FrontendKind::external}};
  service.backends = {backend("10.0.0.1:80"), backend("10.0.0.2:80", BackendState::active, 9, true),
                      backend("10.0.0.3:80", BackendState::terminating, 1, true), backend("[fd00:1::1]:80"),
                      backend("[fd00:1::2]:80", BackendState::terminating, 1, true)};
  const Plan plan = placed(service);
  REQUIRE(frontend_of(plan.frontends[0]).kind == FrontendKind::cluster);
  CHECK(view(plan, 0) == endpoints({"10.0.0.2:80"}));
  CHECK(view(plan, 1) == endpoints({"10.0.0.1:80", "10.0.0.2:80"}));
  CHECK(view(plan, 2) == endpoints({"[fd00:1::2]:80"}));  // the last local one goes on serving while it terminates
  CHECK(view(plan, 3) == endpoints({"[fd00:1::1]:80"}));
  CHECK(plan.slots.size() == 7);
  CHECK(slots_of(plan.head) == 7);
  CHECK(backends_of(plan.head) == 5);

  for (Backend& one : service.backends) one.local = false;
  const Plan elsewhere = placed(service);
  CHECK(view(elsewhere, 0).empty());
  CHECK(view(elsewhere, 1).size() == 2);
}

TEST_CASE("shares are counted per view: a weight in one family or state changes nothing in another") {
  Service service = dual();
  service.backends = {backend("10.0.0.1:80", BackendState::active, 1), backend("10.0.0.2:80", BackendState::active, 3),
                      backend("10.0.0.3:80", BackendState::maintenance, 200),
                      backend("[fd00:1::1]:80", BackendState::active, 256)};
  const Plan plan = placed(service);
  CHECK(outcomes({plan.slots[0], plan.slots[1]}) == std::vector<std::uint64_t>{1ull << 31, 3ull << 31});
  CHECK(plan.slots[3].threshold == 0xffffffffu);
}
