// MAC addresses, interface names, endpoints and attachment ids: right, wrong, and what the error says.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "patu/types.hpp"
#include "refusals.hpp"

using patu::AttachmentId;
using patu::Endpoint;
using patu::IfName;
using patu::IpAddress;
using patu::MacAddress;
using patu::test::refusal;
using patu::test::refusal_of;
using namespace std::string_literals;

TEST_CASE("a MAC address is read in either case and printed in lower case") {
  const auto mac = MacAddress::parse("0A:58:0a:C8:00:fF");
  REQUIRE(mac);
  CHECK(mac->bytes() == MacAddress::Bytes{0x0a, 0x58, 0x0a, 0xc8, 0x00, 0xff});
  CHECK(mac->to_string() == "0a:58:0a:c8:00:ff");
  CHECK(MacAddress::from_bytes({1, 2, 3, 4, 5, 6}).to_string() == "01:02:03:04:05:06");
  CHECK(MacAddress().to_string() == "00:00:00:00:00:00");
}

TEST_CASE("a MAC address knows whether it is zero or a group's") {
  CHECK(MacAddress().is_zero());
  CHECK_FALSE(MacAddress::from_bytes({0, 0, 0, 0, 0, 1}).is_zero());
  CHECK_FALSE(MacAddress::from_bytes({0x0a, 0x58, 0, 0, 0, 1}).is_multicast());
  CHECK(MacAddress::from_bytes({0x33, 0x33, 0, 0, 0, 1}).is_multicast());
  CHECK(MacAddress::from_bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}).is_multicast());
  CHECK(MacAddress::from_bytes({0, 0, 0, 0, 0, 1}) < MacAddress::from_bytes({1, 0, 0, 0, 0, 0}));
}

TEST_CASE("other forms of a MAC address are refused") {
  for (const char* text : {"", "0a", "0a:58:0a:c8:00", "0a:58:0a:c8:00:05:06", "0a:58:0a:c8:00:5", "a:58:0a:c8:00:05",
                           "0a-58-0a-c8-00-05", "0a580ac80005", "0a58.0ac8.0005", "0a:58:0a:c8:00:0g",
                           "0a:58:0a:c8:00:05:", ":0a:58:0a:c8:00:05", "0a:58:0a:c8:00 05", " a:58:0a:c8:00:05",
                           "+a:58:0a:c8:00:05", "0x:58:0a:c8:00:05", "0a:58:0a:c8::0:05", "0a:58:0a:c8:00:05 "})
    CHECK(refusal<MacAddress>(text) ==
          "invalid MAC address \""s + text + "\": six pairs of hexadecimal digits, as in 0a:58:0a:c8:00:05");
}

TEST_CASE("interface names of 1 to 15 bytes are kept as they are, padded with zeros") {
  for (const std::string text :
       {"a", "eth0", "br-lan", "veth0123456789a", "eth0.100", "...", "ä", "\x01", "-", "a@b"}) {
    const auto name = IfName::parse(text);
    REQUIRE_MESSAGE(name, text);
    CHECK(name->view() == text);
    CHECK(name->to_string() == text);
    CHECK(std::strlen(name->c_str()) == text.size());
    for (std::size_t i = text.size(); i < 16; ++i) CHECK(name->c_str()[i] == '\0');
  }
}

TEST_CASE("interface names compare by their bytes") {
  CHECK(*IfName::parse("eth0") == *IfName::parse("eth0"));
  CHECK(*IfName::parse("eth0") != *IfName::parse("eth00"));
  CHECK(*IfName::parse("eth0") < *IfName::parse("eth1"));
  CHECK(*IfName::parse("eth") < *IfName::parse("eth0"));
}

