// Reads the map in batches and judges each element by its own timeout.
#include "services/sweep.hpp"

#include "base/boot_time.hpp"
#include "base/try.hpp"

namespace patu::services {
namespace {

constexpr std::chrono::seconds kBetweenLooks{10};

}  // namespace

// A choice may be newer than the reading of the clock.
bool has_timed_out(const patu_affinity& entry, std::chrono::nanoseconds now) noexcept {
  return std::chrono::nanoseconds{entry.last_ns} + std::chrono::seconds{entry.timeout_s} < now;
}

Result<> Sweep::run(const Store& store) {
  const auto here = std::chrono::steady_clock::now();
  if (last_ && here - *last_ < kBetweenLooks) return {};
  last_ = here;
  PATU_TRY_LET(limit, store.max_entries(bpf::MapId::affinity));
  std::vector<std::pair<patu_affinity_key, bool>> all;  // and whether it has timed out
  const auto now = boot_time();
  const auto affinity = store.instance().affinity();
  PATU_TRY(affinity.visit([&](const patu_affinity_key& key, const patu_affinity& value) -> Result<> {
    all.emplace_back(key, has_timed_out(value, now));
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
