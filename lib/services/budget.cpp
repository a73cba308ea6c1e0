// Counts: a hash tells its limit, and the table how much of it is used.
#include "services/budget.hpp"

#include <algorithm>

#include "base/try.hpp"

namespace patu::services {
namespace {

constexpr std::uint64_t kAllSlots = std::uint64_t{PATU_CHUNKS} * PATU_CHUNK_SLOTS;

}  // namespace

Result<Budget> Budget::make(const Store& store, const patu_service_table& table, const ExtentAllocator& extents,
                            AddressBook::Reading reading) {
  Budget budget(AddressBook(store, reading));
  // `counters` has room for as many services as `services` has for their records.
  const auto count = [&](Map map, const char* name, std::uint32_t used, bpf::MapId id) -> Result<> {
    PATU_TRY_LET(limit, store.max_entries(id));
    budget.counts_[map] = {name, used, limit};
    return {};
  };
  PATU_TRY(count(kFrontends, "frontends", table.frontend_entries, bpf::MapId::frontends));
  PATU_TRY(count(kServices, "services", table.service_entries, bpf::MapId::services));
  PATU_TRY(count(kAddresses, "addresses", table.address_entries, bpf::MapId::addresses));
  PATU_TRY(count(kStale, "stale", table.stale_entries, bpf::MapId::stale));
  // What is retired can be had by waiting, and what does not exist by making it.
  budget.counts_[kSlots] = {"slots", extents.end() - extents.unused(), kAllSlots};
  return budget;
}

Result<> Budget::spend(const Change& change, std::size_t new_frontends) {
  PATU_TRY_LET(addresses, new_addresses(change));
  Need need{};
  need[kFrontends] = new_frontends;
  need[kServices] = (change.before ? 0u : 1u) +
                    (change.after && change.new_list ? further_parts(change.after->frontends.size()) : 0u);
  need[kAddresses] = addresses.size();
  need[kStale] = taken_out_by(change).size();
  need[kSlots] = change.slots.size();
  for (std::size_t map = 0; map < kMaps; ++map) {
    const Count& count = counts_[map];
    if (need[map] == 0 || count.used + need[map] <= count.limit) continue;
    return fail(map_is_full(count.name, count.used, count.limit, need[map]));
  }
  for (std::size_t map = 0; map < kMaps; ++map) counts_[map].used += need[map];
  for (const patu_addr& address : addresses) promised_.insert(address);
  return {};
}

bool Budget::lacks_journal(const Change& change) const {
  const Count& stale = counts_[kStale];
  const std::uint64_t needed = taken_out_by(change).size();
  return needed > 0 && stale.used + needed > stale.limit;
}

Result<std::vector<patu_addr>> Budget::new_addresses(const Change& change) {
  std::vector<patu_addr> out;
  if (!change.after || !change.new_list) return out;
  for (const patu_listed_frontend& frontend : change.after->frontends) {
    const patu_addr& address = frontend.key.addr;
    // Frontends are sorted by their address.
    if (!is_cluster(frontend) || (!out.empty() && EqualBytes()(out.back(), address))) continue;
    if (promised_.count(address) != 0) continue;
    PATU_TRY_LET(entry, addresses_.find(address));
    if (!entry) out.push_back(address);
  }
  return out;
}

}  // namespace patu::services
