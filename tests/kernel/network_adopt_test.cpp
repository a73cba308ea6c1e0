// Adopting a network: nothing is made, and what is there can be looked at, repaired and taken away with whatever options.
#include <doctest/doctest.h>

#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

namespace {

NetworkOptions bare_options() { return network_options("patu0", nullptr, nullptr); }

struct Fixture : NetworkFixture {
  Netns pod = must(Netns::create());
  Attachment web = attach("web-1", pod);
};

}  // namespace

TEST_CASE("adopting makes nothing, not even where there is nothing") {
  InstanceFixture fixture;
  const std::string before = output_of("ip -o addr; ip -o link");
  Network network = must(Network::adopt(fixture.datapath, network_options()));
  CHECK(network.bridge_ifindex() == 0);
  CHECK(network.bridge_mac().is_zero());
  CHECK(must(network.list()).empty());
  CHECK(must(network.check()).empty());
  must(network.detach(id("never")));
  must(network.abandon(id("never")));
  must(network.remove());
  const Netns pod = must(Netns::create());
  auto refused = network.attach({id("web-1"), &pod});
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::not_found, "bridge patu0 is gone");
  CHECK(must(network.reconcile(std::span<const AttachmentId>{})).detached.empty());
  CHECK(output_of("ip -o addr; ip -o link") == before);
}

TEST_CASE("an interface of that name that is no bridge is none") {
  InstanceFixture fixture;
  output_of("ip link add patu0 type veth peer name patu0-peer");
  Network network = must(Network::adopt(fixture.datapath, network_options()));
  CHECK(network.bridge_ifindex() == 0);
  must(network.remove());
  CHECK(count_of(output_of("ip -o link show dev patu0"), "patu0") >= 1);
  output_of("ip link del patu0");
}

TEST_CASE("bad options are refused where they count") {
  NetworkFixture fixture;
  NetworkOptions options = network_options("patu0", "10.200.0.0/31");
  auto refused = Network::adopt(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::invalid_argument, "adopt network patu0");
  // Two that attach() alone asks for.
  options = network_options();
  options.mtu = 12;
  for (const NetworkOptions& unfit : {options, bare_options()}) {
    Network network = must(Network::adopt(fixture.datapath, unfit));
    const Netns pod = must(Netns::create());
    const Census before = Census::take();
    auto unattached = network.attach({id("web-1"), &pod});
    REQUIRE_FALSE(unattached);
    CHECK(unattached.error().code() == Errc::invalid_argument);
    CHECK(to_string(Census::take()) == to_string(before));
  }
}

TEST_CASE("an adopted network is the opened one for every verb") {
  Fixture fixture;
  Network network = must(Network::adopt(fixture.datapath, network_options()));
  CHECK(network.bridge_ifindex() == fixture.network.bridge_ifindex());
  CHECK(network.bridge_mac() == fixture.network.bridge_mac());
  CHECK(must(network.find(id("web-1"))).addresses == fixture.web.addresses);
  CHECK(must(network.check(id("web-1"), &fixture.pod)).empty());
  const Netns pod = must(Netns::create());
  const Attachment next = must(network.attach({id("web-2"), &pod}));
  CHECK(reaches(fixture.pod, pod, next.addresses[0].address));
  check_well(network);
  Pods("pods").clear();
  CHECK(must(network.reconcile()).repaired.size() == 2);
  check_well(fixture.network);
  must(network.detach(id("web-2")));
  CHECK(must(network.list()).size() == 1);
}

TEST_CASE("whoever adopts a network without its subnets can look at it and take it away, addresses included") {
  Fixture fixture;
  NetworkOptions other = network_options("patu0", "10.99.0.0/24", nullptr);
  other.mtu = 9000;
  for (const NetworkOptions& options : {bare_options(), other}) {
    const Attachment web = fixture.attach("web-1", fixture.pod);
    Network network = must(Network::adopt(fixture.datapath, options));
    CHECK(must(network.find(id("web-1"))).addresses[0].address == web.addresses[0].address);
    CHECK(must(network.list()).size() == 1);
    SUBCASE("detached") { must(network.detach(id("web-1"))); }
    SUBCASE("abandoned") { must(network.abandon(id("web-1"))); }
    SUBCASE("reconciled away") {
      CHECK(must(network.reconcile(std::span<const AttachmentId>{})).detached == std::vector{id("web-1")});
    }
    SUBCASE("after its interface went") {
      output_of("ip link del " + web.host_ifname.to_string());
      const auto deviations = must(network.check(id("web-1")));
      REQUIRE(deviations.size() == 1);
      CHECK(deviations[0].what.find("is gone") != std::string::npos);
      must(network.detach(id("web-1")));
    }
    SUBCASE("after the maps lost its record") {
      Attachments("attachments").clear();
      must(network.detach(id("web-1")));
    }
    CHECK(must(network.list()).empty());
    CHECK(Census::take().leases == 0);
    CHECK(Census::take().attachments == 0);
    CHECK(Census::take().pods == 0);
  }
  CHECK(fixture.attach("web-1", fixture.pod).addresses.size() == 2);
}

