// Read in batches: three system calls for some hundreds of services.
#include "services/stats.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "bpf/layout.hpp"

namespace patu::services {
namespace {

// A hash does not tell how many elements it has.
template <class Key, class Value>
Result<std::uint64_t> count(const bpf::Map<Key, Value>& map) {
  std::uint64_t elements = 0;
  PATU_TRY(map.visit([&](const Key&, const Value&) -> Result<> {
    ++elements;
    return {};
  }));
  return elements;
}

Result<std::uint64_t> used_slots(const Store& store) {
  std::uint64_t slots = 0;
  PATU_TRY(store.visit_heads([&](const patu_service_key&, const patu_service& head) -> Result<> {
    slots += slots_of(head);
    return {};
  }));
  return slots;
}

Result<> add(const Store& store, bpf::MapId map, Result<std::uint64_t> used, std::vector<Gauge>& out) {
  const std::string name = bpf::map_specs()[static_cast<std::size_t>(map)].name;
  if (!used) return fail(std::move(used.error()).context(name));
  PATU_TRY_LET(limit, store.max_entries(map), name);
  out.push_back({name, *used, limit});
  return {};
}

}  // namespace

Result<std::map<std::uint32_t, std::string>> names_of_ids(const Store& store) {
  std::map<std::uint32_t, std::string> names;
  PATU_TRY(store.visit_heads([&](const patu_service_key& name, const patu_service& head) -> Result<> {
    names.insert_or_assign(head.id, name_of(name));
    return {};
  }));
  return names;
}

Result<std::vector<ServiceStats>> read_stats(const Store& store) {
  PATU_TRY_LET(held, store.instance().lock_services());
  PATU_TRY_LET(names, names_of_ids(store));
  std::map<std::uint32_t, patu_counters> counters;
  PATU_TRY(store.instance().counters().visit([&](const std::uint32_t& id, const patu_counters& value) -> Result<> {
    counters.insert_or_assign(id, value);
    return {};
  }),
           "counters");
  std::vector<ServiceStats> out;
  for (const auto& [id, name] : names) {
    const patu_counters& one = counters[id];
    out.push_back({name, one.connects, one.refused, one.retries, one.affinity_hits});
  }
  std::sort(out.begin(), out.end(), [](const ServiceStats& a, const ServiceStats& b) { return a.name < b.name; });
  return out;
}

Result<std::vector<Gauge>> read_fill(const Store& store) {
  PATU_TRY_LET(held, store.instance().lock_services());
  PATU_TRY_LET(table, store.table());
  const bpf::Instance& maps = store.instance();
  // A writer that died has not brought the table's figures up to date.
  const bool counted = (table.sequence & 1) == 0;
  const auto known = [&](std::uint32_t entries, const auto& map) {
    return counted ? Result<std::uint64_t>(entries) : count(map);
  };
  using bpf::MapId;
  std::vector<Gauge> out;
  PATU_TRY(add(store, MapId::frontends, known(table.frontend_entries, maps.frontends()), out));
  PATU_TRY(add(store, MapId::services, known(table.service_entries, maps.services()), out));
  PATU_TRY(add(store, MapId::addresses, known(table.address_entries, maps.addresses()), out));
  PATU_TRY(add(store, MapId::counters, count(maps.counters()), out));
  PATU_TRY(add(store, MapId::affinity, count(maps.affinity()), out));
  PATU_TRY(add(store, MapId::exempt, count(maps.exempt()), out));
  PATU_TRY(add(store, MapId::stale, known(table.stale_entries, maps.stale()), out));
  PATU_TRY_LET(slots, used_slots(store), "slots");
  out.push_back({"slots", slots, std::uint64_t{PATU_CHUNKS} * PATU_CHUNK_SLOTS});
  return out;
}

}  // namespace patu::services
