// Which addresses a subnet has, and in which order a pool tries them.
#include <doctest/doctest.h>

#include "ipam/candidates.hpp"
#include "ipam/subnet.hpp"

using namespace patu;
using namespace patu::ipam;
using std::chrono::seconds;

namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

Subnet subnet(const char* prefix) { return {*Prefix::parse(prefix)}; }

Subnet completed(const Subnet& subnet) {
  auto out = complete(subnet);
  REQUIRE_MESSAGE(out, out.error().to_string());
  return *out;
}

std::vector<IpAddress> all_of(Candidates& candidates, BootTime now, bool unrested) {
  std::vector<IpAddress> out;
  while (const auto offer = candidates.next(now, unrested)) out.push_back(offer->address);
  return out;
}

void check_refused(const Subnet& subnet, const char* text) {
  auto out = complete(subnet);
  REQUIRE_FALSE(out);
  CHECK(out.error().code() == Errc::invalid_argument);
  CHECK_MESSAGE(out.error().to_string().find(text) != std::string::npos, out.error().to_string());
}

}  // namespace

TEST_CASE("an IPv4 subnet keeps its own address, its broadcast address and the gateway") {
  Candidates candidates(completed(subnet("10.1.0.0/29")));
  CHECK(all_of(candidates, seconds{0}, false) ==
        std::vector{ip("10.1.0.2"), ip("10.1.0.3"), ip("10.1.0.4"), ip("10.1.0.5"), ip("10.1.0.6")});
}

TEST_CASE("an IPv6 subnet keeps its own address and the gateway, and uses its last one") {
  Candidates candidates(completed(subnet("fd00::/126")));
  CHECK(all_of(candidates, seconds{0}, false) == std::vector{ip("fd00::2"), ip("fd00::3")});
}

TEST_CASE("a gateway in the middle and reserved addresses are left out") {
  Subnet in = subnet("10.1.0.0/29");
  in.gateway = ip("10.1.0.4");
  in.reserved = {ip("10.1.0.6"), ip("10.1.0.2")};
  Candidates candidates(completed(in));
  CHECK(all_of(candidates, seconds{0}, false) == std::vector{ip("10.1.0.1"), ip("10.1.0.3"), ip("10.1.0.5")});
}

TEST_CASE("a range bounds what is handed out, not what can be asked for") {
  Subnet in = subnet("10.1.0.0/24");
  in.first = ip("10.1.0.10");
  in.last = ip("10.1.0.11");
  const Subnet out = completed(in);
  Candidates candidates(out);
  CHECK(all_of(candidates, seconds{0}, false) == std::vector{ip("10.1.0.10"), ip("10.1.0.11")});
  CHECK(check_requested(out, ip("10.1.0.200")));
  CHECK_FALSE(check_requested(out, ip("10.1.0.1")));
  CHECK_FALSE(check_requested(out, ip("10.1.0.0")));
  CHECK_FALSE(check_requested(out, ip("10.1.0.255")));
  CHECK_FALSE(check_requested(out, ip("10.1.1.1")));
  CHECK_FALSE(check_requested(out, ip("fd00::1")));
}

