// What is different between two services, and which sockets that concerns.
#include <doctest/doctest.h>

#include <netinet/in.h>

#include <algorithm>

#include "plans.hpp"
#include "services/change.hpp"

using namespace patu;
using namespace patu::services;
using namespace patu::test;

namespace {

struct Kernel {
  Record record;
  std::vector<patu_slot> slots;
};

// As the kernel has it.
Kernel stored(const Service& service) {
  Plan plan = planned(service);
  Kernel out{{plan.head, plan.frontends}, plan.slots};
  out.record.head.id = 42;
  out.record.head.base = 1000;
  out.record.head.generation = 7;
  for (patu_slot& slot : out.slots) slot.generation = 7;
  return out;
}

std::optional<Change> between(const Service& old, const Service& wanted) {
  Kernel kernel = stored(old);
  return change_between(planned(wanted), std::move(kernel.record), kernel.slots);
}

// "10.0.0.1:80/UDP", sorted.
std::vector<std::string> texts(const std::vector<patu_stale_key>& keys) {
  std::vector<std::string> out;
  for (const patu_stale_key& key : keys) {
    CHECK(key.service_id == 42);
    out.push_back(to_string(patu_frontend_key{key.backend, key.port, key.protocol, 0}));
  }
  std::sort(out.begin(), out.end());
  return out;
}
using Texts = std::vector<std::string>;

Service sample(std::vector<Protocol> protocols) {
  Service service{"web", {}, {at("10.0.0.1:80"), at("10.0.0.2:80"), at("[fd00::3]:80")}};
  for (const Protocol protocol : protocols) service.frontends.push_back({at("10.96.0.1:80"), protocol});
  return service;
}

}  // namespace

TEST_CASE("a service that is the same is no change, and what stays is not written again") {
  const Service old = sample({Protocol::tcp, Protocol::udp});
  CHECK_FALSE(between(old, old));

  Service service = old;
  service.frontends.pop_back();
  auto change = between(old, service);
  REQUIRE(change);
  CHECK(change->new_list);
  CHECK_FALSE(change->new_slots);
  CHECK(change->after->head.base == 1000);
  CHECK(change->after->head.generation == 7);
  CHECK(change->after->head.bank != change->before->head.bank);
  CHECK(given_up_by(*change).size() == 1);
  CHECK(added_by(*change).empty());

  service = old;
  service.backends[0].weight = 2;
  change = between(old, service);
  REQUIRE(change);
  CHECK(change->new_slots);
  CHECK_FALSE(change->new_list);
  CHECK(change->after->head.id == 42);

  service = old;
  service.affinity_timeout = std::chrono::seconds(5);
  change = between(old, service);
  REQUIRE(change);
  CHECK_FALSE(change->new_slots);
  CHECK_FALSE(change->new_list);
}

TEST_CASE("slots of another generation are no service's, and are written anew") {
  const Service old = sample({Protocol::tcp});
  Kernel kernel = stored(old);
  kernel.slots[1].generation = 6;
  const auto change = change_between(planned(old), std::move(kernel.record), kernel.slots);
  REQUIRE(change);
  CHECK(change->new_slots);
}

TEST_CASE("UDP sockets of a backend that is taken out are to be closed, TCP connections only where that is asked for") {
  for (const bool close_tcp : {false, true}) {
    Service old = sample({Protocol::tcp, Protocol::udp});
    old.close_tcp = close_tcp;
    Service service = old;
    service.backends.erase(service.backends.begin() + 1);
    service.backends.emplace_back(at("10.0.0.4:80"));
    const auto change = between(old, service);
    REQUIRE(change);
    CHECK(texts(taken_out_by(*change)) ==
          (close_tcp ? Texts{"10.0.0.2:80/TCP", "10.0.0.2:80/UDP"} : Texts{"10.0.0.2:80/UDP"}));
    CHECK(texts(brought_back_by(*change)) == Texts{"10.0.0.4:80/TCP", "10.0.0.4:80/UDP"});
  }
}

TEST_CASE("a service without UDP leaves sockets alone, and one that gives it up with its backends does not") {
  Service service = sample({Protocol::tcp});
  service.backends.pop_back();
  auto change = between(sample({Protocol::tcp}), service);
  REQUIRE(change);
  CHECK(taken_out_by(*change).empty());
  change = between(sample({Protocol::tcp, Protocol::udp}), service);
  REQUIRE(change);
  CHECK(texts(taken_out_by(*change)) == Texts{"[fd00::3]:80/UDP"});
}

TEST_CASE("a backend that is only in another state is not taken out") {
  const Service old = sample({Protocol::udp});
  Service service = old;
  service.backends[0].state = BackendState::maintenance;
  service.backends[1].state = BackendState::terminating;
  service.backends[2].weight = 9;
  const auto change = between(old, service);
  REQUIRE(change);
  CHECK(taken_out_by(*change).empty());
  CHECK(brought_back_by(*change).empty());
}

TEST_CASE("with a service go all of its backends, whatever their state, once each") {
  Service old = sample({Protocol::udp, Protocol::tcp});
  old.internal_policy = TrafficPolicy::local;
  old.close_tcp = true;
  old.backends[0].local = true;
  old.backends[1].state = BackendState::maintenance;
  Kernel kernel = stored(old);
  const Change change = removal_of(key_of("web"), std::move(kernel.record), kernel.slots);
  CHECK(texts(taken_out_by(change)) == Texts{"10.0.0.1:80/TCP", "10.0.0.1:80/UDP", "10.0.0.2:80/TCP", "10.0.0.2:80/UDP",
                                             "[fd00::3]:80/TCP", "[fd00::3]:80/UDP"});
  CHECK(given_up_by(change).size() == 2);
}
