// Ethernet frames, built byte by byte.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "patu/types.hpp"

namespace patu::test {

using Bytes = std::vector<std::uint8_t>;

// Of literals; ends the process where the text is no address.
IpAddress ip(std::string_view text);
MacAddress mac(std::string_view text);
// fe80:: and the EUI-64 of the MAC, as Linux makes it.
IpAddress link_local(const MacAddress& mac);

Bytes operator+(Bytes front, const Bytes& back);

// RFC 1071; of an even number of bytes.
std::uint16_t internet_checksum(const Bytes& bytes);

Bytes ethernet(const MacAddress& to, const MacAddress& from, std::uint16_t type, const Bytes& payload);

struct Arp {
  std::uint16_t operation = 1;
  MacAddress sender_mac;
  IpAddress sender;
  MacAddress target_mac;
  IpAddress target;
};
Bytes arp(const Arp& arp);

// `fragment` is the header's field: flags and the offset in units of 8 bytes. `options` is a multiple of 4 bytes.
Bytes ipv4(const IpAddress& from, const IpAddress& to, const Bytes& payload, std::uint16_t fragment = 0,
           const Bytes& options = {});
Bytes ipv6(const IpAddress& from, const IpAddress& to, std::uint8_t next, std::uint8_t hops, const Bytes& payload);
Bytes udp(std::string_view text);  // port 9 to port 9, without a checksum

// ICMPv6 of 8 bytes and what follows; the checksum is zero.
Bytes icmpv6(std::uint8_t type, const Bytes& rest = {});
Bytes bytes_of(const IpAddress& v6);
// Neighbour discovery's option with a link-layer address: type 1 is the source's, 2 the target's.
Bytes mac_option(std::uint8_t type, const MacAddress& mac);

}  // namespace patu::test
