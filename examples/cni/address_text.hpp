// Addresses as runtimes and other plugins write them.
#pragma once

#include <optional>
#include <string_view>

#include <patu/types.hpp>

namespace cni {

// "10.1.0.5/24".
std::optional<patu::InterfaceAddress> parse_interface_address(std::string_view text);
// Also without the length: it is that of the subnet, as host-local has it. Errors: invalid_argument.
patu::Result<patu::IpAddress> parse_wanted_address(std::string_view text);

}  // namespace cni
