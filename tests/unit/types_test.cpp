// Addresses: every form they may be written in, every way to write them wrongly, and what the error says.
#include "patu/types.hpp"

#include <doctest/doctest.h>

#include <type_traits>
#include <vector>

#include "refusals.hpp"

using patu::AttachmentId;
using patu::Endpoint;
using patu::IfName;
using patu::InterfaceAddress;
using patu::IpAddress;
using patu::MacAddress;
using patu::Prefix;
using namespace std::string_literals;

using patu::test::check_refusals;
using patu::test::refusal;

namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  REQUIRE_MESSAGE(address, std::string(text));
  return *address;
}

// `byte` put into a good text at each place in turn.
template <class T>
void check_byte_refused_anywhere(const std::string& good, char byte) {
  REQUIRE(T::parse(good));
  for (std::size_t i = 0; i <= good.size(); ++i) {
    std::string text = good;
    text.insert(i, 1, byte);
    CAPTURE(i);
    CHECK_FALSE(T::parse(text));
  }
}

}  // namespace

TEST_CASE("values are small, and all but AttachmentId are copied as bytes") {
  CHECK(sizeof(IpAddress) == 16);
  CHECK(sizeof(MacAddress) == 6);
  CHECK(sizeof(IfName) == 16);
  CHECK(std::is_trivially_copyable_v<IpAddress>);
  CHECK(std::is_trivially_copyable_v<Prefix>);
  CHECK(std::is_trivially_copyable_v<InterfaceAddress>);
  CHECK(std::is_trivially_copyable_v<MacAddress>);
  CHECK(std::is_trivially_copyable_v<IfName>);
  CHECK(std::is_trivially_copyable_v<Endpoint>);
}

TEST_CASE("dotted decimal is read and printed as it is") {
  for (const char* text : {"0.0.0.0", "1.2.3.4", "10.200.0.5", "127.0.0.1", "255.255.255.255", "9.99.100.249"}) {
    CHECK(ip(text).to_string() == text);
    CHECK(ip(text).is_v4());
  }
  CHECK(ip("10.200.0.5") == IpAddress::v4(10, 200, 0, 5));
  CHECK(ip("10.200.0.5").bytes() == IpAddress::Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 200, 0, 5});
}