TEST_CASE("interface names that the kernel refuses are refused with the reason") {
  CHECK(refusal<IfName>("") == "invalid interface name \"\": it is empty");
  CHECK(refusal<IfName>("veth0123456789ab") ==
        "invalid interface name \"veth0123456789ab\": it has 16 bytes, the kernel allows 15");
  for (const char* text : {".", ".."}) CHECK(refusal<IfName>(text).ends_with("because it is a directory in /sys"));
  for (const char* text : {"a/b", "/", "a:b", "eth0:1", ":"})
    CHECK(refusal<IfName>(text).ends_with(": the kernel does not allow \"/\" and \":\""));
  for (const char* text : {" ", "a b", "eth0 ", " eth0", "a\tb", "a\nb", "a\vb", "a\fb", "a\rb", "a\xa0", "\xc3\xa0"})
    CHECK(refusal<IfName>(text).ends_with(": it has a blank inside"));
  for (const std::string& text : {"\0"s, "eth0\0"s, "\0eth0"s, "et\0h0"s})
    CHECK(refusal<IfName>(text).ends_with(": it has a zero byte inside"));
  for (const char* text : {"%", "eth%d", "veth%", "%d"})
    CHECK(refusal<IfName>(text).ends_with(": \"%\" would make the kernel choose a number"));
}

TEST_CASE("endpoints of both families are read and printed") {
  const auto v4 = Endpoint::parse("10.96.0.1:80");
  REQUIRE(v4);
  CHECK(v4->address == IpAddress::v4(10, 96, 0, 1));
  CHECK(v4->port == 80);
  CHECK(v4->to_string() == "10.96.0.1:80");
  const auto v6 = Endpoint::parse("[FD00:0::1]:65535");
  REQUIRE(v6);
  CHECK(v6->address == *IpAddress::parse("fd00::1"));
  CHECK(v6->port == 65535);
  CHECK(v6->to_string() == "[fd00::1]:65535");
  CHECK(Endpoint::parse("0.0.0.0:1")->to_string() == "0.0.0.0:1");
  CHECK(Endpoint::parse("[::]:1")->to_string() == "[::]:1");
  CHECK(Endpoint::parse("[::ffff:10.0.0.1]:53")->to_string() == "10.0.0.1:53");
  CHECK(Endpoint{}.to_string() == "[::]:0");
}

TEST_CASE("endpoints are ordered by address, then port") {
  CHECK(*Endpoint::parse("10.0.0.1:80") < *Endpoint::parse("10.0.0.1:81"));
  CHECK(*Endpoint::parse("10.0.0.1:81") < *Endpoint::parse("10.0.0.2:80"));
  CHECK(*Endpoint::parse("10.0.0.1:80") == *Endpoint::parse("[::ffff:a00:1]:80"));
}

TEST_CASE("wrong ports are refused with the reason") {
  for (const char* port : {"", "0", "65536", "99999", "100000", "4294967376", "080", "00", "+80", "-80", " 80", "80 ",
                           "8o", "0x50", "http", "80/tcp", "8.0"}) {
    const std::string reason = ": \""s + port + "\" is not a port, 1 to 65535 in decimal";
    CHECK(refusal<Endpoint>("10.0.0.1:"s + port) == "invalid endpoint \"10.0.0.1:"s + port + "\"" + reason);
    CHECK(refusal<Endpoint>("[fd00::1]:"s + port) == "invalid endpoint \"[fd00::1]:"s + port + "\"" + reason);
  }
}

