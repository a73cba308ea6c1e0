// What the pod program says to ARP and to neighbour discovery, by BPF_PROG_TEST_RUN.
#include "pod_node.hpp"

namespace patu::test {
namespace {

TEST_CASE("ARP speaks of the sender only") {
  const Node node;
  CHECK(node.verdict(arp_frame({1, kMac, kV4, {}, kPeerV4})) == kGoOn);        // who has
  CHECK(node.verdict(arp_frame({2, kMac, kV4, kPeerMac, kPeerV4})) == kGoOn);  // reply
  CHECK(node.verdict(arp_frame({1, kMac, kV4, {}, kV4})) == kGoOn);            // announcement
  CHECK(node.verdict(arp_frame({2, kMac, kV4, kBroadcast, kV4})) == kGoOn);
  for (const std::uint16_t operation : Numbers{1, 2}) {
    CHECK(node.verdict(arp_frame({operation, kMac, kPeerV4, {}, kFarV4})) == kDrop);
    CHECK(node.verdict(arp_frame({operation, kMac, ip("10.1.0.1"), {}, kPeerV4})) == kDrop);  // the gateway's
    CHECK(node.verdict(arp_frame({operation, kPeerMac, kV4, {}, kPeerV4})) == kDrop);
    CHECK(node.verdict(ethernet(kBroadcast, kPeerMac, kArp, arp({operation, kMac, kV4, {}, kPeerV4}))) == kDrop);
    CHECK(node.verdict(ethernet(kBroadcast, kPeerMac, kArp, arp({operation, kPeerMac, kPeerV4, {}, kV4}))) == kDrop);
    CHECK(node.verdict(ethernet(kBroadcast, kPeerMac, kArp, arp({operation, kPeerMac, kV4, {}, kPeerV4}))) == kDrop);
  }
}

TEST_CASE("an ARP probe may ask for the pod's own address only") {
  const Node node;
  CHECK(node.verdict(arp_frame({1, kMac, kNone4, {}, kV4})) == kGoOn);
  CHECK(node.verdict(arp_frame({1, kMac, kNone4, {}, kPeerV4})) == kDrop);
  CHECK(node.verdict(arp_frame({1, kMac, kNone4, {}, ip("10.1.0.77")})) == kDrop);
  CHECK(node.verdict(arp_frame({1, kMac, kNone4, {}, kNone4})) == kDrop);
  CHECK(node.verdict(arp_frame({2, kMac, kNone4, {}, kV4})) == kDrop);  // a reply is no probe
  CHECK(node.verdict(ethernet(kBroadcast, kPeerMac, kArp, arp({1, kPeerMac, kNone4, {}, kPeerV4}))) == kDrop);
}

TEST_CASE("ARP of another form than Ethernet and IPv4, or with another operation, is dropped") {
  const Node node;
  const Bytes good = arp_frame({1, kMac, kV4, {}, kPeerV4});
  for (const std::size_t at : {14, 15, 16, 17, 18, 19, 20}) {
    Bytes frame = good;
    frame[at] = static_cast<std::uint8_t>(frame[at] + 1);
    CHECK(node.verdict(frame) == kDrop);
  }
  for (const std::uint16_t operation : Numbers{0, 3, 4, 8, 9, 10, 0xffff})
    CHECK(node.verdict(arp_frame({operation, kMac, kV4, {}, kPeerV4})) == kDrop);
}

TEST_CASE("neighbour solicitations bear the sender's own MAC") {
  const Node node;
  for (const IpAddress& from : {kV6, link_local(kMac)}) {
    CHECK(node.verdict(nd_frame(from, 135, bytes_of(kPeerV6))) == kGoOn);
    CHECK(node.verdict(nd_frame(from, 135, bytes_of(kPeerV6) + mac_option(1, kMac))) == kGoOn);
    CHECK(node.verdict(nd_frame(from, 135, bytes_of(kPeerV6) + mac_option(1, kPeerMac))) == kDrop);
    CHECK(node.verdict(nd_frame(from, 135, bytes_of(kPeerV6) + mac_option(2, kPeerMac))) == kDrop);
    CHECK(node.verdict(nd_frame(from, 135, bytes_of(kPeerV6) + mac_option(1, kMac) + mac_option(1, kPeerMac))) ==
          kDrop);
  }
  CHECK(node.verdict(nd_frame(kPeerV6, 135, bytes_of(kV6) + mac_option(1, kMac))) == kDrop);
  CHECK(node.verdict(nd_frame(link_local(kPeerMac), 135, bytes_of(kV6) + mac_option(1, kMac))) == kDrop);
}

TEST_CASE("duplicate address detection is for the pod's own addresses") {
  const Node node;
  const Bytes nonce{14, 1, 1, 2, 3, 4, 5, 6};
  CHECK(node.verdict(nd_frame(kNone6, 135, bytes_of(kV6))) == kGoOn);
  CHECK(node.verdict(nd_frame(kNone6, 135, bytes_of(kV6) + nonce)) == kGoOn);
  CHECK(node.verdict(nd_frame(kNone6, 135, bytes_of(link_local(kMac)) + nonce)) == kGoOn);
  CHECK(node.verdict(nd_frame(kNone6, 135, bytes_of(kV6) + mac_option(1, kPeerMac))) == kDrop);
  for (const IpAddress& target : {kPeerV6, link_local(kPeerMac), ip("fd00:1::77"), ip("fe80::1"), kNone6, kV4})
    CHECK(node.verdict(nd_frame(kNone6, 135, bytes_of(target))) == kDrop);
  CHECK(node.verdict(nd_frame(kNone6, 135, bytes_of(kPeerV6), kPeerMac)) == kDrop);
  CHECK(node.verdict(nd_frame(kNone6, 136, bytes_of(kV6))) == kDrop);
  CHECK(node.verdict(nd_frame(kNone6, 133, {})) == kDrop);
  CHECK(node.verdict(nd_frame(kNone6, 128, {})) == kDrop);
}

TEST_CASE("neighbour advertisements are for the sender's own addresses and MAC") {
  const Node node;
  const Bytes own = mac_option(2, kMac);
  for (const IpAddress& from : {kV6, link_local(kMac)}) {
    for (const IpAddress& target : {kV6, link_local(kMac)}) {
      CHECK(node.verdict(nd_frame(from, 136, bytes_of(target))) == kGoOn);
      CHECK(node.verdict(nd_frame(from, 136, bytes_of(target) + own)) == kGoOn);
      CHECK(node.verdict(nd_frame(from, 136, bytes_of(target) + mac_option(2, kPeerMac))) == kDrop);
      CHECK(node.verdict(nd_frame(from, 136, bytes_of(target) + mac_option(1, kPeerMac))) == kDrop);
      CHECK(node.verdict(nd_frame(from, 136, bytes_of(target) + own + mac_option(2, kPeerMac))) == kDrop);
    }
    for (const IpAddress& target : {kPeerV6, link_local(kPeerMac), ip("fd00:1::77"), ip("fe80::1"), kNone6, kV4})
      CHECK(node.verdict(nd_frame(from, 136, bytes_of(target) + own)) == kDrop);
  }
  CHECK(node.verdict(nd_frame(kPeerV6, 136, bytes_of(kPeerV6) + own)) == kDrop);
  CHECK(node.verdict(nd_frame(kPeerV6, 136, bytes_of(kV6) + own)) == kDrop);
  CHECK(node.verdict(nd_frame(link_local(kPeerMac), 136, bytes_of(kV6) + own)) == kDrop);
  CHECK(node.verdict(nd_frame(kPeerV6, 136, bytes_of(link_local(kMac)) + own)) == kDrop);
}

TEST_CASE("no pod is a router") {
  const Node node;
  for (const IpAddress& from : {kV6, link_local(kMac), kNone6}) {
    for (const std::size_t rest : {8, 16, 24, 32}) {
      CHECK(node.verdict(nd_frame(from, 134, Bytes(rest))) == kDrop);
      CHECK(node.verdict(nd_frame(from, 137, Bytes(rest))) == kDrop);
    }
  }
  CHECK(node.verdict(nd_frame(link_local(kMac), 133, {})) == kGoOn);  // but it may ask for one
  CHECK(node.verdict(nd_frame(link_local(kMac), 133, mac_option(1, kMac))) == kGoOn);
  CHECK(node.verdict(nd_frame(link_local(kMac), 133, mac_option(1, kPeerMac))) == kDrop);
  CHECK(node.verdict(nd_frame(link_local(kMac), 133, mac_option(1, kMac) + mac_option(1, kPeerMac))) == kDrop);
}

TEST_CASE("neighbour discovery that hides behind other headers is dropped") {
  const Node node;
  const Bytes advertisement = icmpv6(134, Bytes(8));
  const IpAddress own = link_local(kMac);
  for (const std::uint8_t first : Octets{0, 43, 60}) {
    CHECK(node.verdict(ethernet(kGroup, kMac, kIpv6,
                                ipv6(own, kAllNodes, first, 255, hop_by_hop(kIcmpv6) + advertisement))) == kDrop);
    CHECK(node.verdict(ethernet(
              kGroup, kMac, kIpv6,
              ipv6(own, kAllNodes, first, 255, hop_by_hop(60) + hop_by_hop(kIcmpv6) + advertisement))) == kDrop);
    // With a lower hop limit nobody believes it, whatever it is.
    CHECK(node.verdict(ethernet(kGroup, kMac, kIpv6, ipv6(own, kAllNodes, first, 64, hop_by_hop(kUdp) + udp("x")))) ==
          kGoOn);
  }
}

TEST_CASE("multicast listener reports go out before the pod has an address, and queries do not") {
  const Node node;
  const auto report = [](const IpAddress& from, std::uint8_t type, const MacAddress& own) {
    return ethernet(kGroup, own, kIpv6, ipv6(from, kAllNodes, 0, 1, hop_by_hop(kIcmpv6) + icmpv6(type)));
  };
  for (const std::uint8_t type : Octets{131, 132, 143}) {
    CHECK(node.verdict(report(kNone6, type, kMac)) == kGoOn);
    CHECK(node.verdict(report(link_local(kMac), type, kMac)) == kGoOn);
    CHECK(node.verdict(report(kNone6, type, kPeerMac)) == kDrop);
  }
  for (const std::uint8_t type : Octets{130, 133, 134, 135, 136, 128})
    CHECK(node.verdict(report(kNone6, type, kMac)) == kDrop);
  const Bytes padded = Bytes{kIcmpv6, 1, 5, 2, 0, 0, 1, 6, 143} + Bytes(7) + icmpv6(128);  // 143 is padding
  CHECK(node.verdict(ethernet(kGroup, kMac, kIpv6, ipv6(kNone6, kAllNodes, 0, 1, padded))) == kDrop);
  CHECK(node.verdict(ethernet(kGroup, kMac, kIpv6, ipv6(kNone6, kAllNodes, 0, 1, hop_by_hop(kUdp) + icmpv6(143)))) ==
        kDrop);
}

}  // namespace
}  // namespace patu::test
