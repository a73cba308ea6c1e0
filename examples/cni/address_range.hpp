// Ranges of addresses, as elements of nf_tables' sets of intervals have them.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include <patu/types.hpp>

#include "netlink.hpp"

namespace cni {

// From the first to the last address, of one family.
struct AddressRange {
  patu::IpAddress first;
  patu::IpAddress last;

  explicit AddressRange(const patu::Prefix& prefix) : first(prefix.network()), last(prefix.last()) {}
  AddressRange(const patu::IpAddress& from, const patu::IpAddress& to) : first(from), last(to) {}
  bool is_v4() const noexcept { return first.is_v4(); }
  auto operator<=>(const AddressRange&) const noexcept = default;
};

std::string to_string(const AddressRange& range);

// Those of one family, in order, with what overlaps made one.
std::vector<AddressRange> joined(std::vector<AddressRange> ranges, bool v4);

// The address behind or before it; nothing beyond the last or the first one of its family.
std::optional<patu::IpAddress> next(const patu::IpAddress& address);
std::optional<patu::IpAddress> previous(const patu::IpAddress& address);

// As nf_tables has it: 4 or 16 bytes, borrowed.
Bytes key_of(const patu::IpAddress& address) noexcept;
// Nothing for another number of bytes.
std::optional<patu::IpAddress> address_of(Bytes key);

}  // namespace cni
