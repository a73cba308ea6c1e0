// Reads the map in batches and judges each element by its own timeout.
#include "services/sweep.hpp"

#include <ctime>

#include "base/try.hpp"

namespace patu::services {
namespace {

constexpr std::chrono::seconds kBetweenLooks{10};
constexpr std::uint64_t kNanoseconds = 1'000'000'000;

// The clock of patu_affinity.
std::uint64_t now_ns() noexcept {
  timespec now{};
  (void)::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNanoseconds + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

Result<> Sweep::run(const Store& store) {
  const auto here = std::chrono::steady_clock::now();
  if (last_ && here - *last_ < kBetweenLooks) return {};
  last_ = here;
  PATU_TRY_LET(limit, store.max_entries(bpf::MapId::affinity));
  std::vector<std::pair<patu_affinity_key, bool>> all;  // and whether it has timed out
  const std::uint64_t now = now_ns();
  const auto affinity = store.instance().affinity();
  PATU_TRY(affinity.visit([&](const patu_affinity_key& key, const patu_affinity& value) -> Result<> {
    // A choice may be newer than this clock's reading.
    all.emplace_back(key, value.last_ns + value.timeout_s * kNanoseconds < now);
    return {};
  }),
           "affinity");
  if (all.size() <= limit / 2) return {};
  std::vector<patu_affinity_key> useless;
  for (const auto& [key, timed_out] : all) {
    bool gone = timed_out;
    if (!gone) {
      PATU_TRY_LET(counters, store.instance().counters().lookup(key.service_id), "counters");
      gone = !counters;
    }
    if (gone) useless.push_back(key);
  }
  PATU_TRY(affinity.erase_all(useless), "affinity");
  return {};
}

}  // namespace patu::services
