// Writes and reads the alias and the group of a pod's veth.
#include "network/record.hpp"

#include <array>
#include <charconv>

namespace patu::network {
namespace {

constexpr std::string_view kMagic = "patu2";
constexpr std::size_t kFields = 10;

void add_hex(std::string& text, std::uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16);
  text.append(digits.data(), end.ptr);
}

template <class T>
std::optional<T> parse_hex(std::string_view text) {
  T value{};
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// Two digits a byte: the shortest form of which the length is known.
template <class Bytes>
std::string to_digits(const Bytes& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) (text += kDigits[byte >> 4]) += kDigits[byte & 15];
  return text;
}

template <class Bytes>
std::optional<Bytes> parse_digits(std::string_view text) {
  Bytes bytes{};
  if (text.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = parse_hex<std::uint8_t>(text.substr(2 * i, 2));
    if (!byte) return std::nullopt;
    bytes[i] = *byte;
  }
  return bytes;
}

std::string to_field(const std::optional<IpAddress>& address) {
  if (!address) return "-";
  return address->is_v4() ? address->to_string() : to_digits(address->bytes());
}

// False: no address of the family, and no "-" either.
bool parse_v4(std::string_view text, std::optional<IpAddress>& out) {
  if (text == "-") return true;
  auto address = IpAddress::parse(text);
  if (!address || !address->is_v4()) return false;
  out = *address;
  return true;
}

bool parse_v6(std::string_view text, std::optional<IpAddress>& out) {
  if (text == "-") return true;
  const auto bytes = parse_digits<IpAddress::Bytes>(text);
  if (!bytes || IpAddress::from_bytes(*bytes).is_v4()) return false;
  out = IpAddress::from_bytes(*bytes);
  return true;
}

bool parse_mac(std::string_view text, MacAddress& out) {
  const auto bytes = parse_digits<MacAddress::Bytes>(text);
  if (bytes) out = MacAddress::from_bytes(*bytes);
  return bytes.has_value();
}

std::uint32_t hash_of(std::string_view text) noexcept {
  std::uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::optional<std::array<std::string_view, kFields>> split(std::string_view text) {
  std::array<std::string_view, kFields> fields;
  for (std::size_t i = 0; i < kFields; ++i) {
    const std::size_t end = i + 1 < kFields ? text.find(' ') : text.size();
    if (end == std::string_view::npos) return std::nullopt;
    fields[i] = text.substr(0, end);
    text.remove_prefix(i + 1 < kFields ? end + 1 : end);
  }
  return fields;
}

}  // namespace

std::uint32_t instance_tag(std::string_view instance_directory) noexcept {
  // <bpffs>/patu/<instance>/v1: the mount point and the version may differ, the instance is what counts.
  instance_directory = instance_directory.substr(0, instance_directory.rfind('/'));
  return hash_of(instance_directory.substr(instance_directory.rfind('/') + 1));
}

std::uint32_t network_tag(std::string_view name) noexcept { return hash_of(name); }

std::string format_alias(std::uint32_t tag, const Record& record) {
  std::string alias(kMagic);
  add_hex(alias += ' ', tag);
  add_hex(alias += ' ', record.network);
  alias += ' ' + record.id.container_id() + ' ' + record.id.ifname().to_string();
  alias += ' ' + to_field(record.v4) + ' ' + to_field(record.v6) + ' ' + to_digits(record.mac.bytes());
  add_hex(alias += ' ', record.flags);
  add_hex(alias += ' ', record.netns_cookie);
  return alias;
}

std::optional<Record> parse_alias(std::uint32_t tag, std::string_view alias) {
  const auto fields = split(alias);
  if (!fields || (*fields)[0] != kMagic || parse_hex<std::uint32_t>((*fields)[1]) != tag) return std::nullopt;
  const auto network = parse_hex<std::uint32_t>((*fields)[2]);
  auto id = AttachmentId::parse((*fields)[3], (*fields)[4]);
  if (!network || !id) return std::nullopt;
  Record record{std::move(*id), *network};
  const auto flags = parse_hex<std::uint16_t>((*fields)[8]);
  const auto cookie = parse_hex<std::uint64_t>((*fields)[9]);
  if (!parse_v4((*fields)[5], record.v4) || !parse_v6((*fields)[6], record.v6) ||
      !parse_mac((*fields)[7], record.mac) || !flags || !cookie)
    return std::nullopt;
  record.flags = *flags;
  record.netns_cookie = *cookie;
  return record;
}

}  // namespace patu::network
