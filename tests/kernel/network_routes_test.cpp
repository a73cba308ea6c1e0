// The routes that pods get: as asked for, with their options, checked and refused by name.
#include <doctest/doctest.h>

#include "network_fixture.hpp"
#include "patu/patu.hpp"

using namespace patu;
using namespace patu::test;

namespace {

Prefix net(const char* text) { return *Prefix::parse(text); }

NetworkOptions with_routes(std::vector<Route> routes) {
  NetworkOptions options = network_options();
  options.routes = std::move(routes);
  return options;
}

std::string routes_in(const Netns& pod) {
  return output_in(pod, "ip -4 route show table all; ip -6 route show table all");
}

struct Expectation {
  Route route;
  const char* line;
};

// What the same route says as ip(8) prints it.
const std::vector<Expectation> kRoutes{
    {{net("10.50.0.0/16")}, "10.50.0.0/16 via 10.200.0.1 dev eth0 proto static"},
    {{net("10.51.0.0/16"), ip("10.200.0.77"), 1400, 1300, 5, 1000},
     "10.51.0.0/16 via 10.200.0.77 dev eth0 table 1000 proto static metric 5 mtu 1400 advmss 1300"},
    {{net("10.52.0.0/16"), {}, 0, 0, 0, 0, 253}, "10.52.0.0/16 dev eth0 proto static scope link"},
    {{net("10.53.0.1/32"), {}, 0, 0, 0, 100, 254}, "10.53.0.1 dev eth0 table 100 proto static scope host"},
    {{net("10.54.0.0/16"), {}, 0, 0, 0, 0, 0}, "10.54.0.0/16 via 10.200.0.1 dev eth0 proto static"},
    {{net("10.55.0.0/16"), ip("10.53.9.9"), 0, 0, 7}, "10.55.0.0/16 via 10.53.9.9 dev eth0 proto static metric 7"},
    {{net("10.53.9.9/32"), {}, 0, 0, 0, 0, 253}, "10.53.9.9 dev eth0 proto static scope link"},
    {{net("fd50::/64")}, "fd50::/64 via fd00:200::1 dev eth0 proto static metric 1024"},
    {{net("fd51::/64"), ip("fd00:200::77"), 1400, 1300, 5, 1000},
     "fd51::/64 via fd00:200::77 dev eth0 table 1000 proto static metric 5 mtu 1400 advmss 1300"},
    {{net("fd52::/64"), {}, 0, 0, 0, 0, 253}, "fd52::/64 dev eth0 proto static metric 1024"},
};

}  // namespace

TEST_CASE("pods get the routes of the options, each as it was asked for") {
  std::vector<Route> routes;
  for (const Expectation& one : kRoutes) routes.push_back(one.route);
  NetworkFixture fixture(with_routes(routes));
  const Netns pod = must(Netns::create());
  const Attachment web = fixture.attach("web-1", pod);
  const std::string told = routes_in(pod);
  for (const Expectation& one : kRoutes) CHECK_MESSAGE(count_of(told, one.line) == 1, one.line << " in " << told);
  CHECK(count_of(told, "default via 10.200.0.1 dev eth0") == 1);
  CHECK(count_of(told, "default via fd00:200::1 dev eth0") == 1);
  CHECK(must(fixture.network.check(id("web-1"), &pod)).empty());
  CHECK(fixture.attach("web-1", pod).host_ifindex == web.host_ifindex);
  CHECK(routes_in(pod) == told);
}

TEST_CASE("a lost or changed route is seen, and attaching again puts it back") {
  NetworkFixture fixture(with_routes({{net("10.50.0.0/16"), {}, 1400}, {net("fd50::/64"), {}, 0, 0, 0, 100}}));
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  const std::string before = routes_in(pod);
  const char* wanted = "the pod has not the route 10.50.0.0/16 via 10.200.0.1, MTU 1400";
  SUBCASE("lost") { output_in(pod, "ip route del 10.50.0.0/16"); }
  SUBCASE("another MTU") { output_in(pod, "ip route replace 10.50.0.0/16 via 10.200.0.1 proto static mtu 1300"); }
  SUBCASE("another gateway") { output_in(pod, "ip route replace 10.50.0.0/16 via 10.200.0.9 proto static mtu 1400"); }
  SUBCASE("of another table") {
    output_in(pod, "ip -6 route del fd50::/64 table 100");
    wanted = "the pod has not the route fd50::/64 via fd00:200::1 in table 100";
  }
  const auto deviations = must(fixture.network.check(id("web-1"), &pod));
  REQUIRE(deviations.size() == 1);
  CHECK(deviations[0].what == wanted);
  fixture.attach("web-1", pod);
  CHECK(must(fixture.network.check(id("web-1"), &pod)).empty());
  CHECK(routes_in(pod) == before);
}

TEST_CASE("a default route of the options stands in for the one of its family, one of another table does not") {
  NetworkFixture fixture(
      with_routes({{net("0.0.0.0/0"), ip("10.200.0.99"), 0, 0, 50}, {net("::/0"), {}, 0, 0, 0, 100}}));
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  CHECK(count_of(output_in(pod, "ip route"), "default") == 1);
  CHECK(count_of(output_in(pod, "ip route"), "default via 10.200.0.99 dev eth0 proto static metric 50") == 1);
  CHECK(count_of(output_in(pod, "ip -6 route"), "default via fd00:200::1 dev eth0") == 1);
  CHECK(count_of(output_in(pod, "ip -6 route show table 100"), "default via fd00:200::1 dev eth0") == 1);
}