TEST_CASE("each form of RFC 4291 section 2.2 is read, and printed as RFC 5952 has it") {
  const std::pair<const char*, const char*> forms[] = {
      {"ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"},
      {"2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"},
      {"2001:DB8::8:800:200C:417A", "2001:db8::8:800:200c:417a"},
      {"FF01:0:0:0:0:0:0:101", "ff01::101"},
      {"FF01::101", "ff01::101"},
      {"0:0:0:0:0:0:0:1", "::1"},
      {"::1", "::1"},
      {"0:0:0:0:0:0:0:0", "::"},
      {"::", "::"},
      {"1::", "1::"},
      {"0000:0000:0000:0000:0000:0000:0000:0001", "::1"},
      {"0:0:0:0:0:0:13.1.68.3", "::d01:4403"},
      {"::13.1.68.3", "::d01:4403"},
      {"0:0:0:0:0:FFFF:129.144.52.38", "129.144.52.38"},
      {"::FFFF:129.144.52.38", "129.144.52.38"},
      {"::ffff:8190:3426", "129.144.52.38"},
      {"0000:0000:0000:0000:0000:ffff:129.144.52.38", "129.144.52.38"},
      {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
      {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
      {"1:2:3:4:5::1.2.3.4", "1:2:3:4:5:0:102:304"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"1:2:3::5:6:7:8", "1:2:3:0:5:6:7:8"},
  };
  for (const auto& [text, printed] : forms) CHECK(ip(text).to_string() == printed);
}

TEST_CASE("the longest run of zeros is shortened, the first of equals, and never a single group") {
  const std::pair<const char*, const char*> forms[] = {
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
      {"2001:0:0:0:1:0:0:1", "2001::1:0:0:1"},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"0:0:1:0:0:1:0:0", "::1:0:0:1:0:0"},
      {"1:0:0:2:2:2:0:0", "1::2:2:2:0:0"},
      {"1:0:2:0:0:0:0:0", "1:0:2::"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"0:1:0:1:0:1:0:1", "0:1:0:1:0:1:0:1"},
      {"1:0:1:0:1:0:1:0", "1:0:1:0:1:0:1:0"},
      {"2001:0db8:00a0:0b00:1000:0001:0010:0100", "2001:db8:a0:b00:1000:1:10:100"},
  };
  for (const auto& [text, printed] : forms) CHECK(ip(text).to_string() == printed);
}

TEST_CASE("only mapped addresses count as IPv4") {
  CHECK(ip("::ffff:0:0").is_v4());
  CHECK(ip("::ffff:1.2.3.4") == ip("1.2.3.4"));
  for (const char* text :
       {"::", "::1", "::1.2.3.4", "::fffe:1.2.3.4", "::1:ffff:1.2.3.4", "1::ffff:1.2.3.4", "::ff00:0:0"})
    CHECK(ip(text).is_v6());
  CHECK(IpAddress() == ip("::"));
}

TEST_CASE("wrong IPv4 addresses are refused with the reason") {
  check_refusals<IpAddress>("invalid address",
                            {
                                {"", "it is empty"},
                                {"10.0.0.256", "256 is not an octet"},
                                {"999.0.0.1", "999 is not an octet"},
                                {"1.2.3.4000000000", "4000000000 is not an octet"},
                                {"010.0.0.1", "octet \"010\" has a leading zero, which some programs read as octal"},
                                {"10.0.0.00", "octet \"00\" has a leading zero, which some programs read as octal"},
                                {"10.0.0.0001", "octet \"0001\" has a leading zero, which some programs read as octal"},
                                {"10", "neither dotted decimal nor IPv6"},
                                {"localhost", "neither dotted decimal nor IPv6"},
                                {"0x7f000001", "neither dotted decimal nor IPv6"},
                                {"10.1", "an IPv4 address has four octets, this has 2"},
                                {"10.0.1", "an IPv4 address has four octets, this has 3"},
                                {"10.0.0.1.2", "an IPv4 address has four octets, this has more"},
                                {"10.0.0.1.", "an IPv4 address has four octets, this has more"},
                                {".10.0.0.1", "an octet is empty"},
                                {"10..0.1", "an octet is empty"},
                                {"10.0.0.", "an octet is empty"},
                                {"...", "an octet is empty"},
                                {"10.0.0.-1", "\"-1\" is not an octet"},
                                {"10.0.0.+1", "\"+1\" is not an octet"},
                                {"10.0.0.1x", "\"1x\" is not an octet"},
                                {"10.0.0.0x1", "\"0x1\" is not an octet"},
                                {"10.0.0.a", "\"a\" is not an octet"},
                                {"10.0.0. 1", "\" 1\" is not an octet"},
                                {"10.0.0.1 ", "\"1 \" is not an octet"},
                                {" 10.0.0.1", "\" 10\" is not an octet"},
                                {"10.0.0.1/24", "a prefix length does not belong here"},
                                {"example.com", "\"example\" is not an octet"},
                            });
}

TEST_CASE("wrong IPv6 addresses are refused with the reason") {
  const std::string ends = "a single \":\" at an end, or three in a row";
  check_refusals<IpAddress>(
      "invalid address",
      {
          {":", ends},
          {":::", ends},
          {":1:2:3:4:5:6:7:8", ends},
          {"1:2:3:4:5:6:7:8:", ends},
          {"1:", ends},
          {":1", ends},
          {"1:::2", ends},
          {"::1:", ends},
          {"1::2::3", "\"::\" may stand once only"},
          {"::1::", "\"::\" may stand once only"},
          {"1:2:3:4:5:6:7", "an IPv6 address without \"::\" has eight groups, this has 7"},
          {"1:2", "an IPv6 address without \"::\" has eight groups, this has 2"},
          {"1:2:3:4:5:1.2.3.4", "an IPv6 address without \"::\" has eight groups, this has 7"},
          {"1:2:3:4:5:6:7:8:9", "more than eight groups"},
          {"1:2:3:4:5:6:7:1.2.3.4", "more than eight groups"},
          {"1:2:3:4:5:6:7:8:1.2.3.4", "more than eight groups"},
          {"1:2:3:4::5:6:7:8:9", "more than eight groups"},
          {"1:2:3:4::5:6:7:8", "\"::\" beside eight groups stands for nothing"},
          {"::1:2:3:4:5:6:7:8", "\"::\" beside eight groups stands for nothing"},
          {"1:2:3:4:5:6:7:8::", "\"::\" beside eight groups stands for nothing"},
          {"1:2:3:4:5:6::1.2.3.4", "\"::\" beside eight groups stands for nothing"},
          {"12345::", "group \"12345\" has more than four digits"},
          {"::00001", "group \"00001\" has more than four digits"},
          {"::g", "\"g\" is not a group of hexadecimal digits"},
          {"fd00::1x", "\"1x\" is not a group of hexadecimal digits"},
          {"::-1", "\"-1\" is not a group of hexadecimal digits"},
          {"::0x1", "\"0x1\" is not a group of hexadecimal digits"},
          {":: 1", "\" 1\" is not a group of hexadecimal digits"},
          {"::1 ", "\"1 \" is not a group of hexadecimal digits"},
          {" ::1", "\" \" is not a group of hexadecimal digits"},
          {"1.2.3.4::", "an IPv4 address may stand at the end only"},
          {"::1.2.3.4:5", "an IPv4 address may stand at the end only"},
          {"::ffff:1.2.3.256", "IPv4 part \"1.2.3.256\": 256 is not an octet"},
          {"::ffff:1.2.3", "IPv4 part \"1.2.3\": an IPv4 address has four octets, this has 3"},
          {"::ffff:01.2.3.4",
           "IPv4 part \"01.2.3.4\": octet \"01\" has a leading zero, which some programs read as octal"},
          {"fe80::1%eth0", "zone identifiers (%) are not supported"},
          {"fe80::1%", "zone identifiers (%) are not supported"},
          {"[::1]", "brackets belong to an address with a port only"},
          {"fd00::/64", "a prefix length does not belong here"},
      });
}

TEST_CASE("a zero byte, a blank or a byte above ASCII is refused wherever it stands in an address") {
  for (const char byte : {'\0', ' ', '\n', '\xa0', '\xff'}) {
    check_byte_refused_anywhere<IpAddress>("10.0.0.1", byte);
    check_byte_refused_anywhere<IpAddress>("fd00::10.0.0.1", byte);
    check_byte_refused_anywhere<Prefix>("10.0.0.0/8", byte);
    check_byte_refused_anywhere<Endpoint>("10.0.0.1:80", byte);
    check_byte_refused_anywhere<Endpoint>("[fd00::1]:80", byte);
    check_byte_refused_anywhere<MacAddress>("0a:58:0a:c8:00:05", byte);
  }
}

TEST_CASE("long and hostile input gives a short and printable error") {
  for (const char byte : {'1', 'a', '.', ':', '/', '[', '\0', '\x1b', '\xff'}) {
    const std::string text(100'000, byte);
    for (const std::string& error : {refusal<IpAddress>(text), refusal<Prefix>(text), refusal<Endpoint>(text),
                                     refusal<MacAddress>(text), refusal<IfName>(text), refusal<AttachmentId>(text)}) {
      CHECK(error.size() < 700);
      CHECK(error.find("(100000 bytes)") != std::string::npos);
      for (const char c : error) CHECK((c >= 0x20 && c <= 0x7e));
    }
  }
  CHECK(refusal<IpAddress>("1.2.3.4\n") == "invalid address \"1.2.3.4\\n\": \"4\\n\" is not an octet");
  CHECK(refusal<IpAddress>("1.2.3.4\0x"s) == "invalid address \"1.2.3.4\\x00x\": \"4\\x00x\" is not an octet");
}

TEST_CASE("addresses know what kind they are") {
  const auto only = [](bool (IpAddress::*kind)() const noexcept, std::vector<const char*> yes,
                       std::vector<const char*> no) {
    for (const char* text : yes) CHECK_MESSAGE((ip(text).*kind)(), text);
    for (const char* text : no) CHECK_MESSAGE(!(ip(text).*kind)(), text);
  };
  only(&IpAddress::is_unspecified, {"0.0.0.0", "::"}, {"0.0.0.1", "::1", "1.0.0.0", "::0.0.0.1"});
  only(&IpAddress::is_loopback, {"127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"},
       {"126.255.255.255", "128.0.0.0", "::", "::2", "::127.0.0.1", "1::1"});
  only(&IpAddress::is_multicast, {"224.0.0.0", "239.255.255.255", "ff00::", "ff02::1", "ffff::"},
       {"223.255.255.255", "240.0.0.0", "255.255.255.255", "feff::", "::ff00:0:0", "::224.0.0.1"});
  only(&IpAddress::is_link_local, {"169.254.0.0", "169.254.255.255", "fe80::", "fe80::1", "febf:ffff::"},
       {"169.253.255.255", "169.255.0.0", "168.254.0.0", "fe7f:ffff::", "fec0::", "::169.254.0.1"});
  only(&IpAddress::is_broadcast, {"255.255.255.255"},
       {"255.255.255.254", "::255.255.255.255", "10.255.255.255", "ff02::1"});
}

TEST_CASE("addresses are ordered by their bytes") {
  const char* ascending[] = {
      "::",        "::1", "::fffe:ffff:ffff", "0.0.0.0", "9.255.255.255", "10.0.0.0", "255.255.255.255",
      "::1:0:0:0", "1::", "fd00::",           "ff02::1"};
  for (std::size_t i = 1; i < std::size(ascending); ++i) CHECK(ip(ascending[i - 1]) < ip(ascending[i]));
}
