// Ports and pods for runs of the pod program on single frames, and the frames that its pod may send.
#pragma once

#include <doctest/doctest.h>
#include <linux/pkt_cls.h>
#include <net/if.h>

#include <initializer_list>
#include <optional>

#include "pod_program.hpp"
#include "sandbox.hpp"

namespace patu::test {

inline constexpr int kGoOn = TC_ACT_UNSPEC;
inline constexpr int kDrop = TC_ACT_SHOT;
inline constexpr int kStraight = TC_ACT_REDIRECT;

using Octets = std::initializer_list<std::uint8_t>;
using Numbers = std::initializer_list<std::uint16_t>;

inline constexpr std::uint16_t kIpv4 = 0x0800;
inline constexpr std::uint16_t kIpv6 = 0x86dd;
inline constexpr std::uint16_t kArp = 0x0806;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kIcmpv6 = 58;

inline constexpr std::uint32_t kBridge = 100;
inline constexpr std::uint32_t kOtherBridge = 200;

inline const MacAddress kMac = mac("0a:58:0a:01:00:05");
inline const MacAddress kPeerMac = mac("0a:58:0a:01:00:06");
inline const MacAddress kGatewayMac = mac("0a:58:0a:01:00:01");
inline const MacAddress kBroadcast = mac("ff:ff:ff:ff:ff:ff");
inline const MacAddress kGroup = mac("33:33:00:00:00:01");
inline const IpAddress kV4 = ip("10.1.0.5"), kV6 = ip("fd00:1::5");
inline const IpAddress kPeerV4 = ip("10.1.0.6"), kPeerV6 = ip("fd00:1::6");
inline const IpAddress kFarV4 = ip("10.2.0.7"), kFarV6 = ip("fd00:2::7");
inline const IpAddress kNone4 = ip("0.0.0.0"), kNone6 = ip("::");
inline const IpAddress kAllNodes = ip("ff02::1");

// The pod under test and one more on the same bridge, one on another bridge.
class Node final {
 public:
  Node() {
    REQUIRE(output_of(
                "ip link add port type veth peer name end && ip link add port2 type veth peer name end2 && echo ok") ==
            "ok\n");
    port_ = ::if_nametoindex("port");
    peer_port_ = ::if_nametoindex("port2");
    auto program = PodProgram::load();
    REQUIRE_MESSAGE(program, program.error().to_string());
    program_.emplace(std::move(*program));
    REQUIRE(program_->add_pod(port_, kBridge, kMac, {kV4, kV6}, true));
    REQUIRE(program_->add_pod(peer_port_, kBridge, kPeerMac, {kPeerV4, kPeerV6}, true));
    REQUIRE(program_->add_pod(999, kOtherBridge, mac("0a:58:0a:02:00:07"), {kFarV4, kFarV6}, true));
  }
  ~Node() { output_of("ip link delete port; ip link delete port2"); }

  Verdict run(const Bytes& frame) const { return program_->run(frame, port_); }
  int verdict(const Bytes& frame) const { return run(frame).value; }
  int verdict_at_peer(const Bytes& frame) const { return program_->run(frame, peer_port_).value; }
  std::uint32_t port() const noexcept { return port_; }
  std::uint32_t peer_port() const noexcept { return peer_port_; }
  PodProgram& program() noexcept { return *program_; }

 private:
  std::uint32_t port_ = 0;
  std::uint32_t peer_port_ = 0;
  std::optional<PodProgram> program_;
};

// Frames that the pod may send, with what each test changes as parameters.
inline Bytes v4_frame(const IpAddress& to = kPeerV4, const MacAddress& to_mac = kPeerMac, const IpAddress& from = kV4,
                      const MacAddress& from_mac = kMac) {
  return ethernet(to_mac, from_mac, kIpv4, ipv4(from, to, udp("hello")));
}
inline Bytes v6_frame(const IpAddress& to = kPeerV6, const MacAddress& to_mac = kPeerMac, const IpAddress& from = kV6,
                      const MacAddress& from_mac = kMac) {
  return ethernet(to_mac, from_mac, kIpv6, ipv6(from, to, kUdp, 64, udp("hello")));
}
inline Bytes arp_frame(const Arp& body) { return ethernet(kBroadcast, kMac, kArp, arp(body)); }
inline Bytes nd_frame(const IpAddress& from, std::uint8_t type, const Bytes& rest, const MacAddress& from_mac = kMac) {
  return ethernet(kGroup, from_mac, kIpv6, ipv6(from, kAllNodes, kIcmpv6, 255, icmpv6(type, rest)));
}
inline Bytes hop_by_hop(std::uint8_t next) { return {next, 0, 5, 2, 0, 0, 1, 0}; }  // router alert and padding

inline Bytes cut(Bytes frame, std::size_t length) {
  frame.resize(length);
  return frame;
}

}  // namespace patu::test
