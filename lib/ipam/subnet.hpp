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
// The address of the range behind this one; from the last to the first.
IpAddress next_in(const Subnet& subnet, const IpAddress& address) noexcept;
// Whether it was named in Subnet::reserved.
bool is_reserved(const Subnet& subnet, const IpAddress& address) noexcept;
// How many addresses the pool itself hands out; 2^64 - 1 also for more.
std::uint64_t capacity(const Subnet& subnet);
// Whether it can be asked for by name. Errors: invalid_argument.
Result<> check_requested(const Subnet& subnet, const IpAddress& address);

}  // namespace patu::ipam
