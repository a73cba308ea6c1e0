// What the verbs of the bridge role share.
#pragma once

#include <optional>
#include <vector>

#include <patu/network.hpp>

#include "call.hpp"
#include "egress.hpp"

namespace cni::bridge {

Added add(const Call& call);
void del(const Call& call);
void check(const Call& call);
void gc(const Call& call);
void status(const Call& call);

// What the pods of these subnets look like from outside.
MasqueradedNetwork masqueraded(const Config& config);
bool has_family(const Config& config, bool v4);

// Stops masquerading if no pod of the network is left, and takes that back if one came in the meantime.
void stop_masquerading_if_last(const patu::Network& network, const Config& config);

}  // namespace cni::bridge
