// Taking out of the map `affinity` what nobody can use any more.
#pragma once

#include <chrono>
#include <optional>

#include "services/store.hpp"

namespace patu::services {

bool has_timed_out(const patu_affinity& entry, std::chrono::nanoseconds now) noexcept;

// A program that finds the map full says so and goes on without affinity, so that it is enough to look now and then.
class Sweep final {
 public:
  // If the map is more than half full: removes choices that have timed out, and those for services that are gone. Looks at most
  // every ten seconds, because the kernel tells the number of elements only to whoever counts them. Errors: io.
  Result<> run(const Store& store);

 private:
  std::optional<std::chrono::steady_clock::time_point> last_;
};

}  // namespace patu::services
