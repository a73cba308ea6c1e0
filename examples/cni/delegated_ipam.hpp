// Addresses from another IPAM plugin, as the library wants them.
#pragma once

#include "call.hpp"

namespace cni {

// Its ADD; where that fails, its DEL too, as the specification has it. Throws Failure.
Result delegated_add(const Call& call);
void delegated_del(const Call& call);
// CHECK, GC or STATUS: its answer is a failure or nothing.
void delegated_call(const Call& call);

// Makes subnets, routes and the pod's addresses of what it answered. Throws Failure.
void take_addresses(const Result& answer, Config& config);

}  // namespace cni
