// Opening a network: its bridge, what is adopted and what is refused.
#include <doctest/doctest.h>

#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

namespace {

void refuse(const InstanceFixture& fixture, const NetworkOptions& options, Errc code, const char* text) {
  const std::string before = output_of("ip -o addr");
  auto refused = Network::open(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), code, text);
  CHECK(output_of("ip -o addr") == before);
}

}  // namespace

TEST_CASE("a new bridge is up, has its gateways, its MTU and a MAC that does not change with its ports") {
  NetworkOptions options = network_options();
  options.mtu = 1400;
  NetworkFixture fixture(options);
  const std::string link = output_of("ip -d -o link show dev patu0");
  for (const char* part : {"mtu 1400", "UP", "link/ether 0a:58:0a:c8:00:01", " bridge "})
    CHECK_MESSAGE(count_of(link, part) >= 1, link);
  const std::string addresses = output_of("ip -o addr show dev patu0");
  CHECK(count_of(addresses, "inet 10.200.0.1/24 brd 10.200.0.255") == 1);
  CHECK(count_of(addresses, "inet6 fd00:200::1/64") == 1);
  CHECK(count_of(output_of("ip -o addr show dev patu0 to fd00:200::1 tentative"), "fd00") == 0);
  const Netns pod = must(Netns::create());
  must(fixture.network.attach({id("low"), &pod, {}, *MacAddress::parse("02:00:00:00:00:01")}));
  CHECK(count_of(output_of("ip -o link show dev patu0"), "link/ether 0a:58:0a:c8:00:01") == 1);
}

TEST_CASE("opening again adopts the bridge and changes nothing") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  const Census before = Census::take();
  const std::string state = output_of("ip -o link; ip -o addr show dev patu0");
  {
    Network again = must(Network::open(fixture.datapath, network_options()));
    CHECK(again.bridge_ifindex() == fixture.network.bridge_ifindex());
    CHECK(again.bridge().view() == "patu0");
    CHECK(again.bridge_mac() == fixture.network.bridge_mac());
    CHECK(again.bridge_mac().to_string() == "0a:58:0a:c8:00:01");
  }
  CHECK(output_of("ip -o link; ip -o addr show dev patu0") == state);
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("a bare bridge of somebody else is adopted and completed") {
  InstanceFixture fixture;
  output_of("ip link add patu0 type bridge");
  Network network = must(Network::open(fixture.datapath, network_options()));
  const std::string addresses = output_of("ip -o addr show dev patu0");
  CHECK(count_of(addresses, "10.200.0.1/24") == 1);
  CHECK(count_of(addresses, "fd00:200::1/64") == 1);
  CHECK(count_of(output_of("ip -o link show dev patu0"), "UP") >= 1);
  must(network.remove());
}

TEST_CASE("what stands in the way is refused and left alone") {
  InstanceFixture fixture;
  SUBCASE("an interface that is no bridge") {
    output_of("ip link add patu0 type veth peer name patu0-peer");
    refuse(fixture, network_options(), Errc::already_exists,
           "open network patu0: an interface of that name is no bridge");
  }
  SUBCASE("a bridge with another MTU") {
    output_of("ip link add patu0 mtu 1300 type bridge");
    refuse(fixture, network_options(), Errc::already_exists, "the bridge has an MTU of 1300, not 1500");
  }
  SUBCASE("a bridge with another subnet") {
    output_of("ip link add patu0 type bridge; ip link set patu0 up; ip addr add 10.99.0.1/24 dev patu0");
    refuse(fixture, network_options(), Errc::already_exists, "the bridge has 10.99.0.1/24, not 10.200.0.1/24");
  }
  SUBCASE("a bridge with the gateway in another prefix") {
    output_of("ip link add patu0 type bridge; ip link set patu0 up; ip addr add 10.200.0.1/16 dev patu0");
    refuse(fixture, network_options(), Errc::already_exists, "the bridge has 10.200.0.1/16, not 10.200.0.1/24");
  }
  output_of("ip link del patu0");
}

TEST_CASE("bad options are refused and nothing is made") {
  InstanceFixture fixture;
  NetworkOptions options = network_options();
  const auto refuse_invalid = [&](const char* text) { refuse(fixture, options, Errc::invalid_argument, text); };
  options.subnets.clear();
  refuse_invalid("a default route needs a subnet");
  options = network_options("patu0", "10.200.0.0/24", nullptr);
  options.subnets.push_back({*Prefix::parse("10.200.0.128/25")});
  refuse_invalid("subnet 10.200.0.0/24 overlaps 10.200.0.128/25");
  options = network_options();
  options.name = std::string(256, 'x');
  refuse_invalid("the network's name has more than 255 bytes");
  options = network_options("patu0", "10.200.0.0/31");
  refuse_invalid("no room");
  options = network_options();
  options.mtu = 1279;
  refuse_invalid("MTU 1279 is not within 1280 and 65535");
  options.mtu = 65536;
  refuse_invalid("MTU 65536");
  options = network_options("patu0", "10.200.0.0/24", nullptr);
  options.mtu = 67;
  refuse_invalid("MTU 67 is not within 68");
  options = network_options();
  options.gateway = false;
  refuse_invalid("a default route needs the gateway");
  options = network_options();
  for (const char* name : {"all", "default"}) {
    options = network_options(name);
    refuse_invalid("settings for all interfaces");
  }
  options = network_options();
  options.redirect_excluded_ports = {0};
  refuse_invalid("port 0");
  options = network_options();
  options.socket_redirect = true;
  refuse(fixture, options, Errc::unsupported, "socket redirection is not loaded");
}

