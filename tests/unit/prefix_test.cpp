// Networks and interface addresses: right, wrong, what they contain, and what the error says.
#include <doctest/doctest.h>

#include "patu/types.hpp"
#include "refusals.hpp"

using patu::Errc;
using patu::InterfaceAddress;
using patu::IpAddress;
using patu::Prefix;
using patu::test::check_refusals;

namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  REQUIRE_MESSAGE(address, std::string(text));
  return *address;
}

Prefix net(std::string_view text) {
  const auto prefix = Prefix::parse(text);
  REQUIRE_MESSAGE(prefix, std::string(text));
  return *prefix;
}

}  // namespace

TEST_CASE("networks are read and printed") {
  for (const char* text :
       {"0.0.0.0/0", "10.0.0.0/8", "10.200.0.0/24", "10.200.0.4/31", "10.200.0.5/32", "::/0", "::/128", "::/79",
        "fd00:200::/64", "fd00::1/128", "8000::/1", "::1:0:0:0/80", "::fffe:0:0/96"}) {
    CHECK(net(text).to_string() == text);
    CHECK(Prefix::make(net(text).network(), net(text).length()) == net(text));
  }
  CHECK(net("10.200.0.0/24").network() == ip("10.200.0.0"));
  CHECK(net("10.200.0.0/24").length() == 24);
  CHECK(net("10.200.0.0/24").is_v4());
  CHECK_FALSE(net("::/0").is_v4());
  CHECK(net("FD00:0::0/64").to_string() == "fd00::/64");
}

TEST_CASE("wrong networks are refused with the reason") {
  const std::string v4 = "the length is a number from 0 to 32", v6 = "the length is a number from 0 to 128";
  check_refusals<Prefix>("invalid network",
                         {
                             {"", "the length is missing, as in 10.0.0.0/8"},
                             {"10.0.0.0", "the length is missing, as in 10.0.0.0/8"},
                             {"/8", "it is empty"},
                             {"10.0.0/8", "an IPv4 address has four octets, this has 3"},
                             {"10.0.0.0/", v4},
                             {"10.0.0.0/33", v4},
                             {"10.0.0.0/129", v4},
                             {"10.0.0.0/08", v4},
                             {"10.0.0.0/00", v4},
                             {"10.0.0.0/-0", v4},
                             {"10.0.0.0/+8", v4},
                             {"10.0.0.0/ 8", v4},
                             {"10.0.0.0/8 ", v4},
                             {"10.0.0.0/8/8", v4},
                             {"10.0.0.0/255.0.0.0", v4},
                             {"10.0.0.0/4294967304", v4},
                             {"fd00::/129", v6},
                             {"fd00::/x", v6},
                             {"10.0.0.5/24", "host bits are set, the network is 10.0.0.0/24"},
                             {"10.0.0.1/0", "host bits are set, the network is 0.0.0.0/0"},
                             {"10.0.0.1/31", "host bits are set, the network is 10.0.0.0/31"},
                             {"fd00::1/64", "host bits are set, the network is fd00::/64"},
                             {"fd00:0:0:1::/63", "host bits are set, the network is fd00::/63"},
                             {"::1/0", "host bits are set, the network is ::/0"},
                             {"fe80::%eth0/64", "zone identifiers (%) are not supported"},
                             {"::ffff:10.0.0.0/104", "write an IPv4 network as IPv4: 10.0.0.0/8"},
                             {"::ffff:0:0/96", "write an IPv4 network as IPv4: 0.0.0.0/0"},
                             {"::ffff:10.0.0.5/128", "write an IPv4 network as IPv4: 10.0.0.5/32"},
                             {"::ffff:10.0.0.0/8", "write an IPv4 network as IPv4"},
                             {"::/80", "it is IPv6 and ends among the mapped IPv4 addresses"},
                             {"::8000:0:0/81", "it is IPv6 and ends among the mapped IPv4 addresses"},
                             {"::fffe:0:0/95", "it is IPv6 and ends among the mapped IPv4 addresses"},
                         });
}

