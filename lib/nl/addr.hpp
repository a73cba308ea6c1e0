// Addresses of links.
#pragma once

#include <cstdint>
#include <vector>

#include "nl/socket.hpp"
#include "patu/types.hpp"

namespace patu::nl {

// Adds the address, or leaves it as it is (NLM_F_REPLACE). IPv6 addresses get IFA_F_NODAD, so that they can be used at
// once, unless they are to be probed for duplicates; IPv4 ones get their broadcast address, except for /31 and /32.
Request add_address(std::uint32_t ifindex, const InterfaceAddress& address, bool probed = false);
Request delete_address(std::uint32_t ifindex, const InterfaceAddress& address);

// Addresses of a link, in the kernel's order, IPv6 link-local ones included. Errors: io, timed_out, protocol.
Result<std::vector<InterfaceAddress>> list_addresses(Socket& socket, std::uint32_t ifindex);

struct AddressState {
  InterfaceAddress address;
  bool is_tentative = false;  // it is being probed for duplicates
  bool is_duplicate = false;
};
// The same with what duplicate address detection says of them.
Result<std::vector<AddressState>> list_addresses_with_state(Socket& socket, std::uint32_t ifindex);

// Of all links of the namespace, each once, sorted: those of global scope that are in use; neither loopback nor link-local
// ones, nor such as duplicate address detection has not passed. Errors: io, timed_out, busy, protocol.
Result<std::vector<IpAddress>> list_reachable_addresses(Socket& socket);

}  // namespace patu::nl
