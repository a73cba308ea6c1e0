// Networks of different names on one bridge: each sees its own attachments, and nobody's is taken away with the bridge.
#include <doctest/doctest.h>

#include <utility>

#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

namespace {

NetworkOptions named(const char* name) {
  NetworkOptions options = network_options();
  options.name = name;
  return options;
}

// Two networks with the same subnets on the same bridge, each with a pod.
struct Fixture : NetworkFixture {
  Network other = must(Network::open(datapath, named("blue")));
  std::vector<Netns> pods = make_pods(2);
  Attachment red_pod = must(network.attach({id("red-1"), &pods[0]}));
  Attachment blue_pod = must(other.attach({id("blue-1"), &pods[1]}));

  Fixture() : NetworkFixture(named("red")) {}
  ~Fixture() { must(other.reconcile(std::span<const AttachmentId>{})); }
};

std::vector<AttachmentId> ids_of(const Network& network) {
  std::vector<AttachmentId> out;
  for (const Attachment& one : must(network.list())) out.push_back(one.id);
  return out;
}

}  // namespace

TEST_CASE("networks of two names on one bridge list, find and check their own") {
  Fixture fixture;
  CHECK(fixture.network.bridge_ifindex() == fixture.other.bridge_ifindex());
  CHECK(ids_of(fixture.network) == std::vector{id("red-1")});
  CHECK(ids_of(fixture.other) == std::vector{id("blue-1")});
  auto missing = fixture.network.find(id("blue-1"));
  REQUIRE_FALSE(missing);
  check_error(missing.error(), Errc::not_found, "find blue-1/eth0: there is no such attachment");
  auto unchecked = fixture.network.check(id("blue-1"));
  REQUIRE_FALSE(unchecked);
  check_error(unchecked.error(), Errc::not_found, "there is no such attachment");
  CHECK(fixture.red_pod.addresses[0].address == ip("10.200.0.2"));
  CHECK(fixture.blue_pod.addresses[0].address == ip("10.200.0.3"));
  CHECK(reaches(fixture.pods[0], fixture.pods[1], ip("10.200.0.3")));
  check_well(fixture.network);
  check_well(fixture.other);
  Pods("pods").clear();
  for (const Deviation& one : must(fixture.network.check())) CHECK(one.id == id("red-1"));
  CHECK(must(fixture.other.reconcile()).repaired == std::vector{id("blue-1")});
  CHECK(must(fixture.network.reconcile()).repaired == std::vector{id("red-1")});
}

TEST_CASE("a network neither detaches, abandons nor reconciles away what another one of its bridge has") {
  Fixture fixture;
  const Census before = Census::take();
  must(fixture.network.detach(id("blue-1")));
  must(fixture.network.abandon(id("blue-1")));
  CHECK(to_string(Census::take()) == to_string(before));
  const ReconcileReport report = must(fixture.network.reconcile(std::span<const AttachmentId>{}));
  CHECK(report.detached == std::vector{id("red-1")});
  CHECK(report.released.empty());
  CHECK(ids_of(fixture.other) == std::vector{id("blue-1")});
  CHECK(must(fixture.other.check(id("blue-1"), &fixture.pods[1])).empty());
  CHECK(Census::take().leases == 2);
}

TEST_CASE("an id is attached once, whatever the network") {
  Fixture fixture;
  const Netns pod = must(Netns::create());
  const Census before = Census::take();
  for (const Netns* netns : {&pod, &std::as_const(fixture.pods[1])}) {
    auto refused = fixture.network.attach({id("blue-1"), netns});
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::already_exists, "attach blue-1/eth0: it is attached to another network");
    CHECK(to_string(Census::take()) == to_string(before));
  }
  must(fixture.other.detach(id("blue-1")));
  must(fixture.network.attach({id("blue-1"), &fixture.pods[1]}));
  CHECK(ids_of(fixture.network).size() == 2);
  check_well(fixture.network);
}

TEST_CASE("what is left of another network's attachment whose pod is gone is no obstacle") {
  Fixture fixture;
  const std::size_t leases = Census::take().leases;
  NetworkOptions options = network_options("patu1", "10.201.0.0/24", "fd00:201::/64");
  Network third = must(Network::open(fixture.datapath, options));
  {
    const Netns pod = must(Netns::create());
    must(third.attach({id("web-1"), &pod}));
  }
  const Netns pod = must(Netns::create());
  const Attachment web = must(fixture.network.attach({id("web-1"), &pod}));
  CHECK(web.addresses[0].address == ip("10.200.0.4"));
  CHECK(Census::take().leases == leases + 2);
  check_well(third);
  must(fixture.network.detach(id("web-1")));
  must(third.remove());
  CHECK(Census::take().leases == leases);
  // Whether attach() met the interface, or it had gone with its pod, and its entries are reconcile()'s to sweep.
  must(fixture.network.reconcile());
  CHECK(Census::take().pods == 6);
}

TEST_CASE("a bridge with anybody's pods on it is not removed") {
  Fixture fixture;
  must(fixture.network.detach(id("red-1")));
  auto refused = fixture.network.remove();
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::busy, fixture.blue_pod.host_ifname.c_str());
  CHECK(reaches(here(), fixture.pods[1], fixture.blue_pod.addresses[0].address));
}

TEST_CASE("whoever makes a lost bridge anew, each network puts its own pods back on it") {
  Fixture fixture;
  output_of("ip link del patu0");
  fixture.network = must(Network::open(fixture.datapath, named("red")));
  check_well(fixture.network);
  CHECK(must(fixture.other.check()).size() >= 1);
  fixture.other = must(Network::open(fixture.datapath, named("blue")));
  check_well(fixture.network);
  check_well(fixture.other);
  CHECK(reaches(fixture.pods[0], fixture.pods[1], fixture.blue_pod.addresses[0].address));
  CHECK(reaches(here(), fixture.pods[1], fixture.blue_pod.addresses[1].address));
}

TEST_CASE("a network without a name has its bridge's") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  const Network same = must(Network::open(fixture.datapath, named("patu0")));
  CHECK(ids_of(same) == std::vector{id("web-1")});
  const Network other = must(Network::open(fixture.datapath, named("patu00")));
  CHECK(ids_of(other).empty());
}
