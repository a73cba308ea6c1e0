// Fills in and checks the bounds of a subnet.
#include "ipam/subnet.hpp"

#include <algorithm>

#include "base/try.hpp"

namespace patu::ipam {
namespace {

// The addresses that a prefix keeps for itself.
bool is_prefix_own(const Prefix& prefix, const IpAddress& address) noexcept {
  return address == prefix.network() || (prefix.is_v4() && address == prefix.last());
}

IpAddress predecessor(const IpAddress& address) noexcept {
  IpAddress::Bytes bytes = address.bytes();
  for (std::size_t i = bytes.size(); i-- > 0;)
    if (bytes[i]-- != 0) break;
  return IpAddress::from_bytes(bytes);
}

Result<> check_inside(const Prefix& prefix, const IpAddress& address, const char* what) {
  if (prefix.contains(address)) return {};
  return fail(Errc::invalid_argument,
              std::string(what) + " " + address.to_string() + " is outside of " + prefix.to_string());
}

Result<> check_network(const Prefix& prefix) {
  const IpAddress& network = prefix.network();
  if (network.is_multicast() || network.is_loopback() || network.is_unspecified() ||
      (network.is_v6() && network.is_link_local()))
    return fail(Errc::invalid_argument, "subnet " + prefix.to_string() + " is not made of unicast addresses of hosts");
  const unsigned host_bits = (prefix.is_v4() ? 32U : 128U) - prefix.length();
  if (host_bits < 2)
    return fail(Errc::invalid_argument, "subnet " + prefix.to_string() + " has no room for a gateway and a pod");
  return {};
}

// Steps over the exceptions, of which there are few: so this ends soon whatever the size of the range.
bool has_dynamic(const Subnet& subnet) {
  for (IpAddress at = *subnet.first; at <= *subnet.last; at = successor(at)) {
    if (is_dynamic(subnet, at)) return true;
    if (at == *subnet.last) break;
  }
  return false;
}

}  // namespace

IpAddress successor(const IpAddress& address) noexcept {
  IpAddress::Bytes bytes = address.bytes();
  for (std::size_t i = bytes.size(); i-- > 0;)
    if (++bytes[i] != 0) break;
  return IpAddress::from_bytes(bytes);
}

Result<Subnet> complete(const Subnet& subnet) {
  const Prefix& prefix = subnet.prefix;
  PATU_TRY(check_network(prefix));
  Subnet out = subnet;
  if (!out.gateway) out.gateway = successor(prefix.network());
  if (!out.first) out.first = successor(prefix.network());
  if (!out.last) out.last = prefix.is_v4() ? predecessor(prefix.last()) : prefix.last();
  PATU_TRY(check_inside(prefix, *out.gateway, "gateway"));
  if (is_prefix_own(prefix, *out.gateway))
    return fail(Errc::invalid_argument, "gateway " + out.gateway->to_string() + " is no host of " + prefix.to_string());
  PATU_TRY(check_inside(prefix, *out.first, "first address"));
  PATU_TRY(check_inside(prefix, *out.last, "last address"));
  for (const IpAddress& address : out.reserved) PATU_TRY(check_inside(prefix, address, "reserved address"));
  std::sort(out.reserved.begin(), out.reserved.end());
  if (*out.first > *out.last || !has_dynamic(out))
    return fail(Errc::invalid_argument, "subnet " + prefix.to_string() + " has no usable address from " +
                                            out.first->to_string() + " to " + out.last->to_string());
  return out;
}

bool is_dynamic(const Subnet& subnet, const IpAddress& address) noexcept {
  return address >= *subnet.first && address <= *subnet.last && address != *subnet.gateway &&
         !is_prefix_own(subnet.prefix, address) &&
         !std::binary_search(subnet.reserved.begin(), subnet.reserved.end(), address);
}

Result<> check_requested(const Subnet& subnet, const IpAddress& address) {
  PATU_TRY(check_inside(subnet.prefix, address, "address"));
  if (address == *subnet.gateway)
    return fail(Errc::invalid_argument, "address " + address.to_string() + " is the gateway's");
  if (is_prefix_own(subnet.prefix, address))
    return fail(Errc::invalid_argument,
                "address " + address.to_string() + " is no host of " + subnet.prefix.to_string());
  return {};
}

}  // namespace patu::ipam
