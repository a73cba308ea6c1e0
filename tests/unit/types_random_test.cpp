// Values against independent oracles: the C library's inet_pton and inet_ntop, and arithmetic bit by bit.
#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "patu/types.hpp"

using patu::IpAddress;
using patu::Prefix;
using namespace std::string_view_literals;

namespace {

constexpr std::uint64_t kSeed = 20240229;

class Dice {
 public:
  explicit Dice(std::uint64_t salt) : engine_(kSeed + salt) {}
  unsigned below(unsigned bound) { return static_cast<unsigned>(engine_() % bound); }
  bool one_in(unsigned n) { return below(n) == 0; }

  // IPv4, IPv6, and IPv6 full of zeros, which is where printing is difficult.
  IpAddress address() {
    IpAddress::Bytes bytes{};
    const bool sparse = one_in(2);
    for (std::size_t i = 0; i < 16; i += 2) {
      if (sparse && !one_in(3)) continue;
      bytes[i] = one_in(3) ? 0 : static_cast<std::uint8_t>(below(256));
      bytes[i + 1] = static_cast<std::uint8_t>(below(256));
    }
    if (one_in(4)) {
      std::fill_n(bytes.begin(), 10, std::uint8_t{0});
      std::fill_n(bytes.begin() + 10, 2, one_in(8) ? std::uint8_t{0} : std::uint8_t{0xff});
    }
    return IpAddress::from_bytes(bytes);
  }

 private:
  std::mt19937_64 engine_;
};

bool bit(const IpAddress& address, unsigned i) { return (address.bytes()[i / 8] >> (7 - i % 8) & 1) != 0; }

IpAddress with_bit(const IpAddress& address, unsigned i, bool value) {
  IpAddress::Bytes bytes = address.bytes();
  const auto mask = static_cast<std::uint8_t>(0x80 >> i % 8);
  bytes[i / 8] = static_cast<std::uint8_t>(value ? bytes[i / 8] | mask : bytes[i / 8] & ~mask);
  return IpAddress::from_bytes(bytes);
}

unsigned full_length(const IpAddress& address, unsigned length) { return address.is_v4() ? 96 + length : length; }

bool same_bits(const IpAddress& a, const IpAddress& b, unsigned count) {
  for (unsigned i = 0; i < count; ++i)
    if (bit(a, i) != bit(b, i)) return false;
  return true;
}

bool is_v4_compatible(const IpAddress& address) {
  const auto& bytes = address.bytes();
  return std::all_of(bytes.begin(), bytes.begin() + 12, [](std::uint8_t b) { return b == 0; });
}

// What the C library prints. It writes ::0:0/96 with dots too, which RFC 5952 does not ask for: not for those.
std::string printed_by_libc(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.is_v4()) return ::inet_ntop(AF_INET, &address.bytes()[12], text, sizeof text);
  return ::inet_ntop(AF_INET6, address.bytes().data(), text, sizeof text);
}

// What the C library reads; IPv4 in mapped form. `text` has no zero byte inside.
bool read_by_libc(const std::string& text, IpAddress::Bytes& bytes) {
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return true;
  bytes = IpAddress::v4(0, 0, 0, 0).bytes();
  return ::inet_pton(AF_INET, text.c_str(), &bytes[12]) == 1;
}

void mutate(Dice& dice, std::string& text) {
  static constexpr std::string_view kAlphabet = "0123456789abcdefABCDEF::::....g%/[] x";
  const auto at = [&] { return text.begin() + dice.below(static_cast<unsigned>(text.size())); };
  const char c = kAlphabet[dice.below(kAlphabet.size())];
  switch (text.empty() ? 0 : dice.below(4)) {
    case 0: text.insert(text.begin() + dice.below(static_cast<unsigned>(text.size()) + 1), c); break;
    case 1: text.erase(at()); break;
    case 2: *at() = c; break;
    default: text.append(text, dice.below(static_cast<unsigned>(text.size())), 2); break;
  }
}

std::string in_full(const IpAddress& address) {
  std::string out;
  for (std::size_t i = 0; i < 16; i += 2) {
    char group[8];
    std::snprintf(group, sizeof group, "%s%X", i == 0 ? "" : ":", address.bytes()[i] << 8 | address.bytes()[i + 1]);
    out += group;
  }
  return out;
}

// A network around `address`; an IPv6 one far from the mapped addresses, and never ::/0.
Prefix random_prefix(Dice& dice, IpAddress address) {
  const unsigned length = address.is_v4() ? dice.below(33) : 1 + dice.below(128);
  if (address.is_v6()) address = with_bit(address, 0, true);
  for (unsigned i = full_length(address, length); i < 128; ++i) address = with_bit(address, i, false);
  const auto prefix = Prefix::make(address, length);
  REQUIRE(prefix);
  return *prefix;
}

}  // namespace

