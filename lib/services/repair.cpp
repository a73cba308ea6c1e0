// Compares what the records say with what the maps hold, and changes only what differs.
#include "services/repair.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "base/try.hpp"
#include "services/bytes.hpp"
#include "services/steps.hpp"

namespace patu::services {
namespace {

// What the records come to in the other maps.
struct Wanted {
  std::unordered_map<patu_frontend_key, patu_frontend, HashOfBytes, EqualBytes> frontends;
  std::unordered_map<patu_addr, std::uint32_t, HashOfBytes, EqualBytes> clusters;
  std::unordered_map<std::uint32_t, patu_service> heads;  // by id
  std::uint32_t service_entries = 0;
  std::uint32_t wildcards = 0;
  std::uint32_t reserved_ports = 0;
};

using Owners = std::unordered_map<patu_frontend_key, const Stored*, HashOfBytes, EqualBytes>;

bool is_later(const patu_service& a, const patu_service& b) noexcept {
  return a.changed != b.changed ? a.changed > b.changed : a.id > b.id;
}

Owners owners_of(const std::vector<Stored>& records) {
  Owners owners;
  for (const Stored& stored : records)
    for (const patu_listed_frontend& frontend : stored.record.frontends) {
      const auto [at, is_first] = owners.emplace(frontend.key, &stored);
      if (!is_first && is_later(stored.record.head, at->second->record.head)) at->second = &stored;
    }
  return owners;
}

Result<> put_record(const Store& store, const Stored& stored) {
  const auto services = store.instance().services();
  for (std::uint32_t part = 1; part <= further_parts(stored.record.frontends.size()); ++part)
    PATU_TRY(services.put(part_key(stored.name, stored.record.head, part), part_value(stored.record, part)),
             "services");
  PATU_TRY(services.put(stored.name, part_value(stored.record, 0)), "services");
  return {};
}

// Afterwards no two records have one frontend.
Result<> settle(const Store& store, std::vector<Stored>& records) {
  const Owners owners = owners_of(records);
  for (Stored& stored : records) {
    Record& record = stored.record;
    const auto lost = [&](const patu_listed_frontend& frontend) { return owners.at(frontend.key) != &stored; };
    const auto kept = std::remove_if(record.frontends.begin(), record.frontends.end(), lost);
    if (kept == record.frontends.end()) continue;
    record.frontends.erase(kept, record.frontends.end());
    record.head.frontend_count = static_cast<std::uint16_t>(record.frontends.size());
    record.head.bank ^= 1;
    if (record.frontends.empty())
      PATU_TRY(store.instance().services().erase(stored.name), "services");
    else
      PATU_TRY(put_record(store, stored));
  }
  std::erase_if(records, [](const Stored& stored) { return stored.record.frontends.empty(); });
  return {};
}

Wanted wanted_by(const std::vector<Stored>& records) {
  Wanted wanted;
  for (const Stored& stored : records) {
    const Record& record = stored.record;
    for (const patu_listed_frontend& frontend : record.frontends) {
      wanted.frontends.emplace(frontend.key, value_of(record.head, frontend));
      if (is_cluster(frontend)) ++wanted.clusters[frontend.key.addr];
      if (frontend.key.scope == PATU_SCOPE_NODE) ++wanted.wildcards;
      if ((frontend.flags & PATU_FRONTEND_RESERVED) != 0) ++wanted.reserved_ports;
    }
    wanted.heads.emplace(record.head.id, record.head);
    wanted.service_entries += 1 + further_parts(record.frontends.size());
  }
  return wanted;
}

Result<> mend_frontends(const Store& store, const Wanted& wanted) {
  auto missing = wanted.frontends;  // or different
  const auto frontends = store.instance().frontends();
  std::vector<patu_frontend_key> strays;
  PATU_TRY(frontends.visit([&](const patu_frontend_key& key, const patu_frontend& value) -> Result<> {
    const auto found = wanted.frontends.find(key);
    if (found == wanted.frontends.end())
      strays.push_back(key);
    else if (patu_frontend has = value; has.lock = {}, std::memcmp(&has, &found->second, sizeof has) == 0)
      missing.erase(key);
    return {};
  }),
           "frontends");
  PATU_TRY(frontends.erase_all(strays), "frontends");
  Writes<patu_frontend_key, patu_frontend> writes;
  for (const auto& [key, value] : missing) writes.add(key, value);
  PATU_TRY(frontends.put_all(writes.keys, writes.values, BPF_F_LOCK), "frontends");
  return {};
}

// Sets the counts that rise before there is a frontend to be found by them, or those that fall after there is none.
Result<> mend_addresses(const Store& store, const Wanted& wanted, bool rising, patu_service_table& table) {
  const auto addresses = store.instance().addresses();
  auto missing = wanted.clusters;
  std::vector<patu_addr> unused;
  Writes<patu_addr, patu_address> writes;
  table.address_entries = 0;
  PATU_TRY(addresses.visit([&](const patu_addr& address, const patu_address& value) -> Result<> {
    const auto found = wanted.clusters.find(address);
    const std::uint32_t count = found == wanted.clusters.end() ? 0 : found->second;
    missing.erase(address);
    ++table.address_entries;
    if (count == 0 && value.flags == 0)
      unused.push_back(address);
    else if (rising ? count > value.clusters : count < value.clusters)
      writes.add(address, {value.flags, count, {}});
    return {};
  }),
           "addresses");
  for (const auto& [address, count] : missing) writes.add(address, {0, count, {}});
  table.address_entries += static_cast<std::uint32_t>(missing.size());
  PATU_TRY(addresses.put_all(writes.keys, writes.values, BPF_F_LOCK), "addresses");
  if (rising) return {};
  table.address_entries -= static_cast<std::uint32_t>(unused.size());
  PATU_TRY(addresses.erase_all(unused), "addresses");
  return {};
}

Result<> mend_counters(const Store& store, const Wanted& wanted) {
  const auto counters = store.instance().counters();
  std::unordered_set<std::uint32_t> missing;
  for (const auto& [id, head] : wanted.heads) missing.insert(id);
  std::vector<std::uint32_t> strays;
  PATU_TRY(counters.visit([&](const std::uint32_t& id, const patu_counters&) -> Result<> {
    if (wanted.heads.count(id) == 0) strays.push_back(id);
    missing.erase(id);
    return {};
  }),
           "counters");
  PATU_TRY(counters.erase_all(strays), "counters");
  for (const std::uint32_t id : missing) PATU_TRY(counters.put(id, {}), "counters");
  return {};
}

Result<> erase_stray_parts(const Store& store, const std::vector<Stored>& records) {
  std::unordered_map<patu_service_key, const patu_service*, HashOfBytes, EqualBytes> heads;
  for (const Stored& stored : records) heads.emplace(stored.name, &stored.record.head);
  const auto services = store.instance().services();
  std::vector<patu_service_key> strays;
  PATU_TRY(services.visit([&](const patu_service_key& key, const patu_service&) -> Result<> {
    if (key.part == 0) return {};
    patu_service_key name = key;
    name.part = 0;
    const auto head = heads.find(name);
    if (head == heads.end() || key.part / PATU_SERVICE_BANK != head->second->bank ||
        key.part % PATU_SERVICE_BANK > further_parts(head->second->frontend_count))
      strays.push_back(key);
    return {};
  }),
           "services");
  PATU_TRY(services.erase_all(strays), "services");
  return {};
}

// A backend that the service has was not taken out after all.
Result<> mend_journal(Store& store, const Wanted& wanted, patu_service_table& table) {
  const auto stale = store.instance().stale();
  std::vector<patu_stale_key> all;
  PATU_TRY(stale.visit([&](const patu_stale_key& key, const std::uint32_t&) -> Result<> {
    all.push_back(key);
    return {};
  }),
           "stale");
  std::vector<patu_stale_key> wrong;
  for (const patu_stale_key& key : all) {
    const auto head = wanted.heads.find(key.service_id);
    if (head == wanted.heads.end()) continue;
    PATU_TRY_LET(slots, store.slots().read({head->second.base, backends_of(head->second)}));
    const bool has = std::any_of(slots.begin(), slots.end(), [&](const patu_slot& slot) {
      return std::memcmp(&slot.addr, &key.backend, sizeof slot.addr) == 0 && slot.port == key.port;
    });
    if (has) wrong.push_back(key);
  }
  PATU_TRY(stale.erase_all(wrong), "stale");
  table.stale_entries = static_cast<std::uint32_t>(all.size() - wrong.size());
  return {};
}

Result<> mend(Store& store, patu_service_table& table) {
  PATU_TRY_LET(records, store.records());
  PATU_TRY(erase_stray_parts(store, records));  // records that are written anew need their room
  PATU_TRY(settle(store, records));
  const Wanted wanted = wanted_by(records);
  table.wildcards = std::max(table.wildcards, wanted.wildcards);
  table.reserved_ports = std::max(table.reserved_ports, wanted.reserved_ports);
  PATU_TRY(store.put_table(table));
  PATU_TRY(mend_addresses(store, wanted, true, table));
  PATU_TRY(mend_counters(store, wanted));
  PATU_TRY(mend_frontends(store, wanted));
  PATU_TRY(mend_addresses(store, wanted, false, table));
  PATU_TRY(erase_stray_parts(store, records));
  PATU_TRY(mend_journal(store, wanted, table));
  table.frontend_entries = static_cast<std::uint32_t>(wanted.frontends.size());
  table.service_entries = wanted.service_entries;
  table.wildcards = wanted.wildcards;
  table.reserved_ports = wanted.reserved_ports;
  table.sequence = (table.sequence | 1) + 1;
  return store.put_table(table);
}

}  // namespace

Result<> repair(Store& store, patu_service_table& table) {
  table.sequence |= 1;
  PATU_TRY(mend(store, table), "repair the service table");
  return {};
}

}  // namespace patu::services
