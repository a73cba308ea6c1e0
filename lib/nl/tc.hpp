// The clsact qdisc and its BPF filter: how a program is attached to a device.
// tcx (Linux 6.6) would do it with less, but waits for an RCU grace period at each device's first program and at its last.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "nl/socket.hpp"

namespace patu::nl {

// What tells our filter from another's at the same place.
inline constexpr std::string_view kFilterName = "patu_pod";

// Adds clsact if it is not there and puts the program at the device's ingress, priority 1, handle 1, direct action;
// replaces an earlier one in place. The qdisc and the filter die with the device. Errors: not_found, io.
Result<> attach_clsact(Socket& socket, std::uint32_t ifindex, int program_fd);
// Removes the filter if it is ours, and leaves the qdisc. Success where there is none.
Result<> detach_clsact(Socket& socket, std::uint32_t ifindex);
// Id of the program of our filter; empty if there is none.
Result<std::optional<std::uint32_t>> query_clsact(Socket& socket, std::uint32_t ifindex);

}  // namespace patu::nl
