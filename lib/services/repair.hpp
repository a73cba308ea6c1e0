// Putting a table right whose writer died, or gave up, half-way through a change.
#pragma once

#include "services/store.hpp"

namespace patu::services {

// Part 0 of a service's record is the truth: a frontend that no record has is removed, one that a record has is made to be
// as it says, further parts that no part 0 leads to are removed. O(services). `table` is written with an even sequence.
Result<> repair(Store& store, patu_service_table& table);

}  // namespace patu::services
