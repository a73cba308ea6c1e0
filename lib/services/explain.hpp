// What the programs would do with a socket, told from the maps that they read.
#pragma once

#include <cstdint>
#include <optional>

#include "patu/services.hpp"
#include "services/store.hpp"

namespace patu::services {

// `from` is the cookie of a network namespace; none: of one that is neither the node's nor an exempt pod's.
// Errors: timed_out, io, protocol.
Result<Explanation> explain(Store& store, const Endpoint& to, Protocol protocol, std::optional<std::uint64_t> from);

}  // namespace patu::services