TEST_CASE("a family without a subnet has routes on link") {
  NetworkOptions options = network_options("patu0", "10.200.0.0/24", nullptr);
  options.routes = {{net("fd50::/64")}, {net("::/0")}};
  NetworkFixture fixture(options);
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  CHECK(count_of(output_in(pod, "ip -6 route"), "fd50::/64 dev eth0 proto static") == 1);
  CHECK(count_of(output_in(pod, "ip -6 route"), "default dev eth0 proto static") == 1);
  CHECK(must(fixture.network.check(id("web-1"), &pod)).empty());
}

TEST_CASE("a pod with a default route of its own gets another one of another priority, not one of the same") {
  NetworkOptions options = with_routes({{net("0.0.0.0/0"), {}, 0, 0, 100}, {net("::/0"), {}, 0, 0, 2000}});
  NetworkFixture fixture(options);
  const Netns pod = must(Netns::create());
  output_in(pod,
            "ip link add uplink type bridge; ip link set uplink up; ip addr add 10.5.0.2/24 dev uplink; "
            "ip addr add fd05::2/64 dev uplink nodad; ip -6 route add default via fd05::1");
  output_in(pod, "ip route add default via 10.5.0.1");
  SUBCASE("another") {
    fixture.attach("web-1", pod);
    CHECK(count_of(output_in(pod, "ip route; ip -6 route"), "default via") == 4);
    CHECK(must(fixture.network.check(id("web-1"), &pod)).empty());
  }
  SUBCASE("the same") {
    output_in(pod, "ip -6 route add default via fd05::1 metric 2000");
    const std::string before = routes_in(pod);
    const Census census = Census::take();
    auto refused = fixture.network.attach({id("web-1"), &pod});
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::already_exists,
                "attach web-1/eth0: in the pod: add route ::/0 via fd00:200::1 with priority 2000");
    CHECK(to_string(Census::take()) == to_string(census));
    CHECK(count_of(routes_in(pod), "default") == count_of(before, "default"));
    CHECK(count_of(output_in(pod, "ip -o link"), "eth0") == 0);
  }
}

TEST_CASE("a gateway that is not on link fails the attachment by the route's name, and nothing is left") {
  for (const auto& [destination, gateway] :
       {std::pair{"10.50.0.0/16", "10.9.9.9"}, std::pair{"fd50::/64", "fd09::9"}}) {
    NetworkFixture fixture(with_routes({{net(destination), ip(gateway)}}));
    const Netns pod = must(Netns::create());
    const Census before = Census::take();
    auto refused = fixture.network.attach({id("web-1"), &pod});
    REQUIRE_FALSE(refused);
    const std::string wanted = std::string("in the pod: add route ") + destination + " via " + gateway + ": ";
    check_error(refused.error(), refused.error().code(), wanted.c_str());
    CHECK(to_string(Census::take()) == to_string(before));
    CHECK(count_of(output_in(pod, "ip -o link"), "eth0") == 0);
  }
}

TEST_CASE("bad routes are refused before anything is made") {
  InstanceFixture fixture;
  const std::string before = output_of("ip -o link; ip -o addr");
  const auto refuse = [&](std::vector<Route> routes, const char* text) {
    auto refused = Network::open(fixture.datapath, with_routes(std::move(routes)));
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::invalid_argument, text);
    CHECK(output_of("ip -o link; ip -o addr") == before);
  };
  const Prefix v4 = net("10.50.0.0/16");
  const Prefix v6 = net("fd50::/64");
  refuse({{v4, ip("fd00:200::1")}}, "route 10.50.0.0/16: gateway fd00:200::1 is of another family");
  refuse({{v6, ip("10.200.0.1")}}, "route fd50::/64: gateway 10.200.0.1 is of another family");
  for (const char* text : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"})
    refuse({{v4, ip(text)}}, "is no host's address");
  refuse({{v6, ip("::")}}, "is no host's address");
  refuse({{v4, ip("10.200.0.1"), 0, 0, 0, 0, 253}}, "scope 253 goes with no gateway");
  refuse({{v4, {}, 0, 0, 0, 0, 255}}, "scope 255");
  refuse({{v4, {}, 67}}, "MTU 67 is not within 68 and 1500");
  refuse({{v6, {}, 1279}}, "MTU 1279 is not within 1280 and 1500");
  refuse({{v4, {}, 1501}}, "MTU 1501");
  refuse({{v4, {}, 0, 65496}}, "route 10.50.0.0/16: MSS 65496 is above 65495");
  const char* twice = "there is another one with the same table and priority";
  refuse({{v4}, {v4, ip("10.200.0.9")}}, twice);
  refuse({{v4}, {v4, {}, 0, 0, 0, 254}}, twice);
  refuse({{v6}, {v6, {}, 0, 0, 1024}}, twice);
  NetworkOptions options = network_options("patu0", "10.200.0.0/24", nullptr);
  options.routes = {{v6, {}, 0, 0, 0, 0, 0}};
  auto refused = Network::open(fixture.datapath, options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::invalid_argument, "needs a gateway");
  // The same destination elsewhere is another route.
  options = with_routes({{v4}, {v4, {}, 0, 0, 1}, {v4, {}, 0, 0, 0, 100}, {v6}, {v6, {}, 0, 0, 1}});
  must(must(Network::open(fixture.datapath, options)).remove());
}
