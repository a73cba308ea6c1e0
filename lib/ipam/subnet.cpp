// Fills in and checks the bounds of a subnet.
#include "ipam/subnet.hpp"

#include <algorithm>
#include <limits>
#include <vector>

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

// Bytes 0 to 7, or 8 to 15.
std::uint64_t half_of(const IpAddress& address, std::size_t from) noexcept {
  std::uint64_t half = 0;
  for (std::size_t i = from; i < from + 8; ++i) half = half << 8 | address.bytes()[i];
  return half;
}

// last - first, or 2^64 - 1 if that is less.
std::uint64_t distance(const IpAddress& first, const IpAddress& last) noexcept {
  const std::uint64_t low = half_of(last, 8) - half_of(first, 8);
  const std::uint64_t borrow = half_of(last, 8) < half_of(first, 8) ? 1 : 0;
  return half_of(last, 0) - half_of(first, 0) - borrow == 0 ? low : std::numeric_limits<std::uint64_t>::max();
}

bool is_host(const Subnet& subnet, const IpAddress& address) noexcept {
  return address >= *subnet.first && address <= *subnet.last && address != *subnet.gateway &&
         !is_prefix_own(subnet.prefix, address);
}

// Steps over the exceptions, which are three at most.
bool has_hosts(const Subnet& subnet) {
  for (IpAddress at = *subnet.first; at <= *subnet.last; at = successor(at)) {
    if (is_host(subnet, at)) return true;
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
  if (*out.first > *out.last || !has_hosts(out))
    return fail(Errc::invalid_argument, "subnet " + prefix.to_string() + " has no usable address from " +
                                            out.first->to_string() + " to " + out.last->to_string());
  return out;
}

bool is_dynamic(const Subnet& subnet, const IpAddress& address) noexcept {
  return is_host(subnet, address) && !is_reserved(subnet, address);
}

IpAddress next_in(const Subnet& subnet, const IpAddress& address) noexcept {
  return address == *subnet.last ? *subnet.first : successor(address);
}

bool is_reserved(const Subnet& subnet, const IpAddress& address) noexcept {
  return std::binary_search(subnet.reserved.begin(), subnet.reserved.end(), address);
}

std::uint64_t capacity(const Subnet& subnet) {
  std::vector<IpAddress> exceptions = subnet.reserved;
  for (const IpAddress& address : {*subnet.gateway, subnet.prefix.network(), subnet.prefix.last()})
    if (address == *subnet.gateway || is_prefix_own(subnet.prefix, address)) exceptions.push_back(address);
  std::sort(exceptions.begin(), exceptions.end());
  exceptions.erase(std::unique(exceptions.begin(), exceptions.end()), exceptions.end());
  const auto excluded = std::count_if(exceptions.begin(), exceptions.end(), [&](const IpAddress& address) {
    return address >= *subnet.first && address <= *subnet.last;
  });
  const std::uint64_t beyond_first = distance(*subnet.first, *subnet.last);
  if (beyond_first == std::numeric_limits<std::uint64_t>::max()) return beyond_first;
  return beyond_first + 1 - static_cast<std::uint64_t>(excluded);
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
