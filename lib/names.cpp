// Names and addresses as hashes of what they stand for.
#include "names.hpp"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "bpf/instance.hpp"

namespace patu {
namespace {

constexpr std::string_view kHostPrefix = "veth";
constexpr std::size_t kHashCharacters = 11;
constexpr std::uint8_t kHostMacs = 0xfe;  // locally administered, and above any pod's

// FNV-1a, and a last mixing because its high bits depend too little on the last bytes.
std::uint64_t hash_of(std::string_view bytes) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
  return hash ^ hash >> 33;
}

MacAddress hashed_mac(std::uint8_t first, const IfName& name) noexcept {
  std::uint64_t hash = hash_of(name.view());
  MacAddress::Bytes mac{first};
  for (std::size_t i = 1; i < mac.size(); ++i, hash >>= 8) mac[i] = static_cast<std::uint8_t>(hash);
  return MacAddress::from_bytes(mac);
}

}  // namespace

IfName host_ifname(const AttachmentId& id) {
  // Neither part can contain '/', so that no two ids make the same text.
  std::uint64_t hash = hash_of(id.to_string());
  std::string name(kHostPrefix);
  for (std::size_t i = 0; i < kHashCharacters; ++i, hash >>= 5) name += "abcdefghijklmnopqrstuvwxyz234567"[hash & 31];
  return *IfName::parse(name);
}

std::uint32_t shard_of(const IfName& host_ifname) noexcept {
  return static_cast<std::uint32_t>(hash_of(host_ifname.view()) % bpf::Instance::kShards);
}

MacAddress derived_mac(const std::optional<IpAddress>& v4, const std::optional<IpAddress>& v6) noexcept {
  const IpAddress::Bytes& from = v4 ? v4->bytes() : v6->bytes();
  MacAddress::Bytes mac{0x0a, 0x58, from[12], from[13], from[14], from[15]};
  if (!v4) {
    const std::uint64_t salt = hash_of({reinterpret_cast<const char*>(from.data()), 12});
    for (std::size_t i = 0; i < 4; ++i) mac[2 + i] ^= static_cast<std::uint8_t>(salt >> (8 * i));
  }
  return MacAddress::from_bytes(mac);
}

MacAddress id_mac(const AttachmentId& id) { return hashed_mac(kIdMacs, host_ifname(id)); }

MacAddress host_mac(const IfName& host_ifname) noexcept { return hashed_mac(kHostMacs, host_ifname); }

patu_ifname index_key(const IfName& host_ifname) noexcept {
  patu_ifname key{};
  std::memcpy(key.bytes, host_ifname.view().data(), host_ifname.view().size());
  return key;
}

patu_addr address_key(const IpAddress& address) noexcept {
  patu_addr key;
  std::memcpy(key.bytes, address.bytes().data(), sizeof key.bytes);
  return key;
}

IpAddress to_address(const patu_addr& key) noexcept {
  IpAddress::Bytes bytes;
  std::memcpy(bytes.data(), key.bytes, bytes.size());
  return IpAddress::from_bytes(bytes);
}

}  // namespace patu
