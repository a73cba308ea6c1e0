// Opening and unloading an instance: who looks without a lock, and who writes under it.
#pragma once

#include <string>
#include <vector>

#include "bpf/instance.hpp"
#include "patu/datapath.hpp"

namespace patu::bpf {

using BeforeUnload = Result<> (*)(const Instance&);

// Removes an instance; `before` runs first, with all of its locks held, where it can be opened. Returns the paths that are
// gone.
Result<std::vector<std::string>> unload_instance(const DatapathOptions& options, UnloadMode mode, BeforeUnload before);

}  // namespace patu::bpf
