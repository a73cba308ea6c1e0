// Writes and reads the alias and the group of a pod's veth.
#include "network/record.hpp"

#include <array>
#include <charconv>

namespace patu::network {
namespace {

constexpr std::string_view kMagic = "patu1";
constexpr std::size_t kFields = 9;

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

std::string to_field(const std::optional<IpAddress>& address) { return address ? address->to_string() : "-"; }

std::string to_field(const MacAddress& mac) {
  std::string text;
  for (const char c : mac.to_string())
    if (c != ':') text += c;
  return text;
}

// False: no address of the family, and no "-" either.
bool parse_field(std::string_view text, bool v4, std::optional<IpAddress>& out) {
  if (text == "-") return true;
  auto address = IpAddress::parse(text);
  if (!address || address->is_v4() != v4) return false;
  out = *address;
  return true;
}

bool parse_field(std::string_view text, MacAddress& out) {
  MacAddress::Bytes bytes{};
  if (text.size() != 2 * bytes.size()) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = parse_hex<std::uint8_t>(text.substr(2 * i, 2));
    if (!byte) return false;
    bytes[i] = *byte;
  }
  out = MacAddress::from_bytes(bytes);
  return true;
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
  instance_directory = instance_directory.substr(instance_directory.rfind('/') + 1);
  std::uint32_t hash = 2166136261u;
  for (const char c : instance_directory) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::string format_alias(std::uint32_t tag, const Record& record) {
  std::string alias(kMagic);
  add_hex(alias += ' ', tag);
  alias += ' ' + record.id.container_id() + ' ' + record.id.ifname().to_string();
  alias += ' ' + to_field(record.v4) + ' ' + to_field(record.v6) + ' ' + to_field(record.mac);
  add_hex(alias += ' ', record.flags);
  add_hex(alias += ' ', record.netns_cookie);
  return alias;
}

std::optional<Record> parse_alias(std::uint32_t tag, std::string_view alias) {
  const auto fields = split(alias);
  if (!fields || (*fields)[0] != kMagic || parse_hex<std::uint32_t>((*fields)[1]) != tag) return std::nullopt;
  auto id = AttachmentId::parse((*fields)[2], (*fields)[3]);
  if (!id) return std::nullopt;
  Record record{std::move(*id)};
  const auto flags = parse_hex<std::uint16_t>((*fields)[7]);
  const auto cookie = parse_hex<std::uint64_t>((*fields)[8]);
  if (!parse_field((*fields)[4], true, record.v4) || !parse_field((*fields)[5], false, record.v6) ||
      !parse_field((*fields)[6], record.mac) || !flags || !cookie || (!record.v4 && !record.v6))
    return std::nullopt;
  record.flags = *flags;
  record.netns_cookie = *cookie;
  return record;
}

}  // namespace patu::network
