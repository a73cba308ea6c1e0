// What is asked of a network, checked before anything is changed. No I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bpf/instance.hpp"
#include "ipam/pool.hpp"
#include "patu/network.hpp"

namespace patu::network {

// RFC 791, RFC 8200.
constexpr std::uint32_t min_mtu(bool v4) noexcept { return v4 ? 68 : 1280; }

// By which an attachment belongs to the network. Errors: invalid_argument (too long).
Result<std::string> name_of(const NetworkOptions& options);

// A pool for each subnet, IPv4 first and otherwise in the order given. Errors: invalid_argument.
Result<std::vector<ipam::Pool>> open_pools(const std::shared_ptr<bpf::Instance>& instance,
                                           std::span<const Subnet> subnets);

// What open() and attach() need, and what only takes away does not. Errors: invalid_argument, unsupported.
Result<> check_options(const NetworkOptions& options, std::span<const ipam::Pool> pools, bool redirect_loaded);

}  // namespace patu::network
