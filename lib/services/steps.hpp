// What a batch of changes comes to in each map.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "services/change.hpp"
#include "services/store.hpp"

namespace patu::services {

// Keys and values of one map, side by side.
template <class Key, class Value>
struct Writes {
  std::vector<Key> keys;
  std::vector<Value> values;

  void add(const Key& key, const Value& value) {
    keys.push_back(key);
    values.push_back(value);
  }
};

// How many more or fewer there are afterwards.
struct Difference {
  std::int64_t frontends = 0;
  std::int64_t services = 0;
  std::int64_t addresses = 0;
  std::int64_t stale = 0;
  std::int64_t wildcards = 0;
  std::int64_t reserved_ports = 0;
};

struct Steps {
  // Nobody sees these before the heads are there.
  std::vector<SlotWrite> slots;
  Writes<patu_addr, patu_address> addresses_up;
  Writes<std::uint32_t, patu_counters> counters;
  Writes<patu_stale_key, std::uint32_t> stale;
  Writes<patu_service_key, patu_service> parts;
  // These decide, and then the frontends follow them.
  Writes<patu_service_key, patu_service> heads;
  Writes<patu_frontend_key, patu_frontend> frontends;
  // What nobody needs any more.
  std::vector<patu_service_key> removed_heads;
  std::vector<patu_frontend_key> gone_frontends;
  std::vector<patu_service_key> old_parts;
  std::vector<std::uint32_t> gone_counters;
  Writes<patu_addr, patu_address> addresses_down;
  std::vector<patu_addr> gone_addresses;
  std::vector<patu_stale_key> void_stale;
  Difference difference;
};

// `changes` are final. Reads entries of `addresses`, and of `stale` if there are any. Errors: protocol, io.
Result<Steps> steps_of(const Store& store, std::span<const Change> changes, const patu_service_table& table);

}  // namespace patu::services
