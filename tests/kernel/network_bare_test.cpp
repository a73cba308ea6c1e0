// Networks without subnets: interfaces on a bridge that somebody else gives their addresses.
#include <doctest/doctest.h>

#include "names.hpp"
#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

namespace {

NetworkOptions bare_options() {
  NetworkOptions options = network_options("patu0", nullptr, nullptr);
  options.default_route = false;
  return options;
}

struct Fixture : NetworkFixture {
  Fixture() : NetworkFixture(bare_options()) {}
};

using Exempt = RawMap<std::uint64_t, std::uint32_t>;

}  // namespace

TEST_CASE("a pod gets an interface without addresses, program and entries, with a MAC that follows from its id") {
  Fixture fixture;
  CHECK(count_of(output_of("ip -o addr show dev patu0 scope global"), "inet") == 0);
  CHECK_FALSE(fixture.network.bridge_mac().is_zero());
  const Census before = Census::take();
  const auto pods = make_pods(2);
  const Attachment a = fixture.attach("a", pods[0]);
  CHECK(a.addresses.empty());
  CHECK(a.gateways.empty());
  CHECK(a.mac == id_mac(id("a")));
  const Attachment b = must(fixture.network.attach({id("b"), &pods[1], {}, *MacAddress::parse("0a:11:22:33:44:55")}));
  CHECK(b.mac.to_string() == "0a:11:22:33:44:55");
  CHECK(count_of(output_in(pods[0], "ip -o link show dev eth0"), "link/ether " + a.mac.to_string()) == 1);
  CHECK(count_of(output_in(pods[0], "ip -o addr show scope global"), "inet") == 0);
  CHECK(count_of(output_in(pods[0], "ip -o link show dev lo"), "UP") >= 1);
  CHECK(output_of("tc filter show dev " + a.host_ifname.to_string() + " ingress").empty());
  const Census census = Census::take();
  CHECK(census.interfaces == before.interfaces + 2);
  CHECK(census.leases == 0);
  CHECK(census.attachments == 0);
  CHECK(census.pods == 0);
  check_well(fixture.network);
  CHECK(must(fixture.network.check(id("a"), &pods[0])).empty());
  CHECK(fixture.attach("a", pods[0]).host_ifindex == a.host_ifindex);
  CHECK(must(fixture.network.list()).size() == 2);
  CHECK(fixture.network.bridge_mac() == must(Network::open(fixture.datapath, bare_options())).bridge_mac());

  for (std::size_t i = 0; i < 2; ++i)
    output_in(pods[i], "ip addr add 192.0.2." + std::to_string(i + 1) +
                           "/24 dev eth0; ip addr add 2001:db8::" + std::to_string(i + 1) + "/64 dev eth0 nodad");
  CHECK(reaches(pods[0], pods[1], ip("192.0.2.2")));
  CHECK(reaches(pods[1], pods[0], ip("2001:db8::1")));
  must(fixture.network.detach(id("a")));
  must(fixture.network.detach(id("a")));
  must(fixture.network.abandon(id("b")));
  must(fixture.network.reconcile());
  CHECK(Census::take().interfaces == before.interfaces);
}

TEST_CASE("what the port has lost is seen and put back, and reconcile takes away what nobody claims") {
  Fixture fixture;
  const auto pods = make_pods(2);
  const Attachment a = fixture.attach("a", pods[0]);
  fixture.attach("b", pods[1]);
  output_of("ip link set " + a.host_ifname.to_string() + " nomaster");
  CHECK(must(fixture.network.check()).size() == 1);
  CHECK(must(fixture.network.reconcile()).repaired == std::vector{id("a")});
  check_well(fixture.network);
  output_of("ip link del patu0");
  fixture.network = must(Network::open(fixture.datapath, bare_options()));
  check_well(fixture.network);
  CHECK(must(fixture.network.reconcile(std::vector{id("b")})).detached == std::vector{id("a")});
  output_of("ip link del " + host_ifname(id("b")).to_string());
  CHECK(must(fixture.network.check()).empty());
  CHECK(must(fixture.network.list()).empty());
}

TEST_CASE("what needs an address is refused, and nothing is made") {
  InstanceFixture fixture;
  NetworkOptions options = bare_options();
  options.default_route = true;
  auto refused = Network::open(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::invalid_argument, "a default route needs a subnet");
  options = bare_options();
  options.socket_redirect = true;
  refused = Network::open(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::invalid_argument, "socket redirection needs a subnet");
  CHECK(count_of(output_of("ip -o link"), "patu0") == 0);

  Network network = must(Network::open(fixture.datapath, bare_options()));
  const Netns pod = must(Netns::create());
  const Census before = Census::take();
  const auto refuse = [&](const PodSpec& spec, Errc code, const char* text) {
    auto unattached = network.attach(spec);
    REQUIRE_FALSE(unattached);
    check_error(unattached.error(), code, text);
    CHECK(to_string(Census::take()) == to_string(before));
  };
  refuse({id("x"), &pod, {ip("10.200.0.5")}}, Errc::invalid_argument, "10.200.0.5 is of no subnet");
  refuse({id("x"), &pod, {}, {}, true}, Errc::invalid_argument, "socket redirection needs an address");
  output_in(pod, "ip link add eth0 type bridge");
  refuse({id("x"), &pod}, Errc::already_exists, "the pod has an interface eth0");
  must(network.remove());
}

TEST_CASE("a namespace stays without services as long as one interface says so, with an address or without") {
  NetworkFixture fixture;
  NetworkOptions options = bare_options();
  options.bridge = *IfName::parse("patu1");
  Network bare = must(Network::open(fixture.datapath, options));
  const Netns pod = must(Netns::create());
  const AttachmentId second = *AttachmentId::parse("web-1", "eth1");
  must(fixture.network.attach({id("web-1"), &pod, {}, {}, {}, false}));
  const Attachment there = must(bare.attach({second, &pod, {}, {}, {}, false}));
  const Exempt exempt("exempt");
  // Whichever of the two it names.
  must(fixture.network.attach({id("web-1"), &pod, {}, {}, {}, false}));
  exempt.put(must(pod.cookie()), must(fixture.network.find(id("web-1"))).host_ifindex);
  must(fixture.network.detach(id("web-1")));
  REQUIRE(exempt.size() == 1);
  CHECK(exempt.all().front().second == there.host_ifindex);
  exempt.clear();
  CHECK(must(bare.check()).size() == 1);
  CHECK(must(bare.reconcile()).repaired == std::vector{second});
  CHECK(exempt.size() == 1);
  must(bare.detach(second));
  CHECK(exempt.size() == 0);
  must(bare.remove());
}

TEST_CASE("an instance that was unloaded by force does not look as if all were well") {
  InstanceFixture fixture;
  const auto pods = make_pods(1);
  {
    Network network = must(Network::open(fixture.datapath, bare_options()));
    must(network.attach({id("a"), &pods[0]}));
    must(Datapath::unload(fixture.options, UnloadMode::force));
    const auto all = network.check();
    REQUIRE_FALSE(all);
    check_error(all.error(), Errc::not_found, "check a/eth0");
    CHECK(network.check(id("a")).error().code() == Errc::not_found);
  }
  // The interface knows whose it is, whatever becomes of the instance.
  Network network = must(Network::adopt(must(Datapath::open(fixture.options)), bare_options()));
  must(network.reconcile(std::span<const AttachmentId>{}));
  must(network.remove());
}
