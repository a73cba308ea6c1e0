// What a runtime asks for one pod: `args.cni` and `runtimeConfig` of the configuration, on top of CNI_ARGS.
#pragma once

#include "config.hpp"

namespace cni {

// Of the same item the last that says it counts: CNI_ARGS, args.cni, runtimeConfig (CONVENTIONS.md of containernetworking/cni).
void read_wishes(Fields& config, Fields& runtime, const Arguments& arguments, Config& out);

}  // namespace cni
