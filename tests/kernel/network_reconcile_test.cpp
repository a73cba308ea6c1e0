// Checking and reconciling: what was lost or left behind is seen, and put right.
#include <doctest/doctest.h>

#include "names.hpp"
#include "network/node.hpp"
#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

namespace {

struct Fixture : NetworkFixture {
  Netns pod = must(Netns::create());
  Attachment web = attach("web-1", pod);
  std::string port = web.host_ifname.to_string();

  std::string findings() {
    std::string out;
    for (const Deviation& one : must(network.check(id("web-1"), &pod))) {
      CHECK(one.id == id("web-1"));
      out += one.what + "\n";
    }
    return out;
  }
  void check_found(const std::string& text) {
    const std::string found = findings();
    CHECK_MESSAGE(found.find(text) != std::string::npos, found);
  }
  // Everything is well afterwards, and a second time there is nothing to do.
  ReconcileReport check_repaired() {
    ReconcileReport report = must(network.reconcile());
    CHECK(report.repaired == std::vector{id("web-1")});
    CHECK(report.detached.empty());
    CHECK(report.released.empty());
    CHECK(findings() == "");
    const ReconcileReport again = must(network.reconcile());
    CHECK(again.repaired.empty());
    CHECK(again.detached.empty());
    CHECK(again.released.empty());
    CHECK(reaches(here(), pod, web.addresses[0].address));
    CHECK(reaches(here(), pod, web.addresses[1].address));
    return report;
  }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("nothing is to be said about, and nothing to be done to, what is as it was left") {
  Fixture fixture;
  CHECK(fixture.findings() == "");
  check_well(fixture.network);
  const Census before = Census::take();
  const ReconcileReport report = must(fixture.network.reconcile());
  CHECK(report.detached.empty());
  CHECK(report.released.empty());
  CHECK(report.repaired.empty());
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("checking what is not attached says so") {
  Fixture fixture;
  auto refused = fixture.network.check(id("never"));
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::not_found, "check never/eth0: there is no such attachment");
}

TEST_CASE("lost map entries are seen and put back") {
  Fixture fixture;
  SUBCASE("pods") {
    Pods("pods").clear();
    fixture.check_found("the map 'pods' has not 10.200.0.2");
    fixture.check_found("the map 'pods' has not fd00:200::2");
    fixture.check_found("the map 'pods' has not its link-local address");
  }
  SUBCASE("leases") {
    Leases("leases").clear();
    fixture.check_found("10.200.0.2 is not leased");
    fixture.check_found("fd00:200::2 is not leased");
  }
  SUBCASE("attachments") {
    Attachments("attachments").clear();
    fixture.check_found("the map 'attachments' has not its addresses");
  }
  SUBCASE("a wrong entry") {
    const Pods pods("pods");
    for (auto [key, pod] : pods.all()) {
      pod.mac[5] ^= 1;
      pods.put(key, pod);
    }
    fixture.check_found("the map 'pods' has not 10.200.0.2");
  }
  CHECK(must(fixture.network.check()).size() >= 1);
  fixture.check_repaired();
}

TEST_CASE("lost properties of the port are seen and put back") {
  Fixture fixture;
  SUBCASE("the bridge") {
    output_of("ip link set " + fixture.port + " nomaster");
    fixture.check_found("is not on bridge patu0");
  }
  SUBCASE("up") {
    output_of("ip link set " + fixture.port + " down");
    fixture.check_found(fixture.port + " is down");
  }
  SUBCASE("the program") {
    output_of("tc filter del dev " + fixture.port + " ingress");
    fixture.check_found("does not run the pod program");
  }
  SUBCASE("the qdisc with the program") {
    output_of("tc qdisc del dev " + fixture.port + " clsact");
    fixture.check_found("does not run the pod program");
  }
  fixture.check_repaired();
}

TEST_CASE("a port that somebody put on another bridge is put back, and can be detached there") {
  Fixture fixture;
  output_of("ip link add other type bridge; ip link set other up; ip link set " + fixture.port + " master other");
  fixture.check_found("is not on bridge patu0");
  SUBCASE("put back") { fixture.check_repaired(); }
  SUBCASE("detached") {
    must(fixture.network.detach(id("web-1")));
    CHECK(must(fixture.network.list()).empty());
    CHECK(Census::take().leases == 0);
  }
  output_of("ip link del other");
  check_well(fixture.network);
}

TEST_CASE("attaching again puts back what the outside has lost, without touching the interface") {
  Fixture fixture;
  Pods("pods").clear();
  output_of("tc qdisc del dev " + fixture.port + " clsact");
  CHECK(fixture.attach("web-1", fixture.pod).host_ifindex == fixture.web.host_ifindex);
  CHECK(fixture.findings() == "");
}

TEST_CASE("what the pod has lost inside is seen, and attaching again makes it anew with its addresses") {
  Fixture fixture;
  SUBCASE("an address") {
    output_in(fixture.pod, "ip addr del 10.200.0.2/24 dev eth0");
    fixture.check_found("the pod's eth0 has not 10.200.0.2/24");
  }
  SUBCASE("a route") {
    output_in(fixture.pod, "ip -6 route del default");
    fixture.check_found("the pod has not the route ::/0 via fd00:200::1");
  }
  SUBCASE("up") {
    output_in(fixture.pod, "ip link set eth0 down");
    fixture.check_found("the pod's eth0 is down");
  }
  SUBCASE("loopback") {
    output_in(fixture.pod, "ip link set lo down");
    fixture.check_found("the pod's lo is down");
  }
  SUBCASE("its MTU") {
    output_in(fixture.pod, "ip link set eth0 mtu 1300");
    fixture.check_found("the pod's eth0 has an MTU of 1300, not 1500");
  }
  SUBCASE("its MAC") {
    output_in(fixture.pod, "ip link set eth0 address 0a:00:00:00:00:09");
    fixture.check_found("the pod's eth0 has MAC 0a:00:00:00:00:09");
  }
  SUBCASE("its name") {
    output_in(fixture.pod, "ip link set eth0 down; ip link set eth0 name other");
    fixture.check_found("the pod has no interface eth0 that belongs to " + fixture.port);
  }
  // The pod may have done so on purpose.
  CHECK(must(fixture.network.reconcile()).detached.empty());
  const Attachment again = fixture.attach("web-1", fixture.pod);
  CHECK(again.addresses == fixture.web.addresses);
  CHECK(fixture.findings() == "");
  CHECK(reaches(here(), fixture.pod, again.addresses[0].address));
}

TEST_CASE("a pod that sets its own interface down stays attached") {
  Fixture fixture;
  output_in(fixture.pod, "ip link set eth0 down");
  const auto deviations = must(fixture.network.check());
  REQUIRE(deviations.size() == 1);
  CHECK(contains(deviations[0].what, "the pod's end of " + fixture.port + " is down"));
  const ReconcileReport report = must(fixture.network.reconcile());
  CHECK(report.detached.empty());
  CHECK(report.repaired.empty());
  CHECK(must(fixture.network.list()).size() == 1);
}

TEST_CASE("an interface that was deleted by somebody else is seen, and its addresses are given back") {
  Fixture fixture;
  output_of("ip link del " + fixture.port);
  fixture.check_found("its interface " + fixture.port + " is gone");
  CHECK(must(fixture.network.check()).size() == 1);
  const ReconcileReport report = must(fixture.network.reconcile());
  CHECK(report.released == std::vector{ip("10.200.0.2"), ip("fd00:200::2")});
  CHECK(report.detached.empty());
  const Census after = Census::take();
  CHECK(after.leases == 0);
  CHECK(after.attachments == 0);
  CHECK(after.pods == 0);
}

TEST_CASE("an interface that was deleted by somebody else can be detached and attached") {
  Fixture fixture;
  output_of("ip link del " + fixture.port);
  SUBCASE("detached") {
    must(fixture.network.detach(id("web-1")));
    CHECK(must(fixture.network.reconcile()).released.empty());
  }
  SUBCASE("attached, with the addresses that it has") {
    const Attachment again = fixture.attach("web-1", fixture.pod);
    CHECK(again.addresses == fixture.web.addresses);
    CHECK(fixture.findings() == "");
  }
  SUBCASE("attached, with other addresses") {
    const Attachment again = must(fixture.network.attach({id("web-1"), &fixture.pod, {ip("10.200.0.50")}}));
    CHECK(again.addresses[0].address == ip("10.200.0.50"));
    CHECK(again.addresses[1] == fixture.web.addresses[1]);
    CHECK(fixture.findings() == "");
    CHECK(must(fixture.network.reconcile()).released.empty());
  }
}

TEST_CASE("reconciling with a list detaches what is not in it, and only that") {
  Fixture fixture;
  const auto pods = make_pods(3);
  for (std::size_t i = 0; i < pods.size(); ++i) fixture.attach("pod-" + std::to_string(i), pods[i]);
  const std::vector keep{id("web-1"), id("pod-1"), id("never")};
  ReconcileReport report = must(fixture.network.reconcile(keep));
  std::sort(report.detached.begin(), report.detached.end());
  CHECK(report.detached == std::vector{id("pod-0"), id("pod-2")});
  CHECK(report.released.empty());
  CHECK(report.repaired.empty());
  CHECK(must(fixture.network.list()).size() == 2);
  check_well(fixture.network);
  CHECK(Census::take().leases == 4);
}

TEST_CASE("a lease that belongs to nothing is released, whatever it says of its owner") {
  Fixture fixture;
  AddressPool pool = must(AddressPool::open(fixture.datapath, fixture.network_options_.subnets[0]));
  CHECK(must(pool.acquire(id("ghost"))) == ip("10.200.0.3"));
  AddressPool elsewhere = must(AddressPool::open(fixture.datapath, {*Prefix::parse("10.77.0.0/24")}));
  CHECK(must(elsewhere.acquire(id("other"))) == ip("10.77.0.2"));
  const ReconcileReport report = must(fixture.network.reconcile());
  CHECK(report.released == std::vector{ip("10.200.0.3")});
  CHECK(*must(elsewhere.find(id("other"))) == ip("10.77.0.2"));
  CHECK(Census::take().leases == 3);
  CHECK(Census::take().attachments == 2);
}

TEST_CASE("entries of interfaces that are gone are swept from the programs' map") {
  Fixture fixture;
  const Pods pods("pods");
  patu_pod stale{};
  stale.ifindex = 999999;
  stale.bridge_ifindex = fixture.network.bridge_ifindex();
  pods.put(address_key(ip("10.200.0.66")), stale);
  CHECK(pods.size() == 4);
  must(fixture.network.reconcile());
  CHECK(pods.size() == 3);
  CHECK(fixture.findings() == "");
}

TEST_CASE("two leases for one interface's address: the wrong owner is named, and nothing is torn down") {
  Fixture fixture;
  const Leases leases("leases");
  for (auto [key, lease] : leases.all()) {
    lease.container_id[0] = 'x';
    if (to_address(key) == ip("10.200.0.2")) leases.put(key, lease);
  }
  fixture.check_found("10.200.0.2 is leased to somebody else");
  // The lease is nobody's whom the node knows, and so is swept; the next time the right one is put back.
  must(fixture.network.reconcile());
  must(fixture.network.reconcile());
  CHECK(fixture.findings() == "");
}

TEST_CASE("an interface that goes while it is repaired leaves no lease and no entry") {
  Fixture fixture;
  auto node = must(network::open_node(fixture.datapath, network_options()));
  const auto port = must(network::find_port(node, id("web-1")));
  REQUIRE(port);
  output_of("ip link del " + fixture.port);
  CHECK_FALSE(must(network::restore_port(node, *port)));
  CHECK(Leases("leases").size() == 0);
  CHECK(Attachments("attachments").size() == 0);
  CHECK(Pods("pods").size() == 0);
}
