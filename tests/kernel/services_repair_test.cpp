// What the kernel refuses half-way, and what is wrong in the maps for any other reason, is put right.
#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>

#include "bpf/instance.hpp"
#include "service_lab.hpp"
#include "services/plan.hpp"
#include "table_check.hpp"

using namespace patu;
using namespace patu::test;

namespace {

template <class T>
T must(Result<T>&& result) {
  if (!result) throw std::runtime_error(result.error().to_string());
  return std::move(*result);
}
void must(Result<>&& result) {
  if (!result) throw std::runtime_error(result.error().to_string());
}

std::vector<Frontend> frontends(std::uint32_t first, std::uint32_t count) {
  std::vector<Frontend> out;
  for (std::uint32_t i = first; i < first + count; ++i)
    out.push_back({{IpAddress::v4(10, 96, 0, static_cast<std::uint8_t>(i)), 80}});
  return out;
}

DatapathOptions small(std::uint32_t max_services) {
  DatapathOptions options = datapath_options();
  options.max_services = max_services;
  return options;
}

// The maps themselves, behind the library's back.
struct Maps {
  explicit Maps(const ServiceLab& lab) : instance(*lab.datapath().instance()) {}

  patu_service head(const std::string& name) const {
    const auto found = must(instance.services().lookup(services::key_of(name)));
    REQUIRE(found);
    return *found;
  }
  bpf::Element<patu_service_table> table() const {
    return {instance.map_fd(bpf::MapId::service_table), "service_table"};
  }

  const bpf::Instance& instance;
};

patu_addr address_of(const Frontend& frontend) { return services::listed_of(frontend).key.addr; }

patu_stale_key journaled(std::uint32_t backend, std::uint32_t service_id) {
  return {address_of({backend_v4(backend)}), htons(kBackendPort), 17, 0, service_id};
}

}  // namespace

TEST_CASE("a change that the kernel refuses half-way is taken back, and what did not belong there is mended") {
  ServiceLab lab(small(4));
  const Maps maps(lab);
  auto table = lab.open_table();
  const Service service{"web", frontends(1, 3), {backend_v4(1)}};
  must(table.upsert(service));
  // Parts of nobody's record: the map is fuller than the table knows, and the new record's part finds no room.
  for (std::uint32_t i = 0; i < 7; ++i) must(maps.instance.services().put({{'x'}, i + 1}, patu_service{}));
  const auto refused = table.upsert({"web", frontends(2, 5), backends_v4(2, 2)});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::exhausted);
  CHECK(refused.error().to_string().find("service \"web\": services") != std::string::npos);
  CHECK(must(table.list()) == std::vector<Service>{service});
  CHECK(faults(lab) == "");
  must(table.upsert({"web", frontends(2, 5), {backend_v4(2)}}));
  CHECK(faults(lab) == "");
}

TEST_CASE("a change that the kernel refuses after it has begun to be seen is ended, once there is room") {
  ServiceLab lab(small(4));
  const Maps maps(lab);
  auto table = lab.open_table();
  must(table.upsert({"web", frontends(1, 3), {backend_v4(1)}}));
  // Frontends that no record has: the record has gone over when the new ones find no room.
  for (std::uint8_t i = 0; i < 4; ++i)
    must(maps.instance.frontends().put({{}, i, 6, PATU_SCOPE_ADDRESS}, patu_frontend{}));
  const Service service{"web", frontends(2, 5), {backend_v4(2)}};
  must(table.upsert(service));
  CHECK(must(table.list()) == std::vector<Service>{service});
  CHECK(faults(lab) == "");
}

TEST_CASE("of two records with one frontend the later is right, and the other loses it or goes with its last one") {
  ServiceLab lab(small(32));
  const Maps maps(lab);
  auto table = lab.open_table();
  const Service early{"early", frontends(1, 9), backends_v4(1, 2)};
  const Service late{"late", frontends(20, 3), backends_v4(10, 2)};
  must(table.upsert({"gone", frontends(40, 1), backends_v4(20, 2)}));
  must(table.upsert(early));
  must(table.upsert(late));
  // As if a writer had died that gave two of early's frontends and all of gone's to late.
  const std::vector<Frontend> taken{frontends(3, 1)[0], frontends(8, 1)[0], frontends(40, 1)[0]};
  patu_service head = maps.head("late");
  for (std::size_t i = 0; i < taken.size(); ++i) head.frontends[i] = services::listed_of(taken[i]);
  must(maps.instance.services().put(services::key_of("late"), head));
  patu_service_table values = must(maps.table().get());
  values.sequence += 1;
  must(maps.table().put(values));

  must(table.remove("mends all, removes nothing"));
  CHECK(faults(lab) == "");
  Service mended = early;
  mended.frontends.erase(mended.frontends.begin() + 7);
  mended.frontends.erase(mended.frontends.begin() + 2);
  CHECK(must(table.list()) == std::vector<Service>{mended, {"late", taken, late.backends}});
  CHECK(led_to(lab, taken[0]) == std::vector<Endpoint>{backend_v4(10), backend_v4(11)});
  CHECK(led_to(lab, frontends(2, 1)[0]) == std::vector<Endpoint>{backend_v4(1), backend_v4(2)});
  CHECK_FALSE(led_to(lab, frontends(20, 1)[0]));
}

