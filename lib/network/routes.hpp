// The routes of a pod: which ones the options ask for, and whether they are there. No I/O.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "network/node.hpp"
#include "nl/route.hpp"

namespace patu::network {

// Refuses what the kernel would, and what it would silently change. Errors: invalid_argument.
Result<> check_routes(const NetworkOptions& options, std::span<const ipam::Pool> pools);

// As they are to be in the pod, in the order in which the kernel takes them. Without those whose gateway depends on a subnet that
// this network does not have.
std::vector<nl::Route> routes_of(const Node& node, const Record& record, std::uint32_t ifindex);

// Whether the kernel tells the route just so.
bool is_there(const nl::Route& wanted, std::span<const nl::Route> all);

// "10.0.0.0/8 via 10.200.0.1 in table 100 with priority 5"
std::string to_text(const nl::Route& route);

}  // namespace patu::network
