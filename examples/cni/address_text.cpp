// The address is parsed by the library, the length here.
#include "address_text.hpp"

#include <charconv>

namespace cni {

std::optional<patu::InterfaceAddress> parse_interface_address(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto address = patu::IpAddress::parse(text.substr(0, slash));
  const std::string_view length = text.substr(slash + 1);
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bits);
  if (!address || error != std::errc() || end != length.data() + length.size()) return std::nullopt;
  if (bits > (address->is_v4() ? 32U : 128U)) return std::nullopt;
  return patu::InterfaceAddress{*address, bits};
}

patu::Result<patu::IpAddress> parse_wanted_address(std::string_view text) {
  if (const auto with_length = parse_interface_address(text)) return with_length->address;
  return patu::IpAddress::parse(text);
}

}  // namespace cni
