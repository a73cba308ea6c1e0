// Attaching, finding and listing pods, against a real kernel.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "names.hpp"
#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

TEST_CASE("an attached pod has interface, MAC, addresses, routes, MTU and loopback, and the node has its port") {
  NetworkOptions options = network_options();
  options.mtu = 1400;
  NetworkFixture fixture(options);
  const Netns pod = must(Netns::create());
  const Attachment web = fixture.attach("web-1", pod);

  CHECK(web.id == id("web-1"));
  CHECK(web.addresses == std::vector<InterfaceAddress>{{ip("10.200.0.2"), 24}, {ip("fd00:200::2"), 64}});
  CHECK(web.gateways == std::vector{ip("10.200.0.1"), ip("fd00:200::1")});
  CHECK(web.mac.to_string() == "0a:58:0a:c8:00:02");
  CHECK(web.host_mac == host_mac(web.host_ifname));
  CHECK(web.mtu == 1400);
  CHECK_FALSE(web.socket_redirect);

  const std::string inside = output_in(pod, "ip -o addr; ip -o link");
  CHECK(count_of(inside, "inet 10.200.0.2/24 brd 10.200.0.255") == 1);
  CHECK(count_of(inside, "inet6 fd00:200::2/64") == 1);
  CHECK(count_of(inside, "inet6 fe80::858:aff:fec8:2/64") == 1);
  CHECK(count_of(inside, "link/ether 0a:58:0a:c8:00:02") == 1);
  CHECK(count_of(inside, "mtu 1400") == 1);
  CHECK(count_of(inside, "inet 127.0.0.1/8") == 1);
  CHECK(output_in(pod, "cat /proc/sys/net/ipv4/conf/eth0/arp_notify") == "1\n");
  CHECK(count_of(output_in(pod, "ip -o addr show to fd00:200::2 tentative"), "fd00") == 0);
  CHECK(count_of(output_in(pod, "ip route; ip -6 route"), "default via 10.200.0.1 dev eth0") == 1);
  CHECK(count_of(output_in(pod, "ip route; ip -6 route"), "default via fd00:200::1 dev eth0") == 1);

  const std::string outside = output_of("ip -d -o link show dev " + web.host_ifname.to_string());
  CHECK(count_of(outside, std::to_string(web.host_ifindex) + ": ") == 1);
  CHECK(count_of(outside, "link/ether " + web.host_mac.to_string()) == 1);
  for (const char* part : {"master patu0", "mtu 1400", "state UP", "alias patu2 ",
                           " web-1 eth0 10.200.0.2 fd000200000000000000000000000002 "})
    CHECK_MESSAGE(count_of(outside, part) == 1, outside);
  const std::string filter = output_of("tc filter show dev " + web.host_ifname.to_string() + " ingress");
  CHECK_MESSAGE(count_of(filter, "direct-action") == 1, filter);
}

TEST_CASE("the programs' map has each address of a pod, and its link-local one without a cookie") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  const Attachment web = fixture.attach("web-1", pod);
  std::map<IpAddress, patu_pod> entries;
  for (const auto& [key, value] : Pods("pods").all()) entries[to_address(key)] = value;
  REQUIRE(entries.size() == 3);
  for (const auto& [address, entry] : entries) {
    CHECK(entry.ifindex == web.host_ifindex);
    CHECK(entry.bridge_ifindex == fixture.network.bridge_ifindex());
    CHECK(std::equal(std::begin(entry.mac), std::end(entry.mac), web.mac.bytes().begin()));
    CHECK(entry.flags == 0);
  }
  CHECK(entries.at(ip("10.200.0.2")).netns_cookie == must(pod.cookie()));
  CHECK(entries.at(ip("fd00:200::2")).netns_cookie == must(pod.cookie()));
  const IpAddress link_local = to_address(patu_link_local(web.host_ifindex, web.mac.bytes().data()));
  CHECK(entries.at(link_local).netns_cookie == 0);
}

TEST_CASE("a pod is reached, and reaches, as soon as attach returns") {
  NetworkFixture fixture;
  const Netns node = here();
  const auto pods = make_pods(4);
  std::vector<Attachment> all;
  for (std::size_t i = 0; i < pods.size(); ++i) {
    all.push_back(fixture.attach("pod-" + std::to_string(i), pods[i]));
    for (std::size_t family : {0U, 1U}) {
      CHECK(reaches(node, pods[i], all[i].addresses[family].address));
      CHECK(reaches(pods[i], node, all[i].gateways[family]));
      if (i > 0) CHECK(reaches(pods[i], pods[i - 1], all[i - 1].addresses[family].address));
      if (i > 0) CHECK(reaches(pods[i - 1], pods[i], all[i].addresses[family].address));
    }
  }
}