TEST_CASE("what is wrong in any other map is mended by the next change") {
  ServiceLab lab(small(32));
  const Maps maps(lab);
  const bpf::Instance& instance = maps.instance;
  auto table = lab.open_table();
  Service web{"web", frontends(1, 6), backends_v4(10, 2)};
  web.frontends.push_back({endpoint("10.96.0.99:53"), Protocol::udp});
  must(table.upsert(web));
  const std::uint32_t id = maps.head("web").id;
  must(instance.counters().put(4711, {}));
  must(instance.counters().erase(id));
  const patu_addr node = address_of(frontends(5, 1)[0]);
  must(instance.addresses().erase(address_of(frontends(1, 1)[0])));
  must(instance.addresses().put(node, {PATU_ADDRESS_NODE, 9, {}}));
  must(instance.addresses().put(address_of(frontends(6, 1)[0]), {PATU_ADDRESS_NODE, 0, {}}));
  must(instance.addresses().put(address_of(frontends(60, 1)[0]), {0, 2, {}}));
  must(instance.frontends().erase(services::listed_of(web.frontends[1]).key));
  must(instance.frontends().put(services::listed_of(web.frontends[2]).key, patu_frontend{}));
  must(instance.frontends().put(services::listed_of(frontends(70, 1)[0]).key, patu_frontend{}));
  must(instance.stale().put(journaled(10, id), 0));  // the service has it
  must(instance.stale().put(journaled(13, id), 0));
  patu_service_table values = must(maps.table().get());
  values.sequence += 1;
  values.wildcards = values.reserved_ports = values.frontend_entries = values.service_entries = 7;
  values.address_entries = values.stale_entries = 9;
  must(maps.table().put(values));

  must(table.remove("mends all, removes nothing"));
  CHECK(faults(lab) == "");
  CHECK(must(table.list()) == std::vector<Service>{web});
  const auto mended = must(instance.addresses().lookup(node));
  REQUIRE(mended);
  CHECK(mended->flags == PATU_ADDRESS_NODE);
  CHECK(mended->clusters == 1);
  CHECK(must(instance.stale().lookup(journaled(13, id))).has_value());
  CHECK_FALSE(must(instance.stale().lookup(journaled(10, id))).has_value());
}

TEST_CASE("a backend that comes back is struck off the journal of those whose sockets are to be closed") {
  ServiceLab lab;
  const Maps maps(lab);
  auto table = lab.open_table();
  Service service{"web", {{endpoint("10.96.0.1:53"), Protocol::udp}}, backends_v4(1, 4)};
  must(table.upsert(service));
  // As if its sockets could not be closed when it went.
  must(maps.instance.stale().put(journaled(9, maps.head("web").id), 0));
  patu_service_table values = must(maps.table().get());
  values.stale_entries = 1;
  must(maps.table().put(values));
  service.backends.emplace_back(backend_v4(9));
  must(table.upsert(service));
  CHECK(lab.entries("stale") == 0);
  CHECK(faults(lab) == "");
}

TEST_CASE("choices of pods that have timed out make room when their map is half full, and others stay") {
  DatapathOptions options = datapath_options();
  options.max_pods = 8;  // 32 choices
  ServiceLab lab(options);
  const Maps maps(lab);
  Service service{"web", frontends(1, 1), backends_v4(1, 4)};
  service.affinity_timeout = std::chrono::hours(1);
  must(lab.open_table().upsert(service));
  const std::uint32_t id = maps.head("web").id;
  const auto put = [&](std::uint64_t pod, std::uint32_t service_id, std::uint32_t timeout_s) {
    patu_affinity value{};
    value.timeout_s = timeout_s;
    must(maps.instance.affinity().put({pod, service_id, 0}, value));
  };
  const std::uint32_t never = 0xffffffff;  // in seconds since the machine was started
  for (std::uint64_t pod = 0; pod < 10; ++pod) put(pod, id, never);
  for (std::uint64_t pod = 10; pod < 16; ++pod) put(pod, id, 0);
  must(lab.open_table().remove("nothing"));
  CHECK(lab.entries("affinity") == 16);
  put(16, 4711, never);  // of a service that is gone
  must(lab.open_table().remove("nothing"));
  CHECK(lab.entries("affinity") == 10);
}
