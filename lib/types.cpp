// Checks the values that come from outside, and prints them the way they are read.
#include "patu/types.hpp"

#include <algorithm>

#include "address_text.hpp"
#include "base/digits.hpp"
#include "base/quote.hpp"
#include "base/try.hpp"

namespace patu {
namespace {

constexpr unsigned kV4OffsetBits = 96;  // where an IPv4 address begins in its mapped form

Failure wrong(std::string_view reason) { return fail(Errc::invalid_argument, reason); }

unsigned length_limit(const IpAddress& address) noexcept { return address.is_v4() ? 32 : 128; }

// The address with all bits behind the first `length` (of its family) cleared, or set.
IpAddress with_host_bits(const IpAddress& address, unsigned length, bool set) noexcept {
  const unsigned kept = address.is_v4() ? length + kV4OffsetBits : length;
  IpAddress::Bytes bytes = address.bytes();
  for (unsigned i = 0; i < bytes.size(); ++i) {
    const unsigned kept_here = kept <= i * 8 ? 0 : std::min(kept - i * 8, 8U);
    const unsigned host_mask = 0xffU >> kept_here;
    bytes[i] = static_cast<std::uint8_t>(set ? bytes[i] | host_mask : bytes[i] & ~host_mask);
  }
  return IpAddress::from_bytes(bytes);
}

std::string with_length(const IpAddress& address, unsigned length) {
  return address.to_string() + "/" + std::to_string(length);
}

Result<> check_network(const IpAddress& network, unsigned length) {
  if (length > length_limit(network))
    return wrong("the length is a number from 0 to " + std::to_string(length_limit(network)));
  const IpAddress masked = with_host_bits(network, length, false);
  if (masked != network) return wrong("host bits are set, the network is " + with_length(masked, length));
  // ::/80 to ::fffe:0:0/95 end inside ::ffff:0:0/96: their first and last address would be of two families.
  if (with_host_bits(network, length, true).is_v4() != network.is_v4())
    return wrong("it is IPv6 and ends among the mapped IPv4 addresses");
  return {};
}

Result<std::pair<IpAddress, unsigned>> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return wrong("the length is missing, as in 10.0.0.0/8");
  PATU_TRY_LET(bytes, parse_address(text.substr(0, slash)));
  const IpAddress address = IpAddress::from_bytes(bytes);
  const auto length = parse_decimal(text.substr(slash + 1), 128);
  if (!length) return wrong("the length is a number from 0 to " + std::to_string(length_limit(address)));
  if (address.is_v4() && text.substr(0, slash).find(':') != std::string_view::npos)
    return wrong("write an IPv4 network as IPv4" +
                 (*length < kV4OffsetBits ? "" : ": " + with_length(address, *length - kV4OffsetBits)));
  PATU_TRY(check_network(address, *length));
  return std::pair(address, *length);
}

Result<std::uint16_t> parse_port(std::string_view text) {
  const auto port = parse_decimal(text, 65535);
  if (!port || *port == 0) return wrong(quote(text) + " is not a port, 1 to 65535 in decimal");
  return static_cast<std::uint16_t>(*port);
}

// Address and port of "address:port" or "[address]:port", as text.
Result<std::pair<std::string_view, std::string_view>> split_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (!text.starts_with('[')) {
    if (colon == std::string_view::npos) return wrong("the port is missing, as in 10.96.0.1:80");
    if (text.find(':') != colon) return wrong("an IPv6 address stands in brackets, as in [fd00::1]:80");
    return std::pair(text.substr(0, colon), text.substr(colon + 1));
  }
  const std::size_t bracket = text.find(']');
  if (bracket == std::string_view::npos) return wrong("the closing bracket is missing");
  const std::string_view address = text.substr(1, bracket - 1);
  if (address.find(':') == std::string_view::npos) return wrong("only an IPv6 address stands in brackets");
  if (!text.substr(bracket + 1).starts_with(':')) return wrong("the port is missing, as in [fd00::1]:80");
  return std::pair(address, text.substr(bracket + 2));
}

Result<Endpoint> parse_endpoint(std::string_view text) {
  PATU_TRY_LET(parts, split_endpoint(text));
  PATU_TRY_LET(bytes, parse_address(parts.first));
  PATU_TRY_LET(port, parse_port(parts.second));
  return Endpoint{IpAddress::from_bytes(bytes), port};
}

// As the kernel's isspace(), for which 0xa0 is a blank too: it refuses names that hold this byte, be it part of UTF-8.
bool kernel_isspace(char c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r') || static_cast<unsigned char>(c) == 0xa0;
}

