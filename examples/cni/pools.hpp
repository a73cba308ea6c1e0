// A network's ranges: which of their addresses may be given, and whether there are any.
#pragma once

#include <functional>
#include <vector>

#include <patu/datapath.hpp>
#include <patu/ipam.hpp>

#include "config.hpp"
#include "legacy_leases.hpp"

namespace cni {

LegacyLeases legacy_of(const Config& config);

// The configuration's subnets; what host-local has leased in them is reserved. Throws Failure.
std::vector<patu::Subnet> subnets_of(const Config& config);
// Throws Failure for requested addresses: invalid_config for two of one family, address_outside_ranges, and address_in_use for
// one that host-local has leased. The subnets are those of subnets_of().
void refuse_requested(const Config& config, const std::vector<patu::Subnet>& subnets);

// Throws Failure: not_available, if all addresses of a family are leased to owners that hold on to them.
void refuse_exhausted(const patu::Datapath& datapath, const std::vector<patu::Subnet>& subnets,
                      const std::function<bool(const patu::AttachmentId&)>& holds_on);

}  // namespace cni