TEST_CASE("100 000 random addresses are read back as they were printed") {
  Dice dice(1);
  unsigned v4 = 0;
  for (int i = 0; i < 100'000; ++i) {
    const IpAddress address = dice.address();
    const std::string text = address.to_string();
    const auto parsed = IpAddress::parse(text);
    REQUIRE_MESSAGE(parsed, text);
    REQUIRE_MESSAGE(*parsed == address, text);
    v4 += address.is_v4();
  }
  CHECK(v4 > 10'000);
  CHECK(v4 < 90'000);
}

TEST_CASE("random addresses are printed as the C library prints them") {
  Dice dice(2);
  for (int i = 0; i < 100'000; ++i) {
    const IpAddress address = dice.address();
    if (!is_v4_compatible(address)) REQUIRE(address.to_string() == printed_by_libc(address));
  }
}

TEST_CASE("each of the 256 patterns of zero groups is printed as the C library prints it") {
  for (unsigned pattern = 0; pattern < 256; ++pattern) {
    IpAddress::Bytes bytes{};
    for (unsigned i = 0; i < 8; ++i) bytes[2 * i + 1] = pattern >> i & 1 ? 0xa : 0;
    const IpAddress address = IpAddress::from_bytes(bytes);
    if (!is_v4_compatible(address) || pattern == 0 || pattern == 0x80)
      CHECK(address.to_string() == printed_by_libc(address));
    CHECK(IpAddress::parse(address.to_string()) == address);
  }
}

TEST_CASE("the uncompressed form in upper case reads as the same address") {
  Dice dice(3);
  for (int i = 0; i < 10'000; ++i) {
    const IpAddress address = dice.address();
    REQUIRE(IpAddress::parse(in_full(address)) == address);
  }
}

TEST_CASE("mutated texts are accepted and refused just as by the C library") {
  Dice dice(4);
  unsigned accepted = 0, refused = 0;
  for (int i = 0; i < 300'000; ++i) {
    const IpAddress address = dice.address();
    std::string text = dice.one_in(3) ? in_full(address) : printed_by_libc(address);
    for (unsigned n = dice.below(4); n > 0; --n) mutate(dice, text);
    IpAddress::Bytes expected{};
    const bool good = read_by_libc(text, expected);
    const auto parsed = IpAddress::parse(text);
    REQUIRE_MESSAGE(parsed.has_value() == good, text);
    if (good) REQUIRE_MESSAGE(parsed->bytes() == expected, text);
    ++(good ? accepted : refused);
  }
  CHECK(accepted > 50'000);
  CHECK(refused > 50'000);
}

TEST_CASE("random bytes are refused or read back, by every parser, and never more than that") {
  Dice dice(5);
  static constexpr auto kAlphabet = "0123456789abcdef:.:./[]-_%\0 \n\xa0\xff"sv;
  for (int i = 0; i < 100'000; ++i) {
    std::string text(dice.below(48), '\0');
    for (char& c : text)
      c = dice.one_in(20) ? static_cast<char>(dice.below(256)) : kAlphabet[dice.below(kAlphabet.size())];
    if (const auto v = IpAddress::parse(text)) REQUIRE(IpAddress::parse(v->to_string()) == *v);
    if (const auto v = Prefix::parse(text)) REQUIRE(Prefix::parse(v->to_string()) == *v);
    if (const auto v = patu::Endpoint::parse(text)) REQUIRE(patu::Endpoint::parse(v->to_string()) == *v);
    if (const auto v = patu::MacAddress::parse(text)) REQUIRE(patu::MacAddress::parse(v->to_string()) == *v);
    if (const auto v = patu::IfName::parse(text)) REQUIRE(v->to_string() == text);
    if (const auto v = patu::AttachmentId::parse(text)) REQUIRE(v->to_string() == text + "/eth0");
  }
}

TEST_CASE("random MAC addresses, endpoints and networks are read back as they were printed") {
  Dice dice(6);
  for (int i = 0; i < 20'000; ++i) {
    patu::MacAddress::Bytes bytes;
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(dice.below(256));
    const auto mac = patu::MacAddress::from_bytes(bytes);
    REQUIRE(patu::MacAddress::parse(mac.to_string()) == mac);
    const patu::Endpoint endpoint{dice.address(), static_cast<std::uint16_t>(1 + dice.below(65535))};
    REQUIRE(patu::Endpoint::parse(endpoint.to_string()) == endpoint);
    const Prefix prefix = random_prefix(dice, dice.address());
    REQUIRE(Prefix::parse(prefix.to_string()) == prefix);
  }
}

TEST_CASE("what a network contains, and its last address, agree with arithmetic bit by bit") {
  Dice dice(7);
  unsigned inside = 0, outside = 0;
  for (int i = 0; i < 50'000; ++i) {
    const Prefix prefix = random_prefix(dice, dice.address());
    const unsigned length = full_length(prefix.network(), prefix.length());
    IpAddress last = prefix.network();
    for (unsigned b = length; b < 128; ++b) last = with_bit(last, b, true);
    REQUIRE(prefix.last() == last);

    IpAddress probe = dice.one_in(8) ? dice.address() : prefix.network();
    for (unsigned n = dice.below(4); n > 0; --n) {
      const unsigned b = dice.one_in(2) ? dice.below(128) : std::min(127U, length + dice.below(3) - (length > 0));
      probe = with_bit(probe, b, dice.one_in(2));
    }
    const bool expected = probe.is_v4() == prefix.is_v4() && same_bits(probe, prefix.network(), length);
    REQUIRE(prefix.contains(probe) == expected);
    ++(expected ? inside : outside);
  }
  CHECK(inside > 5'000);
  CHECK(outside > 5'000);
}

TEST_CASE("which networks overlap agrees with arithmetic bit by bit") {
  Dice dice(8);
  unsigned yes = 0, no = 0;
  for (int i = 0; i < 50'000; ++i) {
    const Prefix a = random_prefix(dice, dice.address());
    const Prefix b = random_prefix(dice, dice.one_in(2) ? a.last() : dice.address());
    const unsigned common = full_length(a.network(), std::min(a.length(), b.length()));
    const bool expected = a.is_v4() == b.is_v4() && same_bits(a.network(), b.network(), common);
    REQUIRE(a.overlaps(b) == expected);
    REQUIRE(b.overlaps(a) == expected);
    ++(expected ? yes : no);
  }
  CHECK(yes > 5'000);
  CHECK(no > 5'000);
}
