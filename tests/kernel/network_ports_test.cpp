// How pods' ports and the bridge treat frames: hairpin mode, isolation, promiscuity; and probing for duplicate addresses.
#include <doctest/doctest.h>

#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"
#include "traffic.hpp"

using namespace patu;
using namespace patu::test;

namespace {

NetworkOptions isolated_options() {
  NetworkOptions options = network_options();
  options.isolated = true;
  return options;
}

std::string port_of(const Attachment& attachment) {
  return output_of("ip -d -o link show dev " + attachment.host_ifname.to_string());
}

// So that not the neighbour discovery decides what arrives.
void introduce(const Netns& from, const Attachment& to) {
  for (const InterfaceAddress& one : to.addresses)
    output_in(from, "ip neigh replace " + one.address.to_string() + " lladdr " + to.mac.to_string() + " dev eth0");
}

}  // namespace

TEST_CASE("isolated pods reach the node and pods that are not isolated, and are reached by them, but not each other") {
  NetworkFixture fixture(isolated_options());
  NetworkOptions open = network_options();
  open.name = "open";
  Network other = must(Network::open(fixture.datapath, open));
  const auto pods = make_pods(3);
  const Attachment a = fixture.attach("a", pods[0]);
  const Attachment b = fixture.attach("b", pods[1]);
  const Attachment c = must(other.attach({id("c"), &pods[2]}));
  CHECK(count_of(port_of(a), "isolated on") == 1);
  CHECK(count_of(port_of(c), "isolated off") == 1);
  introduce(pods[0], b);
  introduce(pods[1], a);
  for (std::size_t family : {0U, 1U}) {
    CHECK(reaches(pods[0], here(), a.gateways[family]));
    CHECK(reaches(here(), pods[0], a.addresses[family].address));
    CHECK(reaches(pods[0], pods[2], c.addresses[family].address));
    CHECK(reaches(pods[2], pods[0], a.addresses[family].address));
  }
  CHECK_FALSE(reaches(pods[0], pods[1], b.addresses[0].address));
  CHECK_FALSE(reaches(pods[1], pods[0], a.addresses[1].address));
  check_well(fixture.network);
  check_well(other);
  // By the program's record alone they would: it is the bridge that drops.
  output_of("bridge link set dev " + a.host_ifname.to_string() + " isolated off");
  CHECK(reaches(pods[0], pods[1], b.addresses[0].address));
  must(other.detach(id("c")));
}

TEST_CASE("a port's modes are checked and put back, also on a bridge that was made anew") {
  NetworkOptions options = isolated_options();
  options.hairpin = true;
  NetworkFixture fixture(options);
  const Netns pod = must(Netns::create());
  const Attachment web = fixture.attach("web-1", pod);
  const std::string name = web.host_ifname.to_string();
  CHECK(count_of(port_of(web), "hairpin on") == 1);
  CHECK(count_of(port_of(web), "isolated on") == 1);
  check_well(fixture.network);
  output_of("bridge link set dev " + name + " isolated off; bridge link set dev " + name + " hairpin off");
  std::string found;
  for (const Deviation& one : must(fixture.network.check())) found += one.what + "\n";
  CHECK(found == name + " is not in hairpin mode\n" + name + " is not isolated\n");
  SUBCASE("reconcile") { CHECK(must(fixture.network.reconcile()).repaired == std::vector{id("web-1")}); }
  SUBCASE("attach") { CHECK(fixture.attach("web-1", pod).host_ifindex == web.host_ifindex); }
  SUBCASE("open") {
    output_of("ip link del patu0");
    fixture.network = must(Network::open(fixture.datapath, options));
  }
  SUBCASE("maps lost") {
    must(Datapath::unload(fixture.options, UnloadMode::force));
    fixture.datapath = must(Datapath::open(fixture.options));
    fixture.network = must(Network::open(fixture.datapath, options));
    CHECK(Pods("pods").all().front().second.flags == (PATU_POD_ISOLATED | PATU_POD_HAIRPIN));
  }
  CHECK(count_of(port_of(web), "hairpin on") == 1);
  CHECK(count_of(port_of(web), "isolated on") == 1);
  check_well(fixture.network);
}

