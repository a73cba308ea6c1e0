// Links, addresses, routes and neighbours come out as asked for; `ip` is the witness.
#include <doctest/doctest.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "nl/addr.hpp"
#include "nl/link.hpp"
#include "nl/route.hpp"
#include "sandbox.hpp"

namespace patu::nl {
namespace {

using test::output_in;

const IfName kHostEnd = *IfName::parse("veth0");
const IfName kPodEnd = *IfName::parse("eth0");
const IfName kBridge = *IfName::parse("br0");
const MacAddress kBridgeMac = *MacAddress::parse("02:00:00:00:00:01");
const MacAddress kHostMac = *MacAddress::parse("02:00:00:00:00:02");
const Prefix kDefault4 = *Prefix::parse("0.0.0.0/0");
const Prefix kDefault6 = *Prefix::parse("::/0");
const MacAddress kPodMac = *MacAddress::parse("02:00:00:00:00:03");

InterfaceAddress address(const char* text, std::uint32_t length) { return {*IpAddress::parse(text), length}; }

// A bridge in one namespace, and a veth from there into another one.
struct Net {
  Netns netns = *Netns::create();
  Netns pod_netns = *Netns::create();
  Socket host = *Socket::open_in(netns.fd());
  Socket pod = *Socket::open_in(pod_netns.fd());
  std::uint32_t bridge = 0;
  std::uint32_t host_end = 0;
  std::uint32_t pod_end = 0;

  Net() {
    must(host, create_bridge({kBridge, kBridgeMac, 1450}));
    bridge = number(netns, "ip -j link show br0 | jq '.[0].ifindex'");
    must(host, create_veth({kHostEnd, kPodEnd, pod_netns.fd(), bridge, 1450, kHostMac, kPodMac}));
    host_end = number(netns, "ip -j link show veth0 | jq '.[0].ifindex'");
    pod_end = number(pod_netns, "ip -j link show eth0 | jq '.[0].ifindex'");
    REQUIRE((bridge != 0 && host_end != 0 && pod_end != 0));
  }

