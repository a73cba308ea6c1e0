// Arithmetic on the bytes of addresses.
#include "address_range.hpp"

#include <algorithm>
#include <cstddef>

namespace cni {
namespace {

constexpr std::size_t kV4Begin = 12;  // in the mapped form

// Nothing behind the last address of a family: the carry of IPv4 stays within its four bytes.
std::optional<patu::IpAddress> stepped(const patu::IpAddress& address, std::uint8_t carry_from, std::uint8_t carry_to) {
  auto bytes = address.bytes();
  const std::size_t begin = address.is_v4() ? kV4Begin : 0;
  for (std::size_t i = bytes.size(); i-- > begin;) {
    const bool carries = bytes[i] == carry_from;
    bytes[i] = carries ? carry_to : static_cast<std::uint8_t>(bytes[i] + (carry_from == 0xff ? 1 : 0xff));
    if (!carries) return patu::IpAddress::from_bytes(bytes);
  }
  return std::nullopt;
}

}  // namespace

Bytes key_of(const patu::IpAddress& address) noexcept {
  const Bytes bytes = std::as_bytes(std::span(address.bytes()));
  return address.is_v4() ? bytes.subspan(kV4Begin) : bytes;
}

std::optional<patu::IpAddress> address_of(Bytes key) {
  patu::IpAddress::Bytes bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (key.size() != 4 && key.size() != bytes.size()) return std::nullopt;
  std::transform(key.begin(), key.end(), bytes.end() - static_cast<std::ptrdiff_t>(key.size()),
                 [](std::byte byte) { return static_cast<std::uint8_t>(byte); });
  return patu::IpAddress::from_bytes(bytes);
}

std::optional<patu::IpAddress> next(const patu::IpAddress& address) { return stepped(address, 0xff, 0); }
std::optional<patu::IpAddress> previous(const patu::IpAddress& address) { return stepped(address, 0, 0xff); }

std::string to_string(const AddressRange& range) { return range.first.to_string() + "-" + range.last.to_string(); }

std::vector<AddressRange> joined(std::vector<AddressRange> ranges, bool v4) {
  std::erase_if(ranges, [v4](const AddressRange& range) { return range.is_v4() != v4; });
  std::sort(ranges.begin(), ranges.end());
  std::vector<AddressRange> apart;
  for (const AddressRange& range : ranges) {
    if (apart.empty() || apart.back().last < range.first)
      apart.push_back(range);
    else
      apart.back().last = std::max(apart.back().last, range.last);
  }
  return apart;
}

}  // namespace cni
