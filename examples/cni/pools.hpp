// Whether a network has an address left.
#pragma once

#include <functional>
#include <vector>

#include <patu/datapath.hpp>
#include <patu/ipam.hpp>

namespace cni {

// Throws Failure: not_available, if all addresses of a family are leased to owners that hold on to them.
void refuse_exhausted(const patu::Datapath& datapath, const std::vector<patu::Subnet>& subnets,
                      const std::function<bool(const patu::AttachmentId&)>& holds_on);

}  // namespace cni