Result<> check_ifname(std::string_view text) {
  if (text.empty()) return wrong("it is empty");
  if (text.size() > 15) return wrong("it has " + std::to_string(text.size()) + " bytes, the kernel allows 15");
  if (text == "." || text == "..") return wrong("the kernel does not allow it, because it is a directory in /sys");
  for (const char c : text) {
    if (c == '\0') return wrong("it has a zero byte inside");
    if (kernel_isspace(c)) return wrong("it has a blank inside");
    if (c == '/' || c == ':') return wrong("the kernel does not allow \"/\" and \":\"");
    // The kernel would replace %d by the next free number, so that the name would not be the one asked for.
    if (c == '%') return wrong("\"%\" would make the kernel choose a number");
  }
  return {};
}

bool is_alphanumeric(char c) noexcept { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

Result<> check_container_id(std::string_view text) {
  if (text.empty()) return wrong("it is empty");
  if (text.size() > AttachmentId::kMaxContainerIdLength)
    return wrong("it has more than " + std::to_string(AttachmentId::kMaxContainerIdLength) + " bytes");
  if (!is_alphanumeric(text[0])) return wrong("it begins with a letter or a digit (A-Z, a-z, 0-9)");
  for (const char c : text) {
    if (!is_alphanumeric(c) && c != '_' && c != '.' && c != '-')
      return wrong("only letters, digits, \"_\", \".\" and \"-\" are allowed (A-Z, a-z, 0-9)");
  }
  return {};
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  PATU_TRY_LET(bytes, parse_address(text), "invalid address " + quote(text));
  return from_bytes(bytes);
}

bool IpAddress::is_unspecified() const noexcept { return *this == IpAddress() || *this == v4(0, 0, 0, 0); }

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes_[12] == 127;
  return *this == from_bytes({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

bool IpAddress::is_multicast() const noexcept { return is_v4() ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff; }

bool IpAddress::is_link_local() const noexcept {
  if (is_v4()) return bytes_[12] == 169 && bytes_[13] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_broadcast() const noexcept { return *this == v4(255, 255, 255, 255); }

std::string IpAddress::to_string() const { return is_v4() ? format_v4(&bytes_[12]) : format_v6(bytes_); }

Result<Prefix> Prefix::parse(std::string_view text) {
  PATU_TRY_LET(parts, parse_network(text), "invalid network " + quote(text));
  return Prefix(parts.first, parts.second);
}

Result<Prefix> Prefix::make(const IpAddress& network, unsigned length) {
  PATU_TRY(check_network(network, length), "invalid network " + with_length(network, length));
  return Prefix(network, length);
}

Result<Prefix> Prefix::around(const IpAddress& address, unsigned length) {
  return make(with_host_bits(address, length, false), length);
}

bool Prefix::contains(const IpAddress& address) const noexcept {
  return address.is_v4() == is_v4() && with_host_bits(address, length_, false) == network_;
}

bool Prefix::overlaps(const Prefix& other) const noexcept {
  return contains(other.network_) || other.contains(network_);
}

IpAddress Prefix::last() const noexcept { return with_host_bits(network_, length_, true); }

std::string Prefix::to_string() const { return with_length(network_, length_); }

std::string InterfaceAddress::to_string() const { return with_length(address, prefix_length); }

Result<MacAddress> MacAddress::parse(std::string_view text) {
  Bytes bytes{};
  bool good = text.size() == 3 * bytes.size() - 1;
  for (std::size_t i = 0; good && i < bytes.size(); ++i) {
    const int high = hex_digit(text[3 * i]);
    const int low = hex_digit(text[3 * i + 1]);
    good = high >= 0 && low >= 0 && (i == 0 || text[3 * i - 1] == ':');
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  if (!good)
    return wrong("invalid MAC address " + quote(text) + ": six pairs of hexadecimal digits, as in 0a:58:0a:c8:00:05");
  return from_bytes(bytes);
}

bool MacAddress::is_zero() const noexcept { return *this == MacAddress(); }

std::string MacAddress::to_string() const {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : bytes_) {
    if (!out.empty()) out += ':';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

Result<IfName> IfName::parse(std::string_view text) {
  PATU_TRY(check_ifname(text), "invalid interface name " + quote(text));
  IfName name;
  std::copy(text.begin(), text.end(), name.text_.begin());
  return name;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
  PATU_TRY_LET(endpoint, parse_endpoint(text), "invalid endpoint " + quote(text));
  return endpoint;
}

std::string Endpoint::to_string() const {
  std::string out = address.to_string();
  if (address.is_v6()) out = '[' + out + ']';
  return out + ':' + std::to_string(port);
}

std::string_view to_string(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::tcp: return "TCP";
    case Protocol::udp: return "UDP";
  }
  return "unknown";
}

Result<AttachmentId> AttachmentId::parse(std::string_view container_id, std::string_view ifname) {
  PATU_TRY(check_container_id(container_id), "invalid container id " + quote(container_id));
  PATU_TRY_LET(name, IfName::parse(ifname));
  return AttachmentId(std::string(container_id), name);
}

std::string AttachmentId::to_string() const { return container_id_ + "/" + ifname_.to_string(); }

}  // namespace patu
