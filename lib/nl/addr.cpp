// RTM_NEWADDR, RTM_DELADDR and RTM_GETADDR.
#include "nl/addr.hpp"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/try.hpp"

namespace patu::nl {
namespace {

ifaddrmsg header_for(std::uint32_t ifindex, const InterfaceAddress& address) noexcept {
  ifaddrmsg header{};
  header.ifa_family = address.address.is_v4() ? AF_INET : AF_INET6;
  header.ifa_prefixlen = static_cast<std::uint8_t>(address.prefix_length);
  header.ifa_index = ifindex;
  return header;
}

IpAddress broadcast_of(const InterfaceAddress& address) noexcept {
  IpAddress::Bytes bytes = address.address.bytes();
  const std::uint32_t host_bits = 0xffffffffU >> address.prefix_length;
  for (std::size_t i = 0; i < 4; ++i) bytes[12 + i] |= static_cast<std::uint8_t>(host_bits >> (24 - 8 * i));
  return IpAddress::from_bytes(bytes);
}

Result<InterfaceAddress> parse_address(const Message& message) {
  if (message.type() != RTM_NEWADDR) return fail(Errc::protocol, "netlink answer is not an address");
  PATU_TRY_LET(header, message.body<ifaddrmsg>());
  const AttrRange attributes = message.attributes(sizeof(ifaddrmsg));
  // On a point-to-point link IFA_ADDRESS is the other end; IPv6 has no IFA_LOCAL unless there is one.
  auto own = attributes.find(IFA_LOCAL);
  if (!own) own = attributes.find(IFA_ADDRESS);
  if (!own) return fail(Errc::protocol, "address without IFA_LOCAL and IFA_ADDRESS");
  PATU_TRY_LET(address, own->address());
  return InterfaceAddress{address, header.ifa_prefixlen};
}

// Whether others can reach the namespace by it.
bool is_reachable(const ifaddrmsg& header, const IpAddress& address) noexcept {
  if (header.ifa_scope != RT_SCOPE_UNIVERSE || (header.ifa_flags & IFA_F_DADFAILED) != 0) return false;
  const bool tentative = (header.ifa_flags & IFA_F_TENTATIVE) != 0 && (header.ifa_flags & IFA_F_OPTIMISTIC) == 0;
  return !tentative && !address.is_loopback() && !address.is_link_local() && !address.is_unspecified();
}

}  // namespace

Request add_address(std::uint32_t ifindex, const InterfaceAddress& address, bool probed) {
  ifaddrmsg header = header_for(ifindex, address);
  const bool v4 = address.address.is_v4();
  if (!v4 && !probed) header.ifa_flags = IFA_F_NODAD;
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, header);
  request.put_address(IFA_LOCAL, address.address).put_address(IFA_ADDRESS, address.address);
  if (v4 && address.prefix_length < 31) request.put_address(IFA_BROADCAST, broadcast_of(address));
  return request;
}

Request delete_address(std::uint32_t ifindex, const InterfaceAddress& address) {
  Request request(RTM_DELADDR, 0, header_for(ifindex, address));
  request.put_address(IFA_LOCAL, address.address).put_address(IFA_ADDRESS, address.address);
  return request;
}

Result<std::vector<InterfaceAddress>> list_addresses(Socket& socket, std::uint32_t ifindex) {
  PATU_TRY_LET(states, list_addresses_with_state(socket, ifindex));
  std::vector<InterfaceAddress> out;
  for (const AddressState& one : states) out.push_back(one.address);
  return out;
}

Result<std::vector<AddressState>> list_addresses_with_state(Socket& socket, std::uint32_t ifindex) {
  ifaddrmsg header{};
  header.ifa_index = ifindex;
  Request request(RTM_GETADDR, NLM_F_DUMP, header);
  std::vector<AddressState> out;
  const auto on_message = [&](const Message& message) -> Result<> {
    PATU_TRY_LET(address, parse_address(message));
    PATU_TRY_LET(told, message.body<ifaddrmsg>());
    out.push_back({address, (told.ifa_flags & IFA_F_TENTATIVE) != 0, (told.ifa_flags & IFA_F_DADFAILED) != 0});
    return {};
  };
  PATU_TRY(socket.dump(request, on_message, [&] { out.clear(); }));
  return out;
}

Result<std::vector<IpAddress>> list_reachable_addresses(Socket& socket) {
  Request request(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  std::vector<IpAddress> out;
  const auto on_message = [&](const Message& message) -> Result<> {
    PATU_TRY_LET(found, parse_address(message));
    PATU_TRY_LET(header, message.body<ifaddrmsg>());
    if (is_reachable(header, found.address)) out.push_back(found.address);
    return {};
  };
  PATU_TRY(socket.dump(request, on_message, [&] { out.clear(); }));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace patu::nl