TEST_CASE("a network cannot be made with host bits or too long") {
  const auto refused = [](const IpAddress& address, unsigned length) {
    const auto prefix = Prefix::make(address, length);
    REQUIRE_FALSE(prefix);
    CHECK(prefix.error().code() == Errc::invalid_argument);
    return prefix.error().to_string();
  };
  CHECK(refused(ip("10.0.0.0"), 33) == "invalid network 10.0.0.0/33: the length is a number from 0 to 32");
  CHECK(refused(ip("::"), 129) == "invalid network ::/129: the length is a number from 0 to 128");
  CHECK(refused(ip("10.0.0.0"), 0xffffffff).starts_with("invalid network 10.0.0.0/4294967295: "));
  CHECK(refused(ip("10.0.0.1"), 24) == "invalid network 10.0.0.1/24: host bits are set, the network is 10.0.0.0/24");
  CHECK(refused(ip("::fffe:0:0"), 95).ends_with("ends among the mapped IPv4 addresses"));
}

TEST_CASE("an address is in one network of each length") {
  const auto around = [](std::string_view text, unsigned length) {
    const auto prefix = Prefix::around(ip(text), length);
    return prefix ? prefix->to_string() : prefix.error().to_string();
  };
  CHECK(around("10.1.2.3", 0) == "0.0.0.0/0");
  CHECK(around("10.1.2.3", 23) == "10.1.2.0/23");
  CHECK(around("10.1.2.3", 32) == "10.1.2.3/32");
  CHECK(around("fd00:1:2:3:4::5", 61) == "fd00:1:2::/61");
  CHECK(around("fd00::5", 128) == "fd00::5/128");
  CHECK(around("10.1.2.3", 33).ends_with("the length is a number from 0 to 32"));
  CHECK(around("fd00::5", 129).ends_with("the length is a number from 0 to 128"));
}

TEST_CASE("a network contains its own family only") {
  CHECK(net("10.0.0.0/8").contains(ip("10.255.255.255")));
  CHECK(net("10.0.0.0/8").contains(ip("::ffff:10.0.0.1")));
  CHECK_FALSE(net("10.0.0.0/8").contains(ip("11.0.0.0")));
  CHECK_FALSE(net("::/0").contains(ip("10.0.0.1")));
  CHECK_FALSE(net("0.0.0.0/0").contains(ip("::")));
  CHECK_FALSE(net("0.0.0.0/0").contains(ip("::10.0.0.1")));
  CHECK(net("::/0").contains(ip("ffff::")));
  CHECK(net("10.0.0.5/32").contains(ip("10.0.0.5")));
  CHECK_FALSE(net("10.0.0.5/32").contains(ip("10.0.0.4")));
  CHECK_FALSE(net("::/0").overlaps(net("10.0.0.0/8")));
  CHECK_FALSE(net("0.0.0.0/0").overlaps(net("::/0")));
  CHECK(net("10.0.0.0/8").overlaps(net("10.1.0.0/16")));
  CHECK(net("10.1.0.0/16").overlaps(net("10.0.0.0/8")));
  CHECK_FALSE(net("10.0.0.0/25").overlaps(net("10.0.0.128/25")));
}

TEST_CASE("the last address of a network has all host bits set") {
  CHECK(net("10.200.0.0/24").last() == ip("10.200.0.255"));
  CHECK(net("0.0.0.0/0").last() == ip("255.255.255.255"));
  CHECK(net("10.0.0.5/32").last() == ip("10.0.0.5"));
  CHECK(net("fd00::/64").last() == ip("fd00::ffff:ffff:ffff:ffff"));
  CHECK(net("::/0").last() == ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
}

TEST_CASE("an interface's address prints with its length and keeps its host bits") {
  CHECK(InterfaceAddress{ip("10.200.0.5"), 24}.to_string() == "10.200.0.5/24");
  CHECK(InterfaceAddress{ip("fd00::5"), 64}.to_string() == "fd00::5/64");
  CHECK(InterfaceAddress{ip("10.0.0.1"), 8} == InterfaceAddress{ip("10.0.0.1"), 8});
  CHECK_FALSE(InterfaceAddress{ip("10.0.0.1"), 8} == InterfaceAddress{ip("10.0.0.1"), 9});
}
