// Parses and prints IPv4 and IPv6 addresses, stricter than inet_aton(3) and without its octal and one-number forms.
#include "address_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/digits.hpp"
#include "base/quote.hpp"
#include "base/try.hpp"

namespace patu {
namespace {

using Octets = std::array<std::uint8_t, 4>;

Failure wrong(std::string_view reason) { return fail(Errc::invalid_argument, reason); }

Result<std::uint8_t> parse_octet(std::string_view text) {
  if (const auto value = parse_decimal(text, 255)) return static_cast<std::uint8_t>(*value);
  if (text.empty()) return wrong("an octet is empty");
  if (!std::all_of(text.begin(), text.end(), is_digit)) return wrong(quote(text) + " is not an octet");
  if (text[0] == '0') return wrong("octet " + quote(text) + " has a leading zero, which some programs read as octal");
  return wrong((text.size() > 10 ? quote(text) : std::string(text)) + " is not an octet");
}

Result<Octets> parse_v4(std::string_view text) {
  Octets octets{};
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const std::size_t dot = text.find('.');
    const bool last = i + 1 == octets.size();
    if (!last && dot == std::string_view::npos)
      return wrong("an IPv4 address has four octets, this has " + std::to_string(i + 1));
    if (last && dot != std::string_view::npos) return wrong("an IPv4 address has four octets, this has more");
    PATU_TRY_LET(octet, parse_octet(text.substr(0, dot)));
    octets[i] = octet;
    if (!last) text.remove_prefix(dot + 1);
  }
  return octets;
}

// The 16-bit groups of an IPv6 address as they are read, and where "::" stood among them.
struct Groups {
  std::array<std::uint16_t, 8> value{};
  std::size_t count = 0;
  std::optional<std::size_t> gap;

  Result<> add(std::uint16_t group) {
    if (count == value.size()) return wrong("more than eight groups");
    value[count++] = group;
    return {};
  }
  Result<> open_gap() {
    if (gap) return wrong("\"::\" may stand once only");
    gap = count;
    return {};
  }
};

Result<std::uint16_t> parse_group(std::string_view text) {
  if (text.empty()) return wrong("a single \":\" at an end, or three in a row");
  if (!std::all_of(text.begin(), text.end(), [](char c) { return hex_digit(c) >= 0; }))
    return wrong(quote(text) + " is not a group of hexadecimal digits");
  if (text.size() > 4) return wrong("group " + quote(text) + " has more than four digits");
  unsigned value = 0;
  for (const char c : text) value = value * 16 + static_cast<unsigned>(hex_digit(c));
  return static_cast<std::uint16_t>(value);
}

// One part between colons: a group, or at the very end an IPv4 address that fills two.
Result<> add_part(Groups& groups, std::string_view part, bool at_end) {
  if (part.find('.') == std::string_view::npos) {
    PATU_TRY_LET(group, parse_group(part));
    return groups.add(group);
  }
  if (!at_end) return wrong("an IPv4 address may stand at the end only");
  PATU_TRY_LET(octets, parse_v4(part), "IPv4 part " + quote(part));
  PATU_TRY(groups.add(static_cast<std::uint16_t>(octets[0] << 8 | octets[1])));
  return groups.add(static_cast<std::uint16_t>(octets[2] << 8 | octets[3]));
}

Result<Groups> read_groups(std::string_view text) {
  Groups groups;
  if (text.starts_with("::")) {
    PATU_TRY(groups.open_gap());
    text.remove_prefix(2);
    if (text.empty()) return groups;
  }
  for (;;) {
    const std::size_t colon = text.find(':');
    PATU_TRY(add_part(groups, text.substr(0, colon), colon == std::string_view::npos));
    if (colon == std::string_view::npos) return groups;
    text.remove_prefix(colon + 1);
    if (!text.starts_with(':')) continue;
    PATU_TRY(groups.open_gap());
    text.remove_prefix(1);
    if (text.empty()) return groups;
  }
}

Result<IpAddress::Bytes> parse_v6(std::string_view text) {
  PATU_TRY_LET(groups, read_groups(text));
  if (!groups.gap && groups.count < 8)
    return wrong("an IPv6 address without \"::\" has eight groups, this has " + std::to_string(groups.count));
  if (groups.gap && groups.count == 8) return wrong("\"::\" beside eight groups stands for nothing");

  IpAddress::Bytes bytes{};
  const std::size_t zeros = 8 - groups.count;
  for (std::size_t i = 0; i < groups.count; ++i) {
    const std::size_t at = i < groups.gap.value_or(8) ? i : i + zeros;
    bytes[2 * at] = static_cast<std::uint8_t>(groups.value[i] >> 8);
    bytes[2 * at + 1] = static_cast<std::uint8_t>(groups.value[i] & 0xff);
  }
  return bytes;
}

struct Run {
  std::size_t begin = 0;
  std::size_t length = 0;
};

// RFC 5952 section 4.2: the longest run of zero groups, the first of equals; one group alone is not shortened.
Run longest_zero_run(const IpAddress::Bytes& bytes) {
  Run best;
  for (std::size_t i = 0; i < 8;) {
    std::size_t end = i;
    while (end < 8 && bytes[2 * end] == 0 && bytes[2 * end + 1] == 0) ++end;
    if (end - i > std::max<std::size_t>(best.length, 1)) best = {i, end - i};
    i = end + 1;
  }
  return best;
}

}  // namespace

Result<IpAddress::Bytes> parse_address(std::string_view text) {
  if (text.empty()) return wrong("it is empty");
  if (text.find('/') != std::string_view::npos) return wrong("a prefix length does not belong here");
  if (text.find('%') != std::string_view::npos) return wrong("zone identifiers (%) are not supported");
  if (text.find('[') != std::string_view::npos) return wrong("brackets belong to an address with a port only");
  if (text.find(':') != std::string_view::npos) return parse_v6(text);
  if (text.find('.') == std::string_view::npos) return wrong("neither dotted decimal nor IPv6");
  PATU_TRY_LET(octets, parse_v4(text));
  return IpAddress::v4(octets[0], octets[1], octets[2], octets[3]).bytes();
}

std::string format_v4(const std::uint8_t* octets) {
  std::string out = std::to_string(octets[0]);
  for (std::size_t i = 1; i < 4; ++i) out += '.' + std::to_string(octets[i]);
  return out;
}

std::string format_v6(const IpAddress::Bytes& bytes) {
  const Run zeros = longest_zero_run(bytes);
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (zeros.length != 0 && i == zeros.begin) {
      out += "::";
      i += zeros.length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    std::array<char, 4> digits;
    const auto end =
        std::to_chars(digits.data(), digits.data() + digits.size(), bytes[2 * i] << 8 | bytes[2 * i + 1], 16);
    out.append(digits.data(), end.ptr);
  }
  return out;
}

}  // namespace patu
