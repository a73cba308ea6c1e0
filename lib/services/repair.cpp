// Compares what the records say with what the maps hold, and changes only what differs.
#include "services/repair.hpp"

#include <algorithm>
#include <map>

#include "base/try.hpp"

namespace patu::services {
namespace {

struct KeyLess {
  bool operator()(const patu_frontend_key& a, const patu_frontend_key& b) const noexcept { return less(a, b); }
};

struct Owner {
  patu_service head;
  bool right = false;  // the kernel has the frontend just so
};

struct Wanted {
  std::map<patu_frontend_key, Owner, KeyLess> frontends;
  std::uint32_t service_entries = 0;
};

Result<Wanted> read_records(Store& store) {
  std::vector<patu_service_key> names;
  PATU_TRY(store.visit_heads([&](const patu_service_key& name, const patu_service&) -> Result<> {
    names.push_back(name);
    return {};
  }));
  Wanted wanted;
  for (const patu_service_key& name : names) {
    PATU_TRY_LET(record, store.record(name));
    if (!record) continue;
    for (const patu_frontend_key& key : record->frontends) wanted.frontends.insert_or_assign(key, Owner{record->head});
    wanted.service_entries += 1 + further_parts(record->frontends.size());
  }
  return wanted;
}

Result<> mend_frontends(Store& store, Wanted& wanted) {
  std::vector<patu_frontend_key> strays;
  PATU_TRY(
      store.instance().frontends().visit([&](const patu_frontend_key& key, const patu_frontend& value) -> Result<> {
        const auto found = wanted.frontends.find(key);
        if (found == wanted.frontends.end())
          strays.push_back(key);
        else
          found->second.right =
              value.word == word_of(found->second.head, key) && value.service_id == found->second.head.id;
        return {};
      }),
      "frontends");
  for (const patu_frontend_key& key : strays) PATU_TRY(store.instance().frontends().erase(key), "frontends");
  for (const auto& [key, owner] : wanted.frontends)
    if (!owner.right) PATU_TRY(store.put_frontend(key, owner.head));
  return {};
}

Result<> erase_stray_parts(Store& store) {
  const auto services = store.instance().services();
  std::vector<patu_service_key> parts;
  PATU_TRY(services.visit([&](const patu_service_key& key, const patu_service&) -> Result<> {
    if (key.part != 0) parts.push_back(key);
    return {};
  }),
           "services");
  for (const patu_service_key& key : parts) {
    patu_service_key name = key;
    name.part = 0;
    PATU_TRY_LET(head, services.lookup(name), "services");
    if (head && key.part / PATU_SERVICE_BANK == head->bank &&
        key.part % PATU_SERVICE_BANK <= further_parts(head->frontend_count))
      continue;
    PATU_TRY(services.erase(key), "services");
  }
  return {};
}

}  // namespace

Result<> repair(Store& store, patu_service_table& table) {
  PATU_TRY_LET(wanted, read_records(store), "repair the service table");
  PATU_TRY(mend_frontends(store, wanted), "repair the service table");
  PATU_TRY(erase_stray_parts(store), "repair the service table");
  table.frontend_entries = static_cast<std::uint32_t>(wanted.frontends.size());
  table.service_entries = wanted.service_entries;
  table.sequence = (table.sequence | 1) + 1;
  return store.put_table(table);
}

}  // namespace patu::services
