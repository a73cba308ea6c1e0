// What is derived from an attachment's id and addresses, so that every step and every process finds it again. No I/O.
#pragma once

#include <cstdint>
#include <optional>

#include "patu/types.hpp"
#include "patu_maps.h"

namespace patu {

// "veth" and 11 characters of base32: 55 bits of a hash of the id. Two ids of one name are one in 2^55, and are refused.
IfName host_ifname(const AttachmentId& id);
// The lock that serialises the verbs of one attachment: 0 to bpf::Instance::kShards - 1.
std::uint32_t shard_of(const IfName& host_ifname) noexcept;

// 0a:58 and the IPv4 address; or, for a pod with IPv6 alone, 0a:58 and 32 bits that differ between any two addresses of a /96.
MacAddress derived_mac(const std::optional<IpAddress>& v4, const std::optional<IpAddress>& v6) noexcept;

// The first byte of what has a MAC that follows from no address: locally administered.
inline constexpr std::uint8_t kIdMacs = 0x0e;

// Of a pod without an address: kIdMacs and 40 bits of a hash.
MacAddress id_mac(const AttachmentId& id);

// Of the host's end: no other interface's, and the same in every life of the attachment.
MacAddress host_mac(const IfName& host_ifname) noexcept;

patu_ifname index_key(const IfName& host_ifname) noexcept;
patu_addr address_key(const IpAddress& address) noexcept;
IpAddress to_address(const patu_addr& key) noexcept;

}  // namespace patu
