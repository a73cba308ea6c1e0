// Networks with several subnets of a family, and bridges that have addresses already.
#include <doctest/doctest.h>

#include <set>

#include "network_fixture.hpp"
#include "patu/patu.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// Room for one pod in the first of each family, and for more in the others.
NetworkOptions many_subnets() {
  NetworkOptions options = network_options("patu0", "10.200.0.0/30", "fd00:200::/126");
  for (const char* text : {"10.201.0.0/24", "fd00:201::/64", "10.202.0.0/24"})
    options.subnets.push_back({*Prefix::parse(text)});
  return options;
}

std::string bridge_addresses() { return output_of("ip -o addr show dev patu0 scope global"); }

}  // namespace

TEST_CASE("a pod gets one address of each family, from the first subnet with a free one") {
  NetworkFixture fixture(many_subnets());
  for (const char* text : {"10.200.0.1/30", "10.201.0.1/24", "10.202.0.1/24", "fd00:200::1/126", "fd00:201::1/64"})
    CHECK_MESSAGE(count_of(bridge_addresses(), std::string(" ") + text) == 1, text);
  const auto pods = make_pods(3);
  const Attachment a = fixture.attach("a", pods[0]);
  CHECK(a.addresses == std::vector<InterfaceAddress>{{ip("10.200.0.2"), 30}, {ip("fd00:200::2"), 126}});
  const Attachment b = fixture.attach("b", pods[1]);
  CHECK(b.addresses[0] == InterfaceAddress{ip("10.201.0.2"), 24});
  CHECK(b.gateways[0] == ip("10.201.0.1"));
  CHECK(b.addresses[1].address == ip("fd00:200::3"));
  const Attachment c = fixture.attach("c", pods[2]);
  CHECK(c.addresses == std::vector<InterfaceAddress>{{ip("10.201.0.3"), 24}, {ip("fd00:201::2"), 64}});
  CHECK(c.gateways == std::vector{ip("10.201.0.1"), ip("fd00:201::1")});
  CHECK(fixture.attach("c", pods[2]).host_ifindex == c.host_ifindex);
  for (std::size_t family : {0U, 1U}) {
    CHECK(reaches(here(), pods[2], c.addresses[family].address));
    CHECK(reaches(pods[0], pods[2], c.addresses[family].address));
    CHECK(reaches(pods[2], pods[0], a.addresses[family].address));
  }
  check_well(fixture.network);
  CHECK(must(fixture.network.check(id("c"), &pods[2])).empty());
  must(fixture.network.detach(id("a")));
  const Netns heir = must(Netns::create());
  CHECK(fixture.attach("d", heir).addresses[0].address == ip("10.200.0.2"));
  CHECK(Census::take().leases == 6);
}

TEST_CASE("a requested address is of whichever subnet has it") {
  NetworkFixture fixture(many_subnets());
  const Netns pod = must(Netns::create());
  const Attachment web = must(fixture.network.attach({id("web-1"), &pod, {ip("10.202.0.77"), ip("fd00:201::77")}}));
  CHECK(web.addresses == std::vector<InterfaceAddress>{{ip("10.202.0.77"), 24}, {ip("fd00:201::77"), 64}});
  CHECK(web.gateways == std::vector{ip("10.202.0.1"), ip("fd00:201::1")});
  CHECK(count_of(output_in(pod, "ip route"), "default via 10.202.0.1") == 1);
  check_well(fixture.network);
  const Netns other = must(Netns::create());
  const Census before = Census::take();
  auto refused = fixture.network.attach({id("web-2"), &other, {ip("10.203.0.7")}});
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::invalid_argument, "10.203.0.7 is of no subnet");
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("only when all subnets of a family are full is the network exhausted, and nothing is left") {
  NetworkOptions options = network_options("patu0", "10.200.0.0/30", "fd00:200::/64");
  options.subnets.push_back({*Prefix::parse("10.201.0.0/30")});
  NetworkFixture fixture(options);
  const auto pods = make_pods(3);
  fixture.attach("a", pods[0]);
  fixture.attach("b", pods[1]);
  const Census before = Census::take();
  auto refused = fixture.network.attach({id("c"), &pods[2]});
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::exhausted, "no free address in 10.200.0.0/30");
  check_error(refused.error(), Errc::exhausted, "no free address in 10.201.0.0/30");
  CHECK(to_string(Census::take()) == to_string(before));
  must(fixture.network.detach(id("b")));
  CHECK(fixture.attach("c", pods[2]).addresses[0].address == ip("10.201.0.2"));
}

TEST_CASE("a pod that lost its interface keeps its addresses when it is attached again, or gets those it asks for") {
  NetworkFixture fixture(many_subnets());
  const auto pods = make_pods(2);
  fixture.attach("a", pods[0]);
  const Attachment b = fixture.attach("b", pods[1]);
  must(fixture.network.detach(id("a")));
  output_of("ip link del " + b.host_ifname.to_string());
  PodSpec spec{id("b"), &pods[1]};
  SUBCASE("the same") {}
  SUBCASE("of another subnet") { spec.addresses = {ip("10.202.0.9")}; }
  const Attachment again = must(fixture.network.attach(spec));
  CHECK(again.addresses[0].address == (spec.addresses.empty() ? b.addresses[0].address : ip("10.202.0.9")));
  CHECK(again.addresses[1] == b.addresses[1]);
  CHECK(Census::take().leases == 2);
  check_well(fixture.network);
}

