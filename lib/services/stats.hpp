// What the programs have counted, and how full the maps are.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "patu/services.hpp"
#include "services/store.hpp"

namespace patu::services {

// Names by the ids that counters and events have. Without the lock: a service that is there all the time is found.
Result<std::map<std::uint32_t, std::string>> names_of_ids(const Store& store);

// See ServiceTable.
Result<std::vector<ServiceStats>> read_stats(const Store& store);
Result<std::vector<Gauge>> read_fill(const Store& store);

}  // namespace patu::services
