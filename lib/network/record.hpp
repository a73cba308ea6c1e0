// What the host's end of a pod's veth says about its attachment, in its alias and its group. No I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "patu/types.hpp"

namespace patu::network {

// All that the maps hold about a pod and could lose.
struct Record {
  AttachmentId id;
  std::uint32_t network = 0;  // network_tag() of the network that it was made with
  std::optional<IpAddress> v4 = {};
  std::optional<IpAddress> v6 = {};
  MacAddress mac = {};             // of the pod's end
  std::uint16_t flags = 0;         // PATU_POD_*
  std::uint64_t netns_cookie = 0;  // of the pod's namespace; 0: not known

  bool has_address() const noexcept { return v4.has_value() || v6.has_value(); }
  bool operator==(const Record&) const noexcept = default;
};

// The alias begins with it, so that two instances in one namespace leave each other's interfaces alone.
std::uint32_t instance_tag(std::string_view instance_directory) noexcept;
// Then comes whose it is of the instance's networks.
std::uint32_t network_tag(std::string_view name) noexcept;

// "patu2 <tag> <network> <container id> <ifname> <IPv4 or -> <IPv6 or -> <mac> <flags> <cookie>", all numbers but the IPv4
// address in hexadecimal, without colons.
std::string format_alias(std::uint32_t tag, const Record& record);
// The kernel keeps 255 bytes; see the parts above in their order, each with the space in front.
inline constexpr std::size_t kMaxAliasLength =
    5 + 9 + 9 + 1 + AttachmentId::kMaxContainerIdLength + 16 + 16 + 33 + 13 + 5 + 17;
static_assert(kMaxAliasLength <= 255);
// Empty for anything that is not exactly such a record of this instance.
std::optional<Record> parse_alias(std::uint32_t tag, std::string_view alias);

// The group of the interface tells how far its attachment has come, so that what a killed process left half made or half removed
// is told from a pod that set its own interface down. Zero, the kernel's default: being made.
inline constexpr std::uint32_t kAttachedGroup = 0x70617475;  // "patu"
// From here on: being removed, or cut off by abandon(). Each batch of removals has a number of its own.
inline constexpr std::uint32_t kRemovalGroups = 0x80000000;

}  // namespace patu::network