TEST_CASE("the range may end at the end of all addresses") {
  Subnet in = subnet("255.255.255.0/24");
  in.gateway = ip("255.255.255.1");
  in.first = ip("255.255.255.254");
  in.last = ip("255.255.255.255");
  Candidates candidates(completed(in));
  CHECK(all_of(candidates, seconds{0}, false) == std::vector{ip("255.255.255.254")});
  CHECK(successor(ip("10.0.255.255")) == ip("10.1.0.0"));
  CHECK(successor(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")) == ip("::"));
}

TEST_CASE("subnets from which nothing could be handed out are refused") {
  check_refused(subnet("10.1.0.0/31"), "no room");
  check_refused(subnet("10.1.0.0/32"), "no room");
  check_refused(subnet("fd00::/127"), "no room");
  check_refused(subnet("224.0.0.0/24"), "not made of unicast");
  check_refused(subnet("127.0.0.0/8"), "not made of unicast");
  check_refused(subnet("fe80::/64"), "not made of unicast");
  Subnet in = subnet("10.1.0.0/24");
  in.gateway = ip("10.2.0.1");
  check_refused(in, "gateway 10.2.0.1 is outside of 10.1.0.0/24");
  in.gateway = ip("10.1.0.255");
  check_refused(in, "gateway 10.1.0.255 is no host");
  in.gateway = ip("10.1.0.1");
  in.first = ip("10.1.0.9");
  in.last = ip("10.1.0.8");
  check_refused(in, "no usable address from 10.1.0.9 to 10.1.0.8");
  in.last = in.first;
  in.gateway = in.first;
  check_refused(in, "no usable address");
  in.gateway = {};
  in.reserved = {ip("10.1.0.9")};  // full, and nothing worse
  CHECK(capacity(completed(in)) == 0);
  in.reserved = {ip("fd00::9")};
  check_refused(in, "reserved address fd00::9 is outside");
  in.reserved = {};
  in.first = ip("10.0.0.9");
  check_refused(in, "first address 10.0.0.9 is outside");
  in.first = {};
  in.last = ip("fd00::1");
  check_refused(in, "last address fd00::1 is outside");
}

TEST_CASE("the capacity of a subnet is the number of addresses that it hands out") {
  const auto capacity_of = [](const Subnet& in) { return capacity(completed(in)); };
  constexpr std::uint64_t kMost = UINT64_MAX;
  CHECK(capacity_of(subnet("10.1.0.0/30")) == 1);
  CHECK(capacity_of(subnet("10.1.0.0/24")) == 253);
  CHECK(capacity_of(subnet("10.0.0.0/8")) == 16777213);
  CHECK(capacity_of(subnet("fd00::/126")) == 2);
  CHECK(capacity_of(subnet("fd00::/64")) == kMost - 1);
  CHECK(capacity_of(subnet("fd00::/63")) == kMost);
  CHECK(capacity_of(subnet("fd00::/8")) == kMost);
  Subnet in = subnet("10.1.0.0/24");
  in.reserved = {ip("10.1.0.0"), ip("10.1.0.1"), ip("10.1.0.7"), ip("10.1.0.7"), ip("10.1.0.200"), ip("10.1.0.255")};
  CHECK(capacity_of(in) == 251);
  in.first = ip("10.1.0.5");
  in.last = ip("10.1.0.9");
  CHECK(capacity_of(in) == 4);
  in.gateway = ip("10.1.0.9");
  CHECK(capacity_of(in) == 3);
  in = subnet("fd00::/32");
  in.first = ip("fd00::ffff:ffff:ffff:fffe");
  in.last = ip("fd00:0:0:1::2");
  CHECK(capacity_of(in) == 5);
}

TEST_CASE("the capacity is what is counted when all are taken") {
  for (const char* prefix : {"10.1.0.0/30", "10.1.0.0/26", "10.1.0.0/22", "fd00::/120"}) {
    Subnet in = subnet(prefix);
    in.reserved = {in.prefix.network(), in.prefix.last(), ip(in.prefix.is_v4() ? "10.1.0.1" : "fd00::9")};
    Candidates candidates(completed(in));
    CHECK(all_of(candidates, seconds{0}, false).size() == capacity(completed(in)));
  }
}

TEST_CASE("what has rested longest comes first, then what was never used, and what has not rested last") {
  Candidates candidates(completed(subnet("10.1.0.0/29")));
  candidates.reset({ip("10.1.0.3")},
                   {{seconds{50}, ip("10.1.0.6")}, {seconds{10}, ip("10.1.0.5")}, {seconds{95}, ip("10.1.0.2")}},
                   ip("10.1.0.1"));
  const BootTime now = seconds{115};
  CHECK(candidates.next(now, false) == Offer{ip("10.1.0.5"), seconds{10}});
  CHECK(candidates.next(now, false) == Offer{ip("10.1.0.6"), seconds{50}});
  CHECK(candidates.next(now, false) == Offer{ip("10.1.0.4"), std::nullopt});
  CHECK_FALSE(candidates.next(now, false));
  CHECK(candidates.next(now, true) == Offer{ip("10.1.0.2"), seconds{95}});
  CHECK_FALSE(candidates.next(now, true));
}

TEST_CASE("an address rests for exactly a minute") {
  Candidates candidates(completed(subnet("10.1.0.0/30")));
  candidates.reset({}, {{seconds{100}, ip("10.1.0.2")}}, ip("10.1.0.1"));
  CHECK_FALSE(candidates.next(seconds{160} - BootTime{1}, false));
  CHECK(candidates.next(seconds{160}, false));
}

TEST_CASE("what is leased is not offered, even if it is said to be released as well") {
  Candidates candidates(completed(subnet("10.1.0.0/29")));
  candidates.reset({ip("10.1.0.2"), ip("10.1.0.4")}, {{seconds{1}, ip("10.1.0.4")}}, ip("10.1.0.1"));
  CHECK(all_of(candidates, seconds{1000}, true) == std::vector{ip("10.1.0.3"), ip("10.1.0.5"), ip("10.1.0.6")});
}

TEST_CASE("an address that is released later is offered, but a reserved one never is") {
  Subnet in = subnet("10.1.0.0/29");
  in.reserved = {ip("10.1.0.3")};
  Candidates candidates(completed(in));
  CHECK(all_of(candidates, seconds{0}, true).size() == 4);
  candidates.add_released({seconds{5}, ip("10.1.0.3")});
  candidates.add_released({seconds{7}, ip("10.1.0.6")});
  candidates.add_released({seconds{6}, ip("10.1.0.2")});
  CHECK(all_of(candidates, seconds{10}, true) == std::vector{ip("10.1.0.2"), ip("10.1.0.6")});
}

TEST_CASE("a reset starts where it is told to, and goes around once") {
  Candidates candidates(completed(subnet("10.1.0.0/29")));
  CHECK(all_of(candidates, seconds{0}, false).size() == 5);
  candidates.reset({ip("10.1.0.2")}, {}, ip("10.1.0.1"));
  CHECK(candidates.next(seconds{0}, false) == Offer{ip("10.1.0.3"), std::nullopt});
  candidates.reset({ip("10.1.0.6")}, {}, ip("10.1.0.4"));
  CHECK(candidates.next_unused() == ip("10.1.0.4"));
  CHECK(all_of(candidates, seconds{0}, false) ==
        std::vector{ip("10.1.0.4"), ip("10.1.0.5"), ip("10.1.0.2"), ip("10.1.0.3")});
  CHECK_FALSE(candidates.next_unused());
}

TEST_CASE("looking at the next one that was never used does not take it") {
  Candidates candidates(completed(subnet("10.1.0.0/29")));
  candidates.reset({ip("10.1.0.2"), ip("10.1.0.3")}, {{seconds{0}, ip("10.1.0.4")}}, ip("10.1.0.2"));
  CHECK(candidates.next_unused() == ip("10.1.0.5"));
  CHECK(candidates.next_unused() == ip("10.1.0.5"));
  CHECK(candidates.next(seconds{0}, false) == Offer{ip("10.1.0.5"), std::nullopt});
  CHECK(candidates.next_unused() == ip("10.1.0.6"));
}

TEST_CASE("a range of one address, and one that starts at its last") {
  Subnet in = subnet("10.1.0.0/24");
  in.first = in.last = ip("10.1.0.9");
  Candidates one(completed(in));
  CHECK(all_of(one, seconds{0}, false) == std::vector{ip("10.1.0.9")});
  Candidates candidates(completed(subnet("10.1.0.0/29")));
  candidates.reset({}, {}, ip("10.1.0.6"));
  CHECK(all_of(candidates, seconds{0}, false) ==
        std::vector{ip("10.1.0.6"), ip("10.1.0.2"), ip("10.1.0.3"), ip("10.1.0.4"), ip("10.1.0.5")});
}
