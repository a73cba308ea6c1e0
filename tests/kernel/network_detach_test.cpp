// Detaching and abandoning pods, alone and in batches, and giving their addresses to others.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "network_fixture.hpp"
#include "patu/patu.hpp"

using namespace patu;
using namespace patu::test;

TEST_CASE("detaching takes everything away, works twice, and works for what never was") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  const Census before = Census::take();
  const Attachment web = fixture.attach("web-1", pod);
  CHECK(Census::take().interfaces == before.interfaces + 1);
  must(fixture.network.detach(id("web-1")));
  CHECK(to_string(Census::take()) == to_string(before));
  CHECK(output_of("ip -o link").find(web.host_ifname.to_string()) == std::string::npos);
  CHECK(output_in(pod, "ip -o link").find("eth0") == std::string::npos);
  must(fixture.network.detach(id("web-1")));
  must(fixture.network.detach(id("never")));
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("a pod whose namespace is gone is detached, and its id can be attached anew") {
  NetworkFixture fixture;
  const Census before = Census::take();
  {
    const Netns pod = must(Netns::create());
    fixture.attach("web-1", pod);
  }
  {
    const Netns pod = must(Netns::create());
    // Whether the kernel has taken the interface away by now or not.
    const Attachment web = fixture.attach("web-1", pod);
    CHECK(reaches(here(), pod, web.addresses[0].address));
  }
  must(fixture.network.detach(id("web-1")));
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("an address is reachable at once when the next pod gets it") {
  NetworkFixture fixture(network_options("patu0", "10.200.0.0/29", "fd00:200::/125"));
  const Netns node = here();
  const auto others = make_pods(1);
  fixture.attach("other", others[0]);
  for (int round = 0; round < 12; ++round) {
    const Netns pod = must(Netns::create());
    const std::string name = "pod-" + std::to_string(round);
    const Attachment web = fixture.attach(name, pod);
    for (const InterfaceAddress& address : web.addresses) {
      CHECK(reaches(node, pod, address.address));
      CHECK(reaches(others[0], pod, address.address));
    }
    must(fixture.network.detach(id(name)));
    // The families are given back in another order than they were taken, so that pairs do not repeat.
    if (round % 3 == 0)
      must(must(AddressPool::open(fixture.datapath, fixture.network_options_.subnets[1])).release(id(name)));
  }
}

TEST_CASE("an abandoned pod is cut off and its address is free, before its namespace goes") {
  NetworkFixture fixture;
  const Netns node = here();
  const Netns pod = must(Netns::create());
  const Attachment web = fixture.attach("web-1", pod);
  must(fixture.network.abandon(id("web-1")));
  must(fixture.network.abandon(id("web-1")));
  must(fixture.network.abandon(id("never")));
  Census census = Census::take();
  CHECK(census.leases == 0);
  CHECK(census.attachments == 0);
  CHECK(census.pods == 0);
  CHECK(must(fixture.network.list()).empty());
  check_well(fixture.network);
  const std::string port = output_of("ip -o link show dev " + web.host_ifname.to_string());
  CHECK(port.find("master") == std::string::npos);
  CHECK(port.find("state DOWN") != std::string::npos);
  const Netns next = must(Netns::create());
  const Attachment heir = must(fixture.network.attach({id("web-2"), &next, {ip("10.200.0.2"), ip("fd00:200::2")}}));
  for (const InterfaceAddress& address : heir.addresses) CHECK(reaches(node, next, address.address));
  SUBCASE("the same id can be attached again, in another namespace") {
    const Netns other = must(Netns::create());
    const Attachment again = fixture.attach("web-1", other);
    CHECK(reaches(node, other, again.addresses[0].address));
    check_well(fixture.network);
  }
  SUBCASE("what was abandoned is removed by reconcile without being reported") {
    const ReconcileReport report = must(fixture.network.reconcile());
    CHECK(report.detached.empty());
    CHECK(report.released.empty());
    CHECK(output_of("ip -o link").find(web.host_ifname.to_string()) == std::string::npos);
    check_well(fixture.network);
  }
  for (const InterfaceAddress& address : heir.addresses) CHECK(reaches(node, next, address.address));
}

TEST_CASE("a batch attaches and detaches all, in the order of the specs") {
  NetworkFixture fixture;
  constexpr std::size_t kPods = 45;
  const auto pods = make_pods(kPods);
  const Census before = Census::take();
  std::vector<PodSpec> specs;
  std::vector<AttachmentId> ids;
  for (std::size_t i = 0; i < kPods; ++i) {
    ids.push_back(id("pod-" + std::to_string(i)));
    specs.push_back({ids.back(), &pods[i]});
  }
  const auto attached = must(fixture.network.attach(specs));
  REQUIRE(attached.size() == kPods);
  std::set<IpAddress> addresses;
  for (std::size_t i = 0; i < kPods; ++i) {
    CHECK(attached[i].id == ids[i]);
    for (const InterfaceAddress& address : attached[i].addresses) {
      addresses.insert(address.address);
      CHECK(output_in(pods[i], "ip -o addr").find(address.to_string()) != std::string::npos);
    }
  }
  CHECK(addresses.size() == 2 * kPods);
  CHECK(reaches(pods[0], pods[kPods - 1], attached[kPods - 1].addresses[0].address));
  check_well(fixture.network);
  const auto again = must(fixture.network.attach(specs));
  for (std::size_t i = 0; i < kPods; ++i) CHECK(again[i].host_ifindex == attached[i].host_ifindex);
  const auto listed = must(fixture.network.list());
  CHECK(listed.size() == kPods);
  CHECK(std::is_sorted(listed.begin(), listed.end(),
                       [](const Attachment& a, const Attachment& b) { return a.id < b.id; }));
  must(fixture.network.detach(ids));
  must(fixture.network.detach(ids));
  CHECK(to_string(Census::take()) == to_string(before));
}