TEST_CASE("attaching the same again changes nothing and gives the same") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  const Attachment first = fixture.attach("web-1", pod);
  const Census before = Census::take();
  const Attachment second = fixture.attach("web-1", pod);
  CHECK(second.host_ifindex == first.host_ifindex);
  CHECK(second.addresses == first.addresses);
  CHECK(second.gateways == first.gateways);
  CHECK(second.mac == first.mac);
  CHECK(second.mtu == first.mtu);
  CHECK(must(fixture.network.attach({id("web-1"), &pod, {ip("10.200.0.2")}, first.mac, false})).host_ifindex ==
        first.host_ifindex);
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("an id that is attached elsewhere or otherwise is refused, and stays as it is") {
  NetworkFixture fixture;
  const auto pods = make_pods(2);
  const Attachment web = fixture.attach("web-1", pods[0]);
  const Census before = Census::take();
  const auto refuse = [&](const PodSpec& spec, const char* text) {
    auto refused = fixture.network.attach(spec);
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::already_exists, text);
    CHECK(to_string(Census::take()) == to_string(before));
    check_well(fixture.network);
  };
  refuse({id("web-1"), &pods[1]}, "attach web-1/eth0: it is attached in another network namespace");
  refuse({id("web-1"), &pods[0], {ip("10.200.0.9")}}, "attach web-1/eth0: it has not the address 10.200.0.9");
  refuse({id("web-1"), &pods[0], {}, *MacAddress::parse("0a:00:00:00:00:01")}, "it has the MAC 0a:58:0a:c8:00:02");
  CHECK(must(fixture.network.find(id("web-1"))).host_ifindex == web.host_ifindex);
}

TEST_CASE("bad specs are refused and nothing is changed") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  const Netns node = here();
  const Census before = Census::take();
  const auto refuse = [&](const PodSpec& spec, Errc code, const char* text) {
    auto refused = fixture.network.attach(spec);
    REQUIRE_FALSE(refused);
    check_error(refused.error(), code, text);
    CHECK(to_string(Census::take()) == to_string(before));
  };
  refuse({id("x"), nullptr}, Errc::invalid_argument, "attach x/eth0: no network namespace is given");
  refuse({id("x"), &node}, Errc::invalid_argument, "is the one of the bridge");
  refuse({id("x"), &pod, {ip("10.200.0.5"), ip("10.200.0.6")}}, Errc::invalid_argument, "two IPv4 addresses");
  refuse({id("x"), &pod, {ip("fd00:200::5"), ip("fd00:200::6")}}, Errc::invalid_argument, "two IPv6 addresses");
  refuse({id("x"), &pod, {ip("10.201.0.5")}}, Errc::invalid_argument, "10.201.0.5 is of no subnet");
  refuse({id("x"), &pod, {ip("10.200.0.1")}}, Errc::invalid_argument, "10.200.0.1 is the gateway's");
  refuse({id("x"), &pod, {ip("10.200.0.255")}}, Errc::invalid_argument, "10.200.0.255 is no host");
  refuse({id("x"), &pod, {}, *MacAddress::parse("00:00:00:00:00:00")}, Errc::invalid_argument, "MAC 00:00:00:00:00:00");
  refuse({id("x"), &pod, {}, *MacAddress::parse("01:00:00:00:00:01")}, Errc::invalid_argument, "MAC 01:00:00:00:00:01");
  refuse({id("x"), &pod, {}, {}, true}, Errc::unsupported, "socket redirection is not loaded");
  refuse({*AttachmentId::parse("x", "lo"), &pod}, Errc::invalid_argument, "lo is there");
  CHECK(output_in(pod, "ip -o link").find("eth0") == std::string::npos);
}

TEST_CASE("empty batches are successes") {
  NetworkFixture fixture;
  CHECK(must(fixture.network.attach(std::span<const PodSpec>{})).empty());
  must(fixture.network.detach(std::span<const AttachmentId>{}));
}

TEST_CASE("finding and listing give what attach gave") {
  NetworkFixture fixture;
  const auto pods = make_pods(2);
  const Attachment b = fixture.attach("b", pods[0]);
  const Attachment a = fixture.attach("a", pods[1]);
  const auto listed = must(fixture.network.list());
  REQUIRE(listed.size() == 2);
  for (const auto& [one, other] :
       {std::pair{listed[0], a}, std::pair{listed[1], b}, std::pair{must(fixture.network.find(id("a"))), a}}) {
    CHECK(one.id == other.id);
    CHECK(one.host_ifname == other.host_ifname);
    CHECK(one.host_ifindex == other.host_ifindex);
    CHECK(one.host_mac == other.host_mac);
    CHECK(one.mac == other.mac);
    CHECK(one.addresses == other.addresses);
    CHECK(one.gateways == other.gateways);
    CHECK(one.mtu == other.mtu);
  }
  auto missing = fixture.network.find(id("c"));
  REQUIRE_FALSE(missing);
  check_error(missing.error(), Errc::not_found, "find c/eth0");
}

TEST_CASE("another process sees the same and can go on with it") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  const int status = run_in(here(), false, [&] {
    auto datapath = Datapath::open(datapath_options());
    if (!datapath) return false;
    auto network = Network::open(*datapath, network_options());
    return network && network->find(id("web-1")) && network->check()->empty() && network->detach(id("web-1"));
  });
  CHECK(status == 0);
  CHECK(must(fixture.network.list()).empty());
  CHECK(Census::take().leases == 0);
}
