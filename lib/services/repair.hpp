// Putting a table right whose writer died, or gave up, half-way through a change.
#pragma once

#include "services/store.hpp"

namespace patu::services {

// The records are the truth: every other map is made to follow them, and what belongs to none of them goes. Of two records with
// one frontend the later is right; the other loses it, and goes with its last one. O(services). `table` is written with an
// even sequence.
Result<> repair(Store& store, patu_service_table& table);

}  // namespace patu::services