TEST_CASE("a network with pods is not removed, one without is, and twice") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  const Attachment web = fixture.attach("web-1", pod);
  auto refused = fixture.network.remove();
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::busy, web.host_ifname.c_str());
  CHECK(count_of(output_of("ip -o link"), "patu0") >= 1);
  must(fixture.network.detach(id("web-1")));
  must(fixture.network.remove());
  must(fixture.network.remove());
  CHECK(count_of(output_of("ip -o link"), "patu0") == 0);
}

TEST_CASE("attaching to a bridge that is gone says so, and leaves nothing") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  output_of("ip link del patu0");
  const Census before = Census::take();
  auto refused = fixture.network.attach({id("web-1"), &pod});
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::not_found, "bridge patu0 is gone; open the network again");
  CHECK(to_string(Census::take()) == to_string(before));
}

TEST_CASE("a new bridge takes no router advertisements, wherever it lives; one that is up keeps what it has") {
  InstanceFixture fixture;
  const char* read = "cat /proc/sys/net/ipv6/conf/patu0/accept_ra";
  NetworkOptions options = network_options();
  SUBCASE("here") {
    Network network = must(Network::open(fixture.datapath, options));
    CHECK(output_of(read) == "0\n");
    output_of("echo 1 > /proc/sys/net/ipv6/conf/patu0/accept_ra");
    CHECK(Network::open(fixture.datapath, options));
    CHECK(output_of(read) == "1\n");
    must(network.remove());
  }
  SUBCASE("in another namespace") {
    const Netns node = must(Netns::create());
    options.netns = &node;
    Network network = must(Network::open(fixture.datapath, options));
    CHECK(output_in(node, read) == "0\n");
    must(network.remove());
  }
  SUBCASE("one that was not up yet") {
    output_of("ip link add patu0 type bridge");
    CHECK(output_of(read) == "1\n");
    must(must(Network::open(fixture.datapath, options)).remove());
  }
}

TEST_CASE("where /proc/sys is read-only a network with subnets is opened, and one without is not") {
  InstanceFixture fixture;
  REQUIRE(output_of("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && echo ok") == "ok\n");
  NetworkOptions options = network_options();
  options.subnets.clear();
  options.default_route = false;
  refuse(fixture, options, Errc::io, "accept_ra");
  Network network = must(Network::open(fixture.datapath, network_options()));
  CHECK(output_of("cat /proc/sys/net/ipv6/conf/patu0/accept_ra") == "1\n");
  must(network.remove());
  output_of("umount /proc/sys; echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra");
  REQUIRE(output_of("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && echo ok") == "ok\n");
  must(must(Network::open(fixture.datapath, options)).remove());
  output_of("umount /proc/sys; echo 1 > /proc/sys/net/ipv6/conf/default/accept_ra");
}

TEST_CASE("eight processes that open the same network at once make one bridge between them") {
  InstanceFixture fixture;
  const Netns node = here();
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p)
    children.push_back(start_in(node, false, [&] {
      auto datapath = Datapath::open(datapath_options());
      return datapath && Network::open(*datapath, network_options());
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  CHECK(count_of(output_of("ip -o addr show dev patu0"), "10.200.0.1/24") == 1);
  must(must(Network::open(fixture.datapath, network_options())).remove());
}

TEST_CASE("pods survive the loss of the maps: the next open puts leases and entries back") {
  const auto pods = make_pods(2);
  std::vector<Attachment> attached;
  std::vector<std::pair<patu_addr, patu_pod>> entries;
  const DatapathOptions options = datapath_options();
  {
    Datapath datapath = must(Datapath::open(options));
    Network network = must(Network::open(datapath, network_options()));
    for (const char* name : {"a", "b"}) attached.push_back(must(network.attach({id(name), &pods[attached.size()]})));
    entries = Pods("pods").all();
    must(Datapath::unload(options, UnloadMode::force));
  }
  NetworkFixture fixture;
  check_well(fixture.network);
  CHECK(must(fixture.network.list()).size() == 2);
  CHECK(Pods("pods").size() == entries.size());
  CHECK(must(must(AddressPool::open(fixture.datapath, network_options().subnets[0])).find(id("b"))) ==
        attached[1].addresses[0].address);
  const Netns next = must(Netns::create());
  CHECK(fixture.attach("c", next).addresses[0].address == ip("10.200.0.4"));
  CHECK(fixture.attach("a", pods[0]).host_ifindex == attached[0].host_ifindex);
  CHECK(reaches(pods[0], pods[1], attached[1].addresses[0].address));
}

TEST_CASE("pods survive the loss of their bridge: the next open makes it and puts them back on it") {
  NetworkFixture fixture;
  const auto pods = make_pods(2);
  fixture.attach("a", pods[0]);
  const Attachment b = fixture.attach("b", pods[1]);
  output_of("ip link del patu0");
  fixture.network = must(Network::open(fixture.datapath, network_options()));
  check_well(fixture.network);
  CHECK(reaches(pods[0], pods[1], b.addresses[0].address));
  CHECK(reaches(here(), pods[1], b.addresses[1].address));
}

TEST_CASE("two instances in one namespace leave each other's pods alone") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  {
    InstanceFixture other(datapath_options("other"));
    Network network = must(Network::open(other.datapath, network_options("patu9", "10.209.0.0/24", nullptr)));
    CHECK(must(network.list()).empty());
    CHECK(must(network.reconcile(std::span<const AttachmentId>{})).detached.empty());
    const Netns second = must(Netns::create());
    auto refused = network.attach({id("web-1"), &second});
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::already_exists, "is not this attachment's");
    must(network.remove());
  }
  check_well(fixture.network);
  CHECK(must(fixture.network.list()).size() == 1);
}
