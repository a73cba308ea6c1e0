// The text forms of IPv4 and IPv6 addresses, on plain bytes.
#pragma once

#include <string>
#include <string_view>

#include "patu/types.hpp"

namespace patu {

// Dotted decimal or RFC 4291 section 2.2. The error is the bare reason ("256 is not an octet"): the caller knows what
// the text was meant to be. Errors: invalid_argument.
Result<IpAddress::Bytes> parse_address(std::string_view text);

std::string format_v4(const std::uint8_t* octets);     // 4 of them
std::string format_v6(const IpAddress::Bytes& bytes);  // RFC 5952, never with dots

}  // namespace patu
