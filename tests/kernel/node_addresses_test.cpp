// The node's addresses: which ones count, what is written of them, and what a killed reading leaves.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "instance.hpp"
#include "names.hpp"
#include "nl/addr.hpp"
#include "raw_map.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Addresses = RawMap<patu_addr, patu_address>;
using Table = RawMap<std::uint32_t, patu_service_table>;

std::vector<IpAddress> addresses(std::initializer_list<const char*> texts) {
  std::vector<IpAddress> out;
  for (const char* text : texts) out.push_back(ip(text));
  return out;
}

// Flagged in the map, sorted.
std::vector<IpAddress> flagged() {
  std::vector<IpAddress> out;
  for (const auto& [key, value] : Addresses("addresses").all())
    if ((value.flags & PATU_ADDRESS_NODE) != 0) out.push_back(to_address(key));
  std::sort(out.begin(), out.end());
  return out;
}

patu_service_table table() { return Table("service_table").all().at(0).second; }

// A node with one link, and its own table of services.
struct Fixture : InstanceFixture {
  Netns node = must(Netns::create());
  ServiceTable services;

  explicit Fixture(const DatapathOptions& wanted = datapath_options())
      : InstanceFixture(wanted), services(must(ServiceTable::open(datapath, &node))) {
    run("ip link set lo up && ip link add nic type bridge && ip link set nic up && "
        "ip addr add 192.0.2.1/24 dev nic && ip addr add 2001:db8::1/64 dev nic nodad");
  }
  void run(const std::string& command) { CHECK(output_in(node, "(" + command + ") 2>&1") == ""); }
  std::vector<IpAddress> refresh() { return must(services.refresh_node_addresses()); }
  void check_entries() const { CHECK(table().address_entries == Addresses("addresses").size()); }
};

}  // namespace

TEST_CASE("opening the table writes nothing, and reads no addresses") {
  Fixture fixture;
  CHECK(flagged().empty());
  CHECK(table().has_node_addresses == 0);
  CHECK(table().node_cookie == 0);
  CHECK(table().sequence == 0);
}

TEST_CASE("the node's addresses are those by which others reach it, sorted, each once") {
  Fixture fixture;
  fixture.run(
      "ip addr add 10.9.8.7/32 dev lo && ip link add vpn type bridge && ip link set vpn up && "
      "ip addr add 192.0.2.1/24 dev vpn && ip addr add 10.9.9.1 peer 10.9.9.2/32 dev vpn && "
      "ip addr add 192.0.2.9/24 dev nic && "
      "ip addr add 169.254.7.7/16 dev nic scope link && ip addr add 169.254.20.10/32 dev nic && "
      "ip addr add 10.3.3.3/32 dev nic scope host && ip addr add fd00:5::5/128 dev lo nodad");
  const auto wanted = addresses({"10.9.8.7", "10.9.9.1", "192.0.2.1", "192.0.2.9", "2001:db8::1", "fd00:5::5"});
  CHECK(fixture.refresh() == wanted);
  CHECK(flagged() == wanted);
  fixture.check_entries();
  CHECK(table().has_node_addresses == 1);
  CHECK(table().node_cookie == must(fixture.node.cookie()));
  CHECK(table().sequence == 2);
}

TEST_CASE("an address that duplicate address detection has not passed does not count") {
  Fixture fixture;
  // Detection does not even begin on a bridge without ports: it has no carrier.
  fixture.run("ip link add mesh type bridge && ip link set mesh up && ip addr add 2001:db8:1::1/64 dev mesh");
  REQUIRE(output_in(fixture.node, "ip -6 addr show dev mesh tentative").find("2001:db8:1::1") != std::string::npos);
  CHECK(fixture.refresh() == addresses({"192.0.2.1", "2001:db8::1"}));
}

TEST_CASE("the first service that depends on the node's addresses has them read, and no other does") {
  Fixture fixture;
  Service service;
  service.name = "web";
  service.frontends = {{endpoint("10.96.0.1:80"), Protocol::tcp, FrontendKind::cluster},
                       {endpoint("198.51.100.1:80"), Protocol::tcp, FrontendKind::load_balancer}};
  must(fixture.services.upsert(service));
  CHECK(table().has_node_addresses == 0);
  CHECK(flagged().empty());
  const auto wanted = addresses({"192.0.2.1", "2001:db8::1"});
  SUBCASE("node port") {
    service.frontends.push_back({{ip("0.0.0.0"), 30080}, Protocol::tcp, FrontendKind::node_port});
    must(fixture.services.upsert(service));
  }
  SUBCASE("host port of one address") {
    service.frontends.push_back({endpoint("192.0.2.1:30080"), Protocol::udp, FrontendKind::host_port});
    must(fixture.services.upsert(service));
  }
  SUBCASE("external address, by sync") {
    service.frontends.push_back({endpoint("203.0.113.1:80"), Protocol::tcp, FrontendKind::external});
    (void)must(fixture.services.sync({&service, 1}, {.dry_run = true}));
    CHECK(flagged().empty());
    (void)must(fixture.services.sync({&service, 1}));
  }
  CHECK(flagged() == wanted);
  fixture.check_entries();
  CHECK(must(fixture.services.find("web")).frontends.size() == 3);
  // From here on it is for the caller to say when they have changed.
  fixture.run("ip addr add 192.0.2.2/24 dev nic");
  service.frontends.pop_back();
  must(fixture.services.upsert(service));
  service.frontends.push_back({{ip("0.0.0.0"), 30081}, Protocol::tcp, FrontendKind::node_port});
  must(fixture.services.upsert(service));
  CHECK(flagged() == wanted);
}