TEST_CASE("endpoints of a wrong shape are refused with the reason") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "the port is missing, as in 10.96.0.1:80"},
      {"10.0.0.1", "the port is missing, as in 10.96.0.1:80"},
      {":80", "it is empty"},
      {"10.0.0.256:80", "256 is not an octet"},
      {"localhost:80", "neither dotted decimal nor IPv6"},
      {"fd00::1:80", "an IPv6 address stands in brackets, as in [fd00::1]:80"},
      {"fd00::1", "an IPv6 address stands in brackets, as in [fd00::1]:80"},
      {"10.0.0.1:80:80", "an IPv6 address stands in brackets, as in [fd00::1]:80"},
      {"[fd00::1]", "the port is missing, as in [fd00::1]:80"},
      {"[fd00::1]80", "the port is missing, as in [fd00::1]:80"},
      {"[fd00::1] :80", "the port is missing, as in [fd00::1]:80"},
      {"[fd00::1]]:80", "the port is missing, as in [fd00::1]:80"},
      {"[fd00::1:80", "the closing bracket is missing"},
      {"[", "the closing bracket is missing"},
      {"[]:80", "only an IPv6 address stands in brackets"},
      {"[10.0.0.1]:80", "only an IPv6 address stands in brackets"},
      {"[fe80::1%eth0]:80", "zone identifiers (%) are not supported"},
      {"[fd00::/64]:80", "a prefix length does not belong here"},
      {"[[fd00::1]:80", "brackets belong to an address with a port only"},
      {"fd00::1]:80", "an IPv6 address stands in brackets, as in [fd00::1]:80"},
  };
  for (const auto& [text, reason] : cases)
    CHECK(refusal<Endpoint>(text) == "invalid endpoint \""s + text + "\": " + reason);
}

TEST_CASE("protocols read as Kubernetes writes them") {
  CHECK(patu::to_string(patu::Protocol::tcp) == "TCP");
  CHECK(patu::to_string(patu::Protocol::udp) == "UDP");
  CHECK(patu::to_string(static_cast<patu::Protocol>(132)) == "unknown");
}

TEST_CASE("an attachment is named by container id and interface, eth0 unless told") {
  const auto id = AttachmentId::parse("web-1");
  REQUIRE(id);
  CHECK(id->container_id() == "web-1");
  CHECK(id->ifname().view() == "eth0");
  CHECK(id->to_string() == "web-1/eth0");
  CHECK(AttachmentId::parse("web-1", "net1")->to_string() == "web-1/net1");
}

TEST_CASE("container ids are as CNI has them, up to 128 bytes") {
  for (const std::string& text :
       {"a"s, "Z"s, "0"s, "a_b.c-D9"s, "a.."s, "a-"s, "0_"s, std::string(64, 'f'), std::string(128, 'x')}) {
    const auto id = AttachmentId::parse(text);
    REQUIRE_MESSAGE(id, text);
    CHECK(id->container_id() == text);
  }
}

TEST_CASE("other container ids are refused with the reason") {
  CHECK(refusal<AttachmentId>("") == "invalid container id \"\": it is empty");
  CHECK(refusal<AttachmentId>(std::string(129, 'x')) ==
        "invalid container id \"" + std::string(64, 'x') + "...\" (129 bytes): it has more than 128 bytes");
  for (const char* text : {"_a", ".a", "-a", ".", "..", "/", " a", "\xc3\xa4", "%"})
    CHECK(refusal<AttachmentId>(text).ends_with(": it begins with a letter or a digit (A-Z, a-z, 0-9)"));
  for (const std::string& text :
       {"a/b"s, "a b"s, "a:b"s, "a\0"s, "a\0b"s, "a\n"s, "a%"s, "a\xc3\xa4"s, "a@"s, "a+"s, "a["s, "a`"s})
    CHECK(refusal<AttachmentId>(text).ends_with(
        ": only letters, digits, \"_\", \".\" and \"-\" are allowed (A-Z, a-z, 0-9)"));
}

TEST_CASE("an attachment with a wrong interface name is refused as such") {
  for (const std::string& ifname : {""s, "eth 0"s, "a/b"s, std::string(16, 'e')})
    CHECK(refusal_of(AttachmentId::parse("web-1", ifname), ifname).starts_with("invalid interface name \""));
}

TEST_CASE("attachments differ by id and by interface") {
  const auto id = [](std::string_view container, std::string_view ifname) {
    return *AttachmentId::parse(container, ifname);
  };
  CHECK(id("a", "eth0") == id("a", "eth0"));
  CHECK(id("a", "eth0") != id("b", "eth0"));
  CHECK(id("a", "eth0") < id("a", "eth1"));
  CHECK(id("a", "eth1") < id("b", "eth0"));
}
