// Ethernet frames, built byte by byte.
#include "frame.hpp"

#include <cstdio>
#include <cstdlib>

namespace patu::test {
namespace {

template <class Value>
Value checked(Result<Value> value, std::string_view text) {
  if (value) return *value;
  std::fprintf(stderr, "'%.*s' is no address\n", static_cast<int>(text.size()), text.data());
  std::abort();
}

template <class Array>
Bytes whole(const Array& array) {
  return Bytes(array.begin(), array.end());
}

Bytes two(std::size_t number) { return {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}; }

Bytes last_four(const IpAddress& v4) { return Bytes(v4.bytes().begin() + 12, v4.bytes().end()); }

}  // namespace

IpAddress ip(std::string_view text) { return checked(IpAddress::parse(text), text); }
MacAddress mac(std::string_view text) { return checked(MacAddress::parse(text), text); }

IpAddress link_local(const MacAddress& mac) {
  const auto& m = mac.bytes();
  return IpAddress::from_bytes(
      {0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(m[0] ^ 2), m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]});
}

Bytes operator+(Bytes front, const Bytes& back) {
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

std::uint16_t internet_checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Bytes ethernet(const MacAddress& to, const MacAddress& from, std::uint16_t type, const Bytes& payload) {
  return whole(to.bytes()) + whole(from.bytes()) + two(type) + payload;
}

Bytes arp(const Arp& arp) {
  return Bytes{0, 1, 8, 0, 6, 4} + two(arp.operation) + whole(arp.sender_mac.bytes()) + last_four(arp.sender) +
         whole(arp.target_mac.bytes()) + last_four(arp.target);
}

Bytes ipv4(const IpAddress& from, const IpAddress& to, const Bytes& payload, std::uint16_t fragment,
           const Bytes& options) {
  const std::size_t words = 5 + options.size() / 4;
  Bytes header = Bytes{static_cast<std::uint8_t>(0x40 | words), 0} + two(words * 4 + payload.size()) + two(1) +
                 two(fragment) + Bytes{64, 17, 0, 0} + last_four(from) + last_four(to) + options;
  const Bytes sum = two(internet_checksum(header));
  header[10] = sum[0];
  header[11] = sum[1];
  return header + payload;
}

Bytes ipv6(const IpAddress& from, const IpAddress& to, std::uint8_t next, std::uint8_t hops, const Bytes& payload) {
  return Bytes{0x60, 0, 0, 0} + two(payload.size()) + Bytes{next, hops} + bytes_of(from) + bytes_of(to) + payload;
}

Bytes udp(std::string_view text) { return Bytes{0, 9, 0, 9} + two(8 + text.size()) + Bytes{0, 0} + whole(text); }

Bytes icmpv6(std::uint8_t type, const Bytes& rest) { return Bytes{type, 0, 0, 0, 0, 0, 0, 0} + rest; }

Bytes bytes_of(const IpAddress& v6) { return whole(v6.bytes()); }

Bytes mac_option(std::uint8_t type, const MacAddress& mac) { return Bytes{type, 1} + whole(mac.bytes()); }

}  // namespace patu::test