TEST_CASE("reading the same addresses again writes nothing") {
  Fixture fixture;
  (void)fixture.refresh();
  const std::uint64_t sequence = table().sequence;
  CHECK(fixture.refresh().size() == 2);
  CHECK(table().sequence == sequence);
}

TEST_CASE("addresses that the node has lost are lost, and new ones are there") {
  Fixture fixture;
  (void)fixture.refresh();
  fixture.run("ip addr del 192.0.2.1/24 dev nic && ip addr add 192.0.2.2/24 dev nic");
  CHECK(fixture.refresh() == addresses({"192.0.2.2", "2001:db8::1"}));
  CHECK(flagged() == addresses({"192.0.2.2", "2001:db8::1"}));
  CHECK(Addresses("addresses").size() == 2);
  fixture.check_entries();
}

TEST_CASE("an address that frontends count on keeps its count, whether it is the node's or not") {
  Fixture fixture;
  {
    const Addresses map("addresses");
    map.put(address_key(ip("192.0.2.1")), {0, 3, {}});
    map.put(address_key(ip("10.96.0.1")), {0, 2, {}});
    const Table raw("service_table");
    patu_service_table before = table();
    before.address_entries = 2;
    raw.put(0, before);
  }
  const auto count = [](const char* address) {
    for (const auto& [key, value] : Addresses("addresses").all())
      if (to_address(key) == ip(address)) return std::optional(value);
    return std::optional<patu_address>();
  };
  (void)fixture.refresh();
  CHECK(count("192.0.2.1")->clusters == 3);
  CHECK(count("192.0.2.1")->flags == PATU_ADDRESS_NODE);
  CHECK(count("10.96.0.1")->clusters == 2);
  CHECK(count("10.96.0.1")->flags == 0);
  fixture.check_entries();
  fixture.run("ip addr flush dev nic");
  CHECK(fixture.refresh().empty());
  CHECK(count("192.0.2.1")->clusters == 3);
  CHECK(count("192.0.2.1")->flags == 0);
  CHECK_FALSE(count("2001:db8::1"));
  fixture.check_entries();
}

TEST_CASE("more addresses than the map holds are refused, and nothing is changed") {
  DatapathOptions options = datapath_options();
  options.max_services = 1;  // the map then has two entries
  Fixture fixture(options);
  (void)fixture.refresh();
  const patu_service_table before = table();
  fixture.run("ip addr add 192.0.2.2/24 dev nic");
  auto refused = fixture.services.refresh_node_addresses();
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::exhausted, "map addresses is full: 2 of 2 entries are used, 1 more are needed");
  CHECK(flagged() == addresses({"192.0.2.1", "2001:db8::1"}));
  CHECK(table().sequence == before.sequence);
  CHECK(table().has_node_addresses == 1);
}

TEST_CASE("what a killed reading left is put right by whoever comes next") {
  Fixture fixture;
  (void)fixture.refresh();
  {
    patu_service_table killed = table();
    killed.sequence |= 1;
    killed.has_node_addresses = 0;
    killed.address_entries = 17;
    Table("service_table").put(0, killed);
    const Addresses map("addresses");
    map.erase(address_key(ip("192.0.2.1")));
    map.put(address_key(ip("192.0.2.77")), {PATU_ADDRESS_NODE, 0, {}});
  }
  SUBCASE("the next reading") { CHECK(fixture.refresh() == addresses({"192.0.2.1", "2001:db8::1"})); }
  SUBCASE("a service with a node port") {
    Service service;
    service.name = "web";
    service.frontends = {{{ip("0.0.0.0"), 30080}, Protocol::tcp, FrontendKind::node_port}};
    must(fixture.services.upsert(service));
  }
  CHECK(flagged() == addresses({"192.0.2.1", "2001:db8::1"}));
  fixture.check_entries();
  CHECK((table().sequence & 1) == 0);
  CHECK(table().has_node_addresses == 1);
}

TEST_CASE("readings that are killed at any time leave a table that the next one puts right") {
  Fixture fixture;
  std::string many = "true";
  for (int i = 2; i < 200; ++i) many += " && ip addr add 192.0.2." + std::to_string(i) + "/24 dev nic";
  const Netns busy = must(Netns::create());
  CHECK(output_in(busy, "(ip link add nic type bridge && ip link set nic up && " + many + ") 2>&1") == "");
  unsigned interrupted = 0;
  for (unsigned round = 0; round < 60; ++round) {
    const pid_t child = start_in(busy, false, [&] {
      auto here = ServiceTable::open(fixture.datapath, &fixture.node);
      auto there = ServiceTable::open(fixture.datapath, &busy);
      if (!here || !there) return false;
      for (;;)  // to and fro, so that there is always something to write
        if (!there->refresh_node_addresses() || !here->refresh_node_addresses()) return false;
    });
    ::usleep(3000 + round * 137);
    REQUIRE(::kill(child, SIGKILL) == 0);
    (void)wait_for(child);
    if ((table().sequence & 1) != 0) {
      ++interrupted;
      CHECK(table().has_node_addresses == 0);
    }
    CHECK(fixture.refresh() == addresses({"192.0.2.1", "2001:db8::1"}));
    CHECK(flagged() == addresses({"192.0.2.1", "2001:db8::1"}));
    fixture.check_entries();
  }
  MESSAGE("interrupted in the middle: " << interrupted << " of 60");
}
