// The whole table at once: what is written and what is not, and what moves.
#include "services_sync.hpp"

#include <algorithm>

#include "bpf/instance.hpp"
#include "table_check.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// As the kernel lists the frontends: an element that is replaced goes to another place.
std::vector<std::string> order_of_frontends(const ServiceLab& lab) {
  std::vector<std::string> keys;
  REQUIRE(
      lab.datapath().instance()->frontends().visit([&](const patu_frontend_key& key, const patu_frontend&) -> Result<> {
        keys.emplace_back(reinterpret_cast<const char*>(&key), sizeof key);
        return {};
      }));
  return keys;
}

}  // namespace

TEST_CASE("a sync adds, changes, removes and leaves alone, and says of each service which") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service a{"a", frontends(1, 3), backends_v4(1, 3)};
  const Service b{"b", frontends(10, 6), backends_v4(10, 3)};
  const Service c{"c", frontends(20, 1), {}};
  SyncReport report = synced(table, {c, a, b, rich()});
  CHECK(report.added == Names{"a", "b", "c", "rich"});
  CHECK(report.unchanged == 0);
  CHECK(listed(table) == std::vector<Service>{a, b, c, rich()});
  CHECK(faults(lab) == "");

  Service changed = b;
  changed.backends = backends_v4(12, 4);
  const Service d{"d", frontends(30, 2), {backend_v4(9)}};
  report = synced(table, {changed, d, a});
  CHECK(report.added == Names{"d"});
  CHECK(report.changed == Names{"b"});
  CHECK(report.removed == Names{"c", "rich"});
  CHECK(report.unchanged == 1);
  CHECK(report.refused.empty());
  CHECK(listed(table) == std::vector<Service>{a, changed, d});
  CHECK(faults(lab) == "");
}

TEST_CASE("each property that changes alone is written, through upsert as through sync") {
  ServiceLab lab;
  auto table = lab.open_table();
  (void)synced(table, {rich()});
  std::vector<Service> others(10, rich());
  others[0].affinity_timeout = std::chrono::seconds(0);
  others[1].close_tcp = false;
  others[2].internal_policy = TrafficPolicy::cluster;
  others[3].backends[0].weight = 1;
  others[4].backends[4].local = true;
  others[5].backends[3].state = BackendState::active;
  others[6].frontends[0].reserve_port = false;
  others[7].frontends[2].kind = FrontendKind::load_balancer;
  others[8].frontends.erase(others[8].frontends.begin());
  others[9].backends.pop_back();
  for (const Service& other : others) {
    CHECK(synced(table, {other}).changed == Names{"rich"});
    CHECK(listed(table) == std::vector<Service>{other});
    CHECK(faults(lab) == "");
    const auto back = table.upsert(rich());
    REQUIRE(back);
    CHECK(listed(table) == std::vector<Service>{rich()});
    CHECK(faults(lab) == "");
  }
}

TEST_CASE("a sync without a difference writes nothing at all, and a service that is the same is not written") {
  ServiceLab lab;
  auto table = lab.open_table();
  std::vector<Service> services{{"a", frontends(1, 3), backends_v4(1, 3)}, rich()};
  (void)synced(table, services);
  const std::string before = lab.dump();
  CHECK(synced(table, services).unchanged == 2);
  std::reverse(services.begin(), services.end());
  std::reverse(services[0].frontends.begin(), services[0].frontends.end());
  std::reverse(services[0].backends.begin(), services[0].backends.end());
  auto other = lab.open_table();
  CHECK(synced(other, services).unchanged == 2);
  CHECK(lab.dump() == before);

  const auto changed_at = [&](const Service& service) {
    auto head = lab.datapath().instance()->services().lookup([&] {
      patu_service_key key{};
      std::copy(service.name.begin(), service.name.end(), key.name);
      return key;
    }());
    REQUIRE(head);
    REQUIRE(*head);
    return (*head)->changed;
  };
  const auto at = changed_at(services[0]);
  services[1].backends.pop_back();
  CHECK(synced(table, services).changed == Names{"a"});
  CHECK(changed_at(services[0]) == at);
  CHECK(changed_at(services[1]) > at);
}

TEST_CASE("frontends move between services in place, also when services exchange them or one of them goes") {
  ServiceLab lab(small(128));
  auto table = lab.open_table();
  const auto service = [](const std::string& name, std::vector<Frontend> of, std::uint32_t backend) {
    return Service{name, std::move(of), {backend_v4(backend)}};
  };
  (void)synced(table, {service("a", frontends(1, 60), 1), service("b", frontends(61, 60), 2)});
  const auto before = order_of_frontends(lab);
  for (const auto& services :
       {std::vector<Service>{service("a", frontends(1, 20), 1), service("b", frontends(21, 100), 2)},
        {service("a", frontends(61, 60), 1), service("b", frontends(1, 60), 2)},
        {service("c", frontends(1, 120), 3)},
        {service("c", frontends(2, 119), 3), service("a", frontends(1, 1), 4)},
        {service("a", frontends(1, 40), 5), service("b", frontends(41, 40), 6), service("c", frontends(81, 40), 7)},
        {service("a", frontends(41, 40), 5), service("b", frontends(81, 40), 6), service("c", frontends(1, 40), 7)}}) {
    const SyncReport report = synced(table, services);
    CHECK(report.refused.empty());
    CHECK(listed(table).size() == services.size());
    CHECK(faults(lab) == "");
    for (const Service& one : services)
      for (const Frontend& of : one.frontends) CHECK(led_to(lab, of) == candidates(one, of));
    CHECK(order_of_frontends(lab) == before);
  }
}

TEST_CASE("ten thousand services go in, stay as they are, change and go, and memory does not grow with it") {
  ServiceLab lab(small(10'000));
  auto table = lab.open_table();
  std::vector<Service> services;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    std::string name = std::to_string(i);
    name.insert(0, 5 - name.size(), '0');
    services.push_back({name, {frontend(i)}, backends_v4(i * 10, 10)});
  }
  CHECK(synced(table, services).added.size() == 10'000);
  CHECK(listed(table) == services);
  CHECK(lab.chunks() == 98);
  CHECK(synced(table, services).unchanged == 10'000);
  services[7'777].backends.pop_back();
  CHECK(synced(table, services).changed == Names{"07777"});
  CHECK(listed(table) == services);
  CHECK(faults(lab) == "");
  // All at once, a few times: slots are used again.
  for (std::uint32_t round = 1; round <= 4; ++round) {
    for (std::uint32_t i = 0; i < 10'000; ++i) services[i].backends = backends_v4(i * 10 + round, 10);
    CHECK(synced(table, services).changed.size() == 10'000);
  }
  CHECK(lab.chunks() <= 3 * 98);
  CHECK(listed(table) == services);
  CHECK(synced(table, {}, {.allow_empty = true}).removed.size() == 10'000);
  CHECK(faults(lab) == "");
}
