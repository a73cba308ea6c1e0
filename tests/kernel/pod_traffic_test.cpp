// The pod program under real traffic.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "lab.hpp"
#include "sandbox.hpp"
#include "traffic.hpp"

namespace patu::test {
namespace {

constexpr std::size_t kStream = 8u << 20;
constexpr std::uint64_t kLittle = 64u << 10;  // what ARP, neighbour discovery and multicast reports may come to
constexpr std::uint16_t kIpv4 = 0x0800;
constexpr std::uint16_t kIpv6 = 0x86dd;
constexpr std::uint16_t kArp = 0x0806;
const MacAddress kBroadcast = mac("ff:ff:ff:ff:ff:ff");

std::unique_ptr<Lab> make_lab(unsigned pods, Attachment attachment) {
  auto lab = Lab::make(pods, attachment);
  REQUIRE_MESSAGE(lab, lab.error().to_string());
  return std::move(*lab);
}

Bytes text(std::string_view chars) { return Bytes(chars.begin(), chars.end()); }

// Duplicate address detection of the link-local address ends after a second or two; nothing can be sent from it before.
bool has_link_local(const LabPod& pod) {
  return output_in(pod.netns,
                   "for i in $(seq 100); do ip -6 address show dev eth0 scope link | grep -q tentative || break; sleep "
                   "0.1; done; "
                   "ip -6 address show dev eth0 scope link -tentative")
             .find(link_local(pod.mac).to_string()) != std::string::npos;
}

void check_honest_traffic() {
  const auto lab = make_lab(2, Attachment::clsact);
  const LabPod &a = lab->pod(0), &b = lab->pod(1);
  for (const IpAddress& to : {b.v4, b.v6}) {
    CHECK(echo(a.netns, to));
    CHECK(echo(a.netns, to, 6000));  // in fragments
    CHECK(exchange(b.netns, a.netns, to, kStream));
  }
  REQUIRE(has_link_local(a));
  REQUIRE(has_link_local(b));
  CHECK(echo(a.netns, link_local(b.mac)));
  CHECK(lab->bytes_through_bridge(0) < kLittle);
  CHECK(lab->bytes_through_bridge(1) < kLittle);

  // Without offloads every packet has its checksum, and the receiver checks it.
  REQUIRE(switch_off_offloads(a.netns));
  REQUIRE(switch_off_offloads(b.netns));
  CHECK(exchange(b.netns, a.netns, b.v4, kStream));
  CHECK(exchange(a.netns, b.netns, a.v6, kStream));
  CHECK(lab->bytes_through_bridge(0) < kLittle);
  CHECK(lab->bytes_through_bridge(1) < kLittle);
}

TEST_CASE("pods reach each other, and their packets skip the bridge") { check_honest_traffic(); }

TEST_CASE("without the program the bridge carries it all") {
  const auto lab = make_lab(2, Attachment::none);
  CHECK(exchange(lab->pod(1).netns, lab->pod(0).netns, lab->pod(1).v4, kStream));
  CHECK(lab->bytes_through_bridge(0) > kStream);
  CHECK(lab->bytes_through_bridge(1) > kStream);
}

// What a pod forges to fool `victim`, each with a name at its end. `other` is whom it plays.
std::vector<Bytes> forgeries(const LabPod& self, const LabPod& victim, const LabPod& other) {
  const Bytes solicitation = icmpv6(135, bytes_of(victim.v6) + mac_option(1, self.mac));
  const Bytes advertisement = icmpv6(136, bytes_of(other.v6) + mac_option(2, self.mac));
  const Bytes tagged = Bytes{0, 5, 8, 0} + ipv4(self.v4, victim.v4, udp("forged: tagged"));
  return {
      ethernet(victim.mac, self.mac, kIpv4, ipv4(other.v4, victim.v4, udp("forged: IPv4 source"))),
      ethernet(victim.mac, other.mac, kIpv4, ipv4(self.v4, victim.v4, udp("forged: MAC"))),
      ethernet(victim.mac, other.mac, kIpv4, ipv4(other.v4, victim.v4, udp("forged: IPv4 source and MAC"))),
      ethernet(victim.mac, self.mac, kIpv6, ipv6(other.v6, victim.v6, 17, 64, udp("forged: IPv6 source"))),
      ethernet(victim.mac, self.mac, kIpv6,
               ipv6(link_local(other.mac), victim.v6, 17, 64, udp("forged: link-local source"))),
      ethernet(victim.mac, self.mac, kArp,
               arp({2, self.mac, other.v4, victim.mac, victim.v4}) + text("forged: ARP reply")),
      ethernet(kBroadcast, self.mac, kArp, arp({1, self.mac, other.v4, {}, victim.v4}) + text("forged: ARP request")),
      ethernet(kBroadcast, other.mac, kArp,
               arp({1, other.mac, other.v4, {}, other.v4}) + text("forged: ARP announcement")),
      ethernet(kBroadcast, self.mac, kArp, arp({1, self.mac, ip("0.0.0.0"), {}, other.v4}) + text("forged: ARP probe")),
      ethernet(victim.mac, self.mac, kIpv6,
               ipv6(other.v6, victim.v6, 58, 255, solicitation) + text("forged: solicitation")),
      ethernet(victim.mac, self.mac, kIpv6,
               ipv6(self.v6, victim.v6, 58, 255, advertisement) + text("forged: advertisement")),
      ethernet(victim.mac, self.mac, kIpv6,
               ipv6(link_local(self.mac), ip("ff02::1"), 58, 255, icmpv6(134, Bytes(8))) + text("forged: router")),
      ethernet(victim.mac, self.mac, 0x8100, tagged),
      ethernet(victim.mac, self.mac, 0x88b5, text("forged: experimental protocol")),
      ethernet(victim.mac, self.mac, kIpv4, text("forged: IPv4")),
      ethernet(victim.mac, self.mac, kIpv6, text("forged: too short for IPv6")),
      ethernet(victim.mac, self.mac, kArp, text("forged: no ARP")),
  };
}

// One that goes straight, one that goes over the bridge.
std::vector<Bytes> honest_frames(const LabPod& self, const LabPod& victim) {
  return {
      ethernet(victim.mac, self.mac, kIpv4, ipv4(self.v4, victim.v4, udp("honest: IPv4"))),
      ethernet(victim.mac, self.mac, kIpv6, ipv6(self.v6, victim.v6, 17, 64, udp("honest: IPv6"))),
      ethernet(victim.mac, self.mac, kIpv6,
               ipv6(self.v6, victim.v6, 58, 255, icmpv6(136, bytes_of(self.v6) + mac_option(2, self.mac))) +
                   text("honest: advertisement")),
      ethernet(kBroadcast, self.mac, kArp, arp({1, self.mac, self.v4, {}, victim.v4}) + text("honest: ARP")),
  };
}
const std::set<std::string> kHonest{"honest: IPv4", "honest: IPv6", "honest: advertisement", "honest: ARP"};

// Names of the frames that `victim` heard, forged and honest.
std::set<std::string> heard_by_victim(const Lab& lab, Path path) {
  const LabPod &victim = lab.pod(0), &other = lab.pod(1), &self = lab.pod(2);
  auto listener = Listener::open(victim.netns);
  REQUIRE(listener);
  std::vector<Bytes> frames = forgeries(self, victim, other);
  for (Bytes& frame : honest_frames(self, victim)) frames.push_back(std::move(frame));
  REQUIRE(send_frames(self.netns, frames, path));
  std::set<std::string> names;
  for (const Bytes& frame : listener->hear(kHonest)) {
    const std::string chars(frame.begin(), frame.end());
    const std::size_t at = std::min(chars.find("forged:"), chars.find("honest:"));
    if (at != std::string::npos) names.insert(chars.substr(at));
  }
  return names;
}

TEST_CASE("without the program all forgeries arrive") {
  for (const Path path : {Path::send, Path::ring}) {
    const auto lab = make_lab(3, Attachment::none);
    const std::size_t forged = forgeries(lab->pod(2), lab->pod(0), lab->pod(1)).size();
    CHECK(heard_by_victim(*lab, path).size() == forged + kHonest.size());
  }
}

TEST_CASE("no forgery arrives, and what is honest does") {
  for (const Path path : {Path::send, Path::ring}) {
    const auto lab = make_lab(3, Attachment::clsact);
    CHECK(heard_by_victim(*lab, path) == kHonest);
  }
}

TEST_CASE("a forged ARP reply does not change what its victim believes") {
  const auto lab = make_lab(3, Attachment::clsact);
  const LabPod &victim = lab->pod(0), &other = lab->pod(1), &self = lab->pod(2);
  REQUIRE(echo(victim.netns, other.v4));
  REQUIRE(echo(victim.netns, other.v6));
  CHECK(heard_by_victim(*lab, Path::send) == kHonest);
  const std::string neighbours = output_in(victim.netns, "ip neigh show dev eth0");
  CHECK(neighbours.find(other.v4.to_string() + " lladdr " + other.mac.to_string()) != std::string::npos);
  CHECK(neighbours.find(other.v6.to_string() + " lladdr " + other.mac.to_string()) != std::string::npos);
  CHECK(neighbours.find(other.v4.to_string() + " lladdr " + self.mac.to_string()) == std::string::npos);
  CHECK(echo(victim.netns, other.v4));
}

TEST_CASE("what is for a pod whose interface is down is lost, and what comes later is not") {
  const auto lab = make_lab(2, Attachment::clsact);
  const LabPod &a = lab->pod(0), &b = lab->pod(1);
  REQUIRE(echo(a.netns, b.v4));
  output_in(b.netns, "ip link set eth0 down");
  CHECK(send_frames(a.netns, {ethernet(b.mac, a.mac, kIpv4, ipv4(a.v4, b.v4, udp("lost")))}, Path::send));
  output_in(b.netns, "ip link set eth0 up");
  CHECK(echo(a.netns, b.v4));
  CHECK(lab->bytes_through_bridge(1) < kLittle);
}

}  // namespace
}  // namespace patu::test