TEST_CASE("without its own subnets a check of the inside finds nothing wrong") {
  Fixture fixture;
  const Network network = must(Network::adopt(fixture.datapath, bare_options()));
  for (const Deviation& one : must(network.check(id("web-1"), &fixture.pod))) FAIL_CHECK(one.what);
  output_in(fixture.pod, "ip addr del 10.200.0.2/24 dev eth0");
  CHECK(must(network.check(id("web-1"), &fixture.pod)).size() == 1);
  CHECK(fixture.attach("web-1", fixture.pod).addresses == fixture.web.addresses);
}

TEST_CASE("reopening with another subnet leaves no lease behind when a pod of the former one is detached") {
  InstanceFixture fixture;
  const Netns pod = must(Netns::create());
  {
    Network network = must(Network::open(fixture.datapath, network_options()));
    must(network.attach({id("web-1"), &pod}));
  }
  NetworkOptions options = network_options("patu0", "10.77.0.0/24", "fd00:77::/64");
  options.force_gateway = true;
  Network network = must(Network::open(fixture.datapath, options));
  CHECK(must(network.list()).size() == 1);
  must(network.detach(id("web-1")));
  const Census after = Census::take();
  CHECK(after.leases == 0);
  CHECK(after.attachments == 0);
  CHECK(must(network.attach({id("web-1"), &pod})).addresses[0].address == ip("10.77.0.2"));
  must(network.detach(id("web-1")));
  must(network.remove());
}

TEST_CASE("where the bridge is gone, what is left can be seen, repaired and taken away") {
  Fixture fixture;
  output_of("ip link del patu0");
  Network network = must(Network::adopt(fixture.datapath, network_options()));
  CHECK(network.bridge_ifindex() == 0);
  CHECK(must(network.list()).size() == 1);
  const auto deviations = must(network.check(id("web-1"), &fixture.pod));
  REQUIRE(deviations.size() == 1);
  CHECK(deviations[0].what == "bridge patu0 is gone");
  Leases("leases").clear();
  CHECK(must(network.reconcile()).repaired == std::vector{id("web-1")});
  CHECK(must(network.reconcile()).repaired.empty());
  CHECK(must(network.check()).size() == 1);
  auto busy = network.remove();
  REQUIRE_FALSE(busy);
  check_error(busy.error(), Errc::busy, "web-1/eth0 is attached");
  SUBCASE("detached") {
    must(network.detach(id("web-1")));
    CHECK(Census::take().leases == 0);
    CHECK(Census::take().pods == 0);
  }
  SUBCASE("put back by opening") {
    fixture.network = must(Network::open(fixture.datapath, network_options()));
    check_well(fixture.network);
    CHECK(reaches(here(), fixture.pod, fixture.web.addresses[0].address));
  }
}

TEST_CASE("an instance that serves another namespace is busy") {
  Fixture fixture;
  const Netns node = must(Netns::create());
  NetworkOptions options = network_options();
  options.netns = &node;
  auto refused = Network::adopt(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::busy, "serves another network namespace");
}

TEST_CASE("after the maps were lost, an adopted network takes its pods away or enters them again") {
  const Netns pod = must(Netns::create());
  {
    InstanceFixture fixture;
    must(must(Network::open(fixture.datapath, network_options())).attach({id("web-1"), &pod}));
  }
  InstanceFixture fixture;
  Network network = must(Network::adopt(fixture.datapath, network_options()));
  CHECK(must(network.list()).size() == 1);
  SUBCASE("taken away") { must(network.detach(id("web-1"))); }
  SUBCASE("entered") {
    CHECK(must(network.reconcile()).repaired == std::vector{id("web-1")});
    check_well(network);
    CHECK(reaches(here(), pod, ip("10.200.0.2")));
    must(network.detach(id("web-1")));
  }
  CHECK(Census::take().leases == 0);
  must(network.remove());
  CHECK(count_of(output_of("ip -o link"), "patu0") == 0);
}