TEST_CASE("what a pod sends to itself comes back to it in hairpin mode, and only there") {
  for (const bool hairpin : {false, true}) {
    NetworkOptions options = network_options();
    options.hairpin = hairpin;
    NetworkFixture fixture(options);
    const auto pods = make_pods(2);
    const Attachment self = fixture.attach("self", pods[0]);
    const Attachment other = fixture.attach("other", pods[1]);
    // What is sent is heard too; then what comes back, if it does, and at last an answer that took the same way.
    auto listener = Listener::open(pods[0]);
    REQUIRE(listener);
    const Bytes mine = ethernet(self.mac, self.mac, 0x0800,
                                ipv4(self.addresses[0].address, self.addresses[0].address, udp("to myself")));
    REQUIRE(send_frames(pods[0], {mine}, Path::send));
    const Bytes last = ethernet(MacAddress::from_bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), other.mac, 0x0800,
                                ipv4(other.addresses[0].address, ip("10.200.0.255"), udp("the last")));
    REQUIRE(send_frames(pods[1], {last}, Path::send));
    std::size_t heard = 0;
    for (const Bytes& frame : listener->hear({"the last"}))
      heard += count_of(std::string(frame.begin(), frame.end()), "to myself");
    CHECK(heard == (hairpin ? 2 : 1));
  }
}

TEST_CASE("pods keep the modes that they were attached with, and later ones get the new") {
  NetworkFixture fixture;
  const auto pods = make_pods(2);
  const Attachment a = fixture.attach("a", pods[0]);
  CHECK(count_of(port_of(a), "hairpin off") == 1);
  CHECK(count_of(port_of(a), "isolated off") == 1);
  NetworkOptions options = network_options();
  options.hairpin = true;
  fixture.network = must(Network::open(fixture.datapath, options));
  const Attachment b = fixture.attach("b", pods[1]);
  CHECK(must(fixture.network.reconcile()).repaired.empty());
  CHECK(count_of(port_of(a), "hairpin off") == 1);
  CHECK(count_of(port_of(b), "hairpin on") == 1);
  check_well(fixture.network);
}

TEST_CASE("a promiscuous bridge is made so, and one that is there becomes it") {
  InstanceFixture fixture;
  NetworkOptions options = network_options();
  SUBCASE("one that is there") { CHECK(Network::open(fixture.datapath, options)); }
  SUBCASE("a new one") {}
  options.promiscuous = true;
  Network network = must(Network::open(fixture.datapath, options));
  CHECK(count_of(output_of("ip -o link show dev patu0"), "PROMISC") == 1);
  CHECK(Network::open(fixture.datapath, options));
  CHECK(count_of(output_of("ip -d -o link show dev patu0"), "promiscuity 1 ") == 1);
  options.hairpin = true;
  auto refused = Network::open(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::invalid_argument, "sends frames round");
  must(network.remove());
}

TEST_CASE("with duplicate address detection attach returns when the addresses are a pod's own") {
  NetworkOptions options = network_options();
  options.duplicate_address_detection = true;
  NetworkFixture fixture(options);
  const auto pods = make_pods(3);
  const std::vector<PodSpec> specs{{id("a"), &pods[0]}, {id("b"), &pods[1]}};
  const auto attached = must(fixture.network.attach(specs));
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::string addresses = output_in(pods[i], "ip -o -6 addr show dev eth0");
    CHECK(count_of(addresses, "inet6") == 2);
    CHECK(count_of(addresses, "tentative") == 0);
    CHECK(count_of(addresses, "nodad") == 0);
  }
  CHECK(reaches(pods[0], pods[1], attached[1].addresses[1].address));
  CHECK(fixture.attach("a", pods[0]).host_ifindex == attached[0].host_ifindex);
  check_well(fixture.network);

  // Somebody whom the library does not know answers.
  output_of("ip addr add fd00:200::77/64 dev patu0 nodad");
  const Census before = Census::take();
  const std::vector<PodSpec> more{specs[0], {id("c"), &pods[2], {ip("fd00:200::77")}}};
  auto refused = fixture.network.attach(more);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::already_exists,
              "attach c/eth0: in the pod: fd00:200::77 is somebody else's already");
  CHECK(to_string(Census::take()) == to_string(before));
  CHECK(count_of(output_in(pods[2], "ip -o link"), "eth0") == 0);
  CHECK(must(fixture.network.find(id("a"))).host_ifindex == attached[0].host_ifindex);
  output_of("ip addr del fd00:200::77/64 dev patu0");
  must(fixture.network.attach(more));
  check_well(fixture.network);
}