TEST_CASE("a network that has got another subnet serves the pods of the former one anew when they are gone") {
  NetworkOptions options = many_subnets();
  InstanceFixture fixture;
  const Netns pod = must(Netns::create());
  {
    Network network = must(Network::open(fixture.datapath, network_options("patu0", "10.77.0.0/24", nullptr)));
    const Attachment web = must(network.attach({id("web-1"), &pod}));
    output_of("ip link del " + web.host_ifname.to_string() + "; ip addr flush dev patu0");
  }
  Network network = must(Network::open(fixture.datapath, options));
  const Attachment web = must(network.attach({id("web-1"), &pod}));
  CHECK(web.addresses[0].address == ip("10.200.0.2"));
  CHECK(Census::take().leases == 2);
  must(network.detach(id("web-1")));
  must(network.remove());
}

TEST_CASE("IPv6 addresses of other networks may be on the bridge, overlapping ones and others of IPv4 may not") {
  InstanceFixture fixture;
  output_of("ip link add patu0 type bridge; ip link set patu0 up");
  const auto refuse = [&](const char* address) {
    output_of(std::string("ip addr add ") + address + " dev patu0" + (count_of(address, ":") > 0 ? " nodad" : ""));
    const std::string before = bridge_addresses();
    auto refused = Network::open(fixture.datapath, network_options());
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::already_exists, (std::string("the bridge has ") + address).c_str());
    CHECK(bridge_addresses() == before);
    output_of(std::string("ip addr del ") + address + " dev patu0");
  };
  refuse("10.99.0.1/24");
  refuse("fd00:200::9/64");
  refuse("fd00:200::1/48");
  refuse("fd00:200::5/128");
  output_of("ip addr add fd00:99::1/64 dev patu0 nodad; ip addr add 169.254.7.7/16 dev patu0");
  Network network = must(Network::open(fixture.datapath, network_options()));
  for (const char* text : {"fd00:99::1/64", "fd00:200::1/64", "10.200.0.1/24"})
    CHECK(count_of(bridge_addresses(), text) == 1);
  must(network.remove());
}

TEST_CASE("by force the bridge gets its gateways in the place of what is in their way") {
  InstanceFixture fixture;
  output_of(
      "ip link add patu0 type bridge; ip link set patu0 up; ip addr add 10.200.0.9/24 dev patu0; "
      "ip addr add 10.200.0.10/24 dev patu0; ip addr add 10.200.0.1/16 dev patu0; ip addr add 10.99.0.1/24 dev patu0; "
      "ip addr add fd00:200::9/64 dev patu0 nodad; ip addr add fd00:99::1/64 dev patu0 nodad");
  NetworkOptions options = network_options();
  options.force_gateway = true;
  SUBCASE("and once more") { CHECK(Network::open(fixture.datapath, options)); }
  SUBCASE("where one of them is there, behind another") { output_of("ip addr add 10.200.0.1/24 dev patu0"); }
  Network network = must(Network::open(fixture.datapath, options));
  const std::string addresses = bridge_addresses();
  CHECK_MESSAGE(count_of(addresses, " inet ") == 1, addresses);
  CHECK(count_of(addresses, " 10.200.0.1/24 ") == 1);
  CHECK(count_of(addresses, " inet6 ") == 2);
  CHECK(count_of(addresses, " fd00:200::1/64 ") == 1);
  CHECK(count_of(addresses, " fd00:99::1/64 ") == 1);
  const Netns pod = must(Netns::create());
  const Attachment web = must(network.attach({id("web-1"), &pod}));
  for (const InterfaceAddress& one : web.addresses) CHECK(reaches(here(), pod, one.address));
  must(network.detach(id("web-1")));
  must(network.remove());
}

TEST_CASE("an opening that fails half-way leaves the bridge as it was") {
  InstanceFixture fixture;
  output_of(
      "ip link add patu0 type bridge; ip addr add 10.200.0.9/24 dev patu0; ip addr add 10.99.0.1/24 dev patu0; "
      "echo 1 > /proc/sys/net/ipv6/conf/patu0/disable_ipv6");
  SUBCASE("down") {}
  SUBCASE("up") { output_of("ip link set patu0 up"); }
  const auto state = [] {
    return output_of("ip -j addr show dev patu0 | jq -c '.[]|[.flags,[.addr_info[].local]|sort]'");
  };
  const std::string before = state();
  NetworkOptions options = network_options();
  options.force_gateway = true;
  options.promiscuous = true;
  auto refused = Network::open(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  CHECK_MESSAGE(count_of(refused.error().to_string(), "give the bridge fd00:200::1/64") == 1,
                refused.error().to_string());
  CHECK(state() == before);
  output_of("ip link del patu0");
}
