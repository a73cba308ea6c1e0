// Whether a bridge believes routers that announce themselves on it.
#pragma once

#include "network/node.hpp"

namespace patu::network {

// Sets accept_ra of the bridge to 0, which no netlink message can. Where /proc/sys is read-only and the value another one: success
// in a network with subnets, because the pod program drops such announcements; an error in one without.
// Errors: permission_denied, io.
Result<> refuse_router_advertisements(const Node& node);

}  // namespace patu::network