  void up() {
    must(host, set_link_up(host_end));
    must(pod, set_link_up(pod_end));
  }
  void up_with_addresses() {
    up();
    must(pod, add_address(pod_end, {*IpAddress::parse("10.1.0.5"), 24}));
    must(pod, add_address(pod_end, {*IpAddress::parse("fd00::5"), 64}));
  }
  static void must(Socket& socket, Request request) {
    const auto result = socket.call(request);
    REQUIRE_MESSAGE(result, (result ? "" : result.error().to_string()));
  }
  static Error error_of(Socket& socket, Request request) {
    auto result = socket.call(request);
    REQUIRE_FALSE(result);
    return std::move(result.error());
  }
  static std::uint32_t number(const Netns& netns, const std::string& command) {
    return static_cast<std::uint32_t>(std::strtoul(output_in(netns, command).c_str(), nullptr, 10));
  }
  std::string host_link(const std::string& name, const std::string& filter) const {
    return output_in(netns, "ip -d -j link show " + name + " 2>/dev/null | jq -cr '.[0]|" + filter + "'");
  }
  std::string pod_link(const std::string& filter) const {
    return output_in(pod_netns, "ip -d -j link show eth0 | jq -cr '.[0]|" + filter + "'");
  }
};

TEST_CASE("a veth is created whole: its peer in the other namespace, one queue, on its bridge, down") {
  Net net;
  CHECK(net.host_link("veth0", "[.address,.mtu,.master,.num_tx_queues,.num_rx_queues,.linkinfo.info_kind]") ==
        "[\"02:00:00:00:00:02\",1450,\"br0\",1,1,\"veth\"]\n");
  CHECK(net.pod_link("[.address,.mtu,.num_tx_queues,.num_rx_queues,.linkinfo.info_kind]") ==
        "[\"02:00:00:00:00:03\",1450,1,1,\"veth\"]\n");
  CHECK(net.host_link("veth0", ".flags|index(\"UP\")") == "null\n");
  CHECK(net.pod_link(".flags|index(\"UP\")") == "null\n");
  CHECK(output_in(net.netns, "ip -br link | wc -l") == "3\n");
  const Error again =
      Net::error_of(net.host, create_veth({kHostEnd, kPodEnd, net.pod_netns.fd(), 0, 1500, kHostMac, kPodMac}));
  CHECK(again.code() == Errc::already_exists);
}

TEST_CASE("without a namespace for the peer both ends are neighbours") {
  Net net;
  Net::must(net.host, create_veth({*IfName::parse("a"), *IfName::parse("b"), -1, 0, 1500, kHostMac, kPodMac}));
  CHECK(net.host_link("b", ".link") == "a\n");
  const auto link = find_link(net.host, *IfName::parse("a"));
  REQUIRE((link && *link));
  CHECK((*link)->peer_netnsid == -1);
  CHECK((*link)->peer_ifindex == Net::number(net.netns, "ip -j link show b | jq '.[0].ifindex'"));
}

TEST_CASE("a bridge is up from its first moment, with the MAC and the MTU it was given") {
  Net net;
  CHECK(net.host_link("br0", "[.address,.mtu,.linkinfo.info_kind]") == "[\"02:00:00:00:00:01\",1450,\"bridge\"]\n");
  CHECK(net.host_link("br0", ".flags|index(\"UP\")!=null") == "true\n");
  CHECK(Net::error_of(net.host, create_bridge({kBridge, kBridgeMac, 1450})).code() == Errc::already_exists);
}

TEST_CASE("a link is read back as it is") {
  Net net;
  const std::string alias(255, 'a');
  Net::must(net.host, set_link_alias(kHostEnd, alias));
  Net::must(net.host, set_link_group(net.host_end, 77));
  const auto by_name = find_link(net.host, kHostEnd);
  const auto by_index = find_link(net.host, net.host_end);
  REQUIRE((by_name && *by_name && by_index && *by_index));
  for (const Link& link : {**by_name, **by_index}) {
    CHECK(link.ifindex == net.host_end);
    CHECK(link.name == "veth0");
    CHECK(link.kind == "veth");
    CHECK(link.alias == alias);
    CHECK(link.mac == kHostMac);
    CHECK(link.mtu == 1450);
    CHECK(link.master == net.bridge);
    CHECK(link.group == 77);
    CHECK(link.peer_ifindex == net.pod_end);
    CHECK(link.peer_netnsid ==
          static_cast<int>(Net::number(net.netns, "ip -j link show veth0 | jq '.[0].link_netnsid'")));
    CHECK((link.flags & IFF_UP) == 0);
    CHECK_FALSE(link.carrier);
  }
  CHECK(net.host_link("veth0", ".ifalias") == alias + "\n");
  CHECK(net.host_link("veth0", ".group") == "77\n");
  net.up();
  const auto up = find_link(net.host, kHostEnd);
  REQUIRE((up && *up));
  CHECK(((*up)->flags & IFF_UP) != 0);
  CHECK((*up)->carrier);
}

TEST_CASE("an alias that is too long is refused, not cut") {
  Net net;
  CHECK_FALSE(net.host.call(*std::make_unique<Request>(set_link_alias(kHostEnd, std::string(256, 'a')))));
  CHECK(net.host_link("veth0", ".ifalias") == "null\n");
}

TEST_CASE("a link that is not there is an answer, not an error") {
  Net net;
  const auto by_name = find_link(net.host, *IfName::parse("nowhere"));
  const auto by_index = find_link(net.host, 999'999U);
  REQUIRE((by_name && by_index));
  CHECK_FALSE(*by_name);
  CHECK_FALSE(*by_index);
  CHECK(Net::error_of(net.host, delete_link(*IfName::parse("nowhere"))).os_error() == ENODEV);
  CHECK(Net::error_of(net.host, set_link_up(*IfName::parse("nowhere"))).os_error() == ENODEV);
}

TEST_CASE("links go up and down, join a bridge and leave it") {
  Net net;
  const auto is_up = [&] { return net.host_link("veth0", ".flags|index(\"UP\")!=null") == "true\n"; };
  Net::must(net.host, set_link_up(kHostEnd));
  CHECK(is_up());
  Net::must(net.host, set_link_down(net.host_end));
  CHECK_FALSE(is_up());
  Net::must(net.host, set_link_up(net.host_end));
  CHECK(is_up());
  Net::must(net.host, set_link_master(net.host_end, 0));
  CHECK(net.host_link("veth0", ".master") == "null\n");
  CHECK(is_up());
  Net::must(net.host, set_link_master(net.host_end, net.bridge));
  CHECK(net.host_link("veth0", ".master") == "br0\n");
}

TEST_CASE("IPv6 identifiers are made from the MAC once asked for") {
  Net net;
  output_in(net.pod_netns, "ip link set eth0 addrgenmode none");
  CHECK(net.pod_link(".inet6_addr_gen_mode") == "none\n");
  Net::must(net.pod, set_link_eui64(kPodEnd));
  CHECK(net.pod_link(".inet6_addr_gen_mode") == "eui64\n");
}

TEST_CASE("links are deleted by index and by name, and take their peers along") {
  Net net;
  Net::must(net.host, delete_link(net.host_end));
  CHECK(net.host_link("veth0", ".ifname").empty());
  CHECK(output_in(net.pod_netns, "ip -br link | wc -l") == "1\n");
  Net::must(net.host, delete_link(kBridge));
  CHECK(output_in(net.netns, "ip -br link | wc -l") == "1\n");
}

TEST_CASE("a group is deleted in one request, and nobody else") {
  Net net;
  for (const char* name : {"a", "b", "c"}) {
    const IfName peer = *IfName::parse(std::string("peer-") + name);
    Net::must(net.host, create_veth({*IfName::parse(name), peer, -1, net.bridge, 1500, kHostMac, kPodMac}));
    const auto link = find_link(net.host, *IfName::parse(name));
    REQUIRE((link && *link));
    if (*name != 'c') Net::must(net.host, set_link_group((*link)->ifindex, 77));
  }
  Net::must(net.host, delete_link_group(77));
  CHECK(output_in(net.netns, "ip -j link | jq -cr 'map(.ifname)|sort'") ==
        "[\"br0\",\"c\",\"lo\",\"peer-c\",\"veth0\"]\n");
  CHECK(Net::error_of(net.host, delete_link_group(77)).code() == Errc::not_found);
  CHECK_FALSE(net.host.call(*std::make_unique<Request>(delete_link_group(0))));
  CHECK(output_in(net.netns, "ip -br link | wc -l") == "5\n");
}

TEST_CASE("links are listed all together or by their bridge") {
  Net net;
  const auto names = [](Result<std::vector<Link>>&& links) {
    REQUIRE(links);
    std::vector<std::string> out;
    for (const Link& link : *links) out.push_back(link.name);
    std::sort(out.begin(), out.end());
    return out;
  };
  CHECK(names(list_links(net.host, 0)) == std::vector<std::string>{"br0", "lo", "veth0"});
  CHECK(names(list_links(net.host, net.bridge)) == std::vector<std::string>{"veth0"});
  CHECK(names(list_links(net.host, net.host_end)).empty());
  CHECK(names(list_links(net.host, 999'999)).empty());
}

TEST_CASE("addresses are added once however often one asks, and deleted") {
  Net net;
  net.up();
  const std::vector wanted{address("10.1.0.5", 24), address("10.2.0.4", 31), address("10.3.0.1", 32),
                           address("fd00::5", 64)};
  for (const int round : {1, 2}) {
    CAPTURE(round);
    for (const InterfaceAddress& each : wanted) Net::must(net.pod, add_address(net.pod_end, each));
    CHECK(output_in(net.pod_netns,
                    "ip -j addr show eth0 | jq -c '.[0].addr_info|map(select(.scope==\"global\"))[]|"
                    "[.local,.prefixlen,.broadcast,.nodad,.tentative]'") ==
          "[\"10.1.0.5\",24,\"10.1.0.255\",null,null]\n[\"10.2.0.4\",31,null,null,null]\n"
          "[\"10.3.0.1\",32,null,null,null]\n[\"fd00::5\",64,null,true,null]\n");
  }
  Net::must(net.pod, add_address(1, address("10.9.0.1", 8)));  // loopback's are not eth0's
  const auto listed = list_addresses(net.pod, net.pod_end);
  REQUIRE(listed);
  for (const InterfaceAddress& each : wanted) CHECK(std::count(listed->begin(), listed->end(), each) == 1);
  CHECK(std::to_string(listed->size()) + "\n" ==
        output_in(net.pod_netns, "ip -j addr show eth0 | jq '.[0].addr_info|length'"));
  for (const InterfaceAddress& each : wanted) Net::must(net.pod, delete_address(net.pod_end, each));
  CHECK(output_in(net.pod_netns, "ip -o addr show eth0 scope global").empty());
  CHECK(Net::error_of(net.pod, delete_address(net.pod_end, wanted[0])).os_error() == EADDRNOTAVAIL);
}

TEST_CASE("the broadcast address has all host bits set, whatever the prefix") {
  Net net;
  const auto broadcast = [&](const InterfaceAddress& each) {
    Net::must(net.pod, add_address(net.pod_end, each));
    const std::string own = ".[0].addr_info[]|select(.local==\"" + each.address.to_string() + "\")";
    return output_in(net.pod_netns, "ip -j addr show eth0 | jq -r '" + own + "|.broadcast'");
  };
  CHECK(broadcast(address("10.4.5.6", 8)) == "10.255.255.255\n");
  CHECK(broadcast(address("172.16.5.6", 20)) == "172.16.15.255\n");
  CHECK(broadcast(address("192.168.7.9", 30)) == "192.168.7.11\n");
}

TEST_CASE("a default route of each family is added once, and routes of all tables are listed") {
  Net net;
  net.up_with_addresses();
  const IpAddress v4 = *IpAddress::parse("10.1.0.1");
  const IpAddress v6 = *IpAddress::parse("fd00::1");
  Net::must(net.pod, add_route({kDefault4, v4, net.pod_end}));
  Net::must(net.pod, add_route({kDefault6, v6, net.pod_end}));
  CHECK(output_in(net.pod_netns, "ip -j route show default | jq -c 'map([.gateway,.dev,.protocol])'") ==
        "[[\"10.1.0.1\",\"eth0\",\"static\"]]\n");
  CHECK(output_in(net.pod_netns, "ip -6 -j route show default | jq -c 'map([.gateway,.dev,.protocol])'") ==
        "[[\"fd00::1\",\"eth0\",\"static\"]]\n");
  for (const char* text : {"10.1.0.1", "10.1.0.2", "fd00::1", "fd00::2"}) {
    CAPTURE(text);
    const IpAddress gateway = *IpAddress::parse(text);
    const Route route{gateway.is_v4() ? kDefault4 : kDefault6, gateway, net.pod_end};
    const Error error = Net::error_of(net.pod, add_route(route));
    CHECK(error.code() == Errc::already_exists);
  }
  output_in(net.pod_netns,
            "ip route add 10.50.0.0/16 via 10.1.0.1 table 100; ip route add 10.60.0.0/16 via 10.1.0.1 table 1000");

  const auto routes = list_routes(net.pod);
  REQUIRE(routes);
  const auto has = [&](const Prefix& destination, const std::optional<IpAddress>& gateway, std::uint32_t table = 254) {
    return std::count_if(routes->begin(), routes->end(), [&](const Route& route) {
      return route.table == table && route.destination == destination && route.gateway == gateway &&
             route.ifindex == net.pod_end;
    });
  };
  CHECK(has(kDefault4, v4) == 1);
  CHECK(has(kDefault6, v6) == 1);
  CHECK(has(*Prefix::parse("10.1.0.0/24"), std::nullopt) == 1);
  CHECK(has(*Prefix::parse("fd00::/64"), std::nullopt) == 1);
  CHECK(has(*Prefix::parse("10.50.0.0/16"), v4, 100) == 1);
  CHECK(has(*Prefix::parse("10.60.0.0/16"), v4, 1000) == 1);
}

TEST_CASE("a route has what it was given, and is listed so") {
  Net net;
  net.up_with_addresses();
  const IpAddress v4 = *IpAddress::parse("10.1.0.1");
  const IpAddress v6 = *IpAddress::parse("fd00::1");
  // The largest values that the kernel keeps as they are.
  const std::vector<Route> wanted{
      {*Prefix::parse("10.50.0.0/16"), v4, net.pod_end, 1000, 77, 1400, 1300, 0},
      {*Prefix::parse("10.51.0.0/16"), v4, net.pod_end, 254, 0, 65520, 65495, 0},
      {*Prefix::parse("10.52.0.0/16"), std::nullopt, net.pod_end, 100, 1, 0, 0, 253},
      {*Prefix::parse("10.53.0.1/32"), std::nullopt, net.pod_end, 254, 0, 0, 0, 254},
      {*Prefix::parse("fd50::/64"), v6, net.pod_end, 1000, 77, 1400, 1300, 0},
      {*Prefix::parse("fd51::/64"), std::nullopt, net.pod_end, 100, 1, 65520, 65495, 0},
      {kDefault6, v6, net.pod_end, 254, 1024, 0, 0, 0},
  };
  for (const Route& route : wanted) {
    Net::must(net.pod, add_route(route));
    CHECK(Net::error_of(net.pod, add_route(route)).code() == Errc::already_exists);
  }
  const auto routes = list_routes(net.pod);
  REQUIRE(routes);
  for (const Route& route : wanted)
    CHECK_MESSAGE(std::count(routes->begin(), routes->end(), route) == 1, route.destination.to_string());
}

TEST_CASE("a gateway that is not on link is refused in the kernel's words") {
  Net net;
  net.up();
  Net::must(net.pod, add_address(net.pod_end, address("10.1.0.5", 24)));
  const Error error = Net::error_of(net.pod, add_route({kDefault4, *IpAddress::parse("10.9.0.1"), net.pod_end}));
  CHECK(error.to_string() == "Nexthop has invalid gateway: Network is unreachable (ENETUNREACH)");
}

TEST_CASE("a neighbour is what was said last, to be checked before it is believed") {
  Net net;
  const auto neighbours = [&] {
    return output_in(net.netns, "ip -j neigh show dev br0 | jq -c '.[]|[.dst,.lladdr,.state]'");
  };
  for (const char* text : {"10.1.0.5", "fd00::5"}) {
    const IpAddress who = *IpAddress::parse(text);
    const std::string begin = "[\"" + std::string(text) + "\",\"02:00:00:00:00:0";
    Net::must(net.host, set_neighbour(net.bridge, who, kPodMac));
    CHECK(neighbours() == begin + "3\",[\"STALE\"]]\n");
    output_in(net.netns, "ip neigh replace " + std::string(text) + " dev br0 lladdr 02:00:00:00:00:09 nud reachable");
    Net::must(net.host, set_neighbour(net.bridge, who, kHostMac));
    CHECK(neighbours() == begin + "2\",[\"STALE\"]]\n");
    Net::must(net.host, delete_neighbour(net.bridge, who));
    CHECK(neighbours().empty());
    CHECK(Net::error_of(net.host, delete_neighbour(net.bridge, who)).code() == Errc::not_found);
  }
}

}  // namespace
}  // namespace patu::nl
