// What may be handed out of a subnet: its defaults filled in and its bounds checked. No I/O.
#pragma once

#include "patu/ipam.hpp"

namespace patu::ipam {

// The address behind this one; wraps at the end of all addresses.
IpAddress successor(const IpAddress& address) noexcept;

// Fills in gateway, first and last. Errors: invalid_argument.
Result<Subnet> complete(const Subnet& subnet);

// The functions below take a subnet that complete() has made.

// Whether the pool itself hands the address out: within first and last, and none of the exceptions.
bool is_dynamic(const Subnet& subnet, const IpAddress& address) noexcept;
// Whether it can be asked for by name. Errors: invalid_argument.
Result<> check_requested(const Subnet& subnet, const IpAddress& address);

}  // namespace patu::ipam
