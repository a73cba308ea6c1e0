// A batch of changes, written in an order that leaves every frontend old or new wherever it is interrupted.
#pragma once

#include <span>

#include "services/change.hpp"
#include "services/store.hpp"

namespace patu::services {

// Changes that fit, of which no two want one frontend. Gives each the table's next sequence and its slots' generation; their
// extents are set. `table` is written with an even sequence. After an error the table's sequence is odd, unless it says
// that nothing was written: then repair() makes everything follow the records, of which each is old or new.
Result<> apply(Store& store, std::span<Change> changes, patu_service_table& table);

// Generation of the slots of the next batch: never 0, which is a slot that was never written.
std::uint16_t next_generation(const patu_service_table& table) noexcept;

}  // namespace patu::services
