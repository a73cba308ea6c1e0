// Networks and pods that are not the ordinary case: requested addresses, one family, no gateway, two networks, another namespace.
#include <doctest/doctest.h>

#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

TEST_CASE("requested addresses and MAC are given, and the node reaches the pod in spite of what it had learnt") {
  NetworkFixture fixture;
  const Netns node = here();
  const MacAddress wanted = *MacAddress::parse("0a:11:22:33:44:55");
  for (int round = 0; round < 2; ++round) {
    const Netns pod = must(Netns::create());
    PodSpec spec{id("web-" + std::to_string(round)), &pod, {ip("fd00:200::77"), ip("10.200.0.77")}};
    if (round == 0) spec.mac = wanted;
    const Attachment web = must(fixture.network.attach(spec));
    CHECK(web.addresses == std::vector<InterfaceAddress>{{ip("10.200.0.77"), 24}, {ip("fd00:200::77"), 64}});
    CHECK((web.mac == wanted) == (round == 0));
    CHECK(output_in(pod, "ip -o link show dev eth0").find(web.mac.to_string()) != std::string::npos);
    for (const InterfaceAddress& address : web.addresses) CHECK(reaches(node, pod, address.address));
    must(fixture.network.detach(spec.id));
  }
}

TEST_CASE("one address family alone is enough") {
  for (const bool v4 : {true, false}) {
    NetworkFixture fixture(network_options("patu0", v4 ? "10.200.0.0/24" : nullptr, v4 ? nullptr : "fd00:200::/64"));
    const auto pods = make_pods(2);
    const Attachment a = fixture.attach("a", pods[0]);
    const Attachment b = fixture.attach("b", pods[1]);
    REQUIRE(a.addresses.size() == 1);
    CHECK(a.addresses[0].address == ip(v4 ? "10.200.0.2" : "fd00:200::2"));
    CHECK(a.mac != b.mac);
    CHECK(reaches(pods[0], pods[1], b.addresses[0].address));
    CHECK(reaches(here(), pods[0], a.addresses[0].address));
    CHECK(Pods("pods").size() == (v4 ? 2 : 4));
    check_well(fixture.network);
  }
}

TEST_CASE("without gateway and default route neither bridge nor pod has them") {
  NetworkOptions options = network_options();
  options.gateway = false;
  options.default_route = false;
  NetworkFixture fixture(options);
  const auto pods = make_pods(2);
  fixture.attach("a", pods[0]);
  const Attachment b = fixture.attach("b", pods[1]);
  CHECK(output_of("ip -o addr show dev patu0").find("10.200.0.1") == std::string::npos);
  CHECK(output_in(pods[0], "ip route; ip -6 route").find("default") == std::string::npos);
  CHECK(reaches(pods[0], pods[1], b.addresses[0].address));
  const Netns& pod = pods[0];
  CHECK(must(fixture.network.check(id("a"), &pod)).empty());
}

TEST_CASE("a pod can have interfaces on two networks of an instance") {
  NetworkFixture fixture;
  NetworkOptions options = network_options("patu1", "10.201.0.0/24", "fd00:201::/64");
  options.default_route = false;
  Network second = must(Network::open(fixture.datapath, options));
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  const AttachmentId other = *AttachmentId::parse("web-1", "eth1");
  const Attachment attached = must(second.attach({other, &pod}));
  CHECK(attached.addresses[0].address == ip("10.201.0.2"));
  CHECK(reaches(here(), pod, ip("10.200.0.2")));
  CHECK(reaches(here(), pod, ip("10.201.0.2")));
  CHECK(must(fixture.network.list()).size() == 1);
  CHECK(must(second.list()).size() == 1);

  auto moved = second.attach({id("web-1"), &pod});
  REQUIRE_FALSE(moved);
  check_error(moved.error(), Errc::already_exists, "attach web-1/eth0: it is attached to another network");
  must(second.detach(id("web-1")));
  CHECK(must(fixture.network.list()).size() == 1);
  CHECK(must(fixture.network.reconcile()).detached.empty());
  check_well(fixture.network);
  check_well(second);
  CHECK(must(second.reconcile(std::span<const AttachmentId>{})).detached == std::vector{other});
  must(second.remove());
  check_well(fixture.network);
  CHECK(reaches(here(), pod, ip("10.200.0.2")));
}

TEST_CASE("a network can live in another namespace than its caller") {
  InstanceFixture fixture;
  const Netns node = must(Netns::create());
  NetworkOptions options = network_options();
  options.netns = &node;
  const std::size_t interfaces = count_of(output_of("ip -o link"), "\n");
  Network network = must(Network::open(fixture.datapath, options));
  const auto pods = make_pods(2);
  must(network.attach({id("a"), &pods[0]}));
  const Attachment b = must(network.attach({id("b"), &pods[1]}));
  CHECK(count_of(output_of("ip -o link"), "\n") == interfaces);
  CHECK(count_of(output_in(node, "ip -o link"), "veth") == 2);
  CHECK(reaches(pods[0], pods[1], b.addresses[0].address));
  CHECK(reaches(node, pods[1], b.addresses[1].address));
  check_well(network);
  SUBCASE("and no other namespace can use the instance meanwhile") {
    auto refused = Network::open(fixture.datapath, network_options());
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::busy, "has pods whose bridge is in another network namespace");
    CHECK(output_of("ip -o link").find("patu0") == std::string::npos);
  }
  must(network.detach(id("a")));
  must(network.detach(id("b")));
  CHECK(count_of(output_in(node, "ip -o link"), "veth") == 0);
  must(network.remove());
  Network mine = must(Network::open(fixture.datapath, network_options()));
  must(mine.remove());
}
