// What the kernel says of the namespace's addresses, and the map that is made to say the same.
//
// Whoever is killed in between leaves an odd sequence and `has_node_addresses` 0: the next change of the table recounts the
// entries, and the next that needs the addresses reads them again. Until then each address is as it was before or after.
#include "services/node_addresses.hpp"

#include <algorithm>
#include <map>

#include "base/try.hpp"
#include "names.hpp"
#include "nl/addr.hpp"
#include "services/repair.hpp"

namespace patu::services {
namespace {

struct Comparison {
  std::map<IpAddress, patu_address> entries;  // all that the map has
  std::vector<IpAddress> added;
  std::vector<IpAddress> gone;
  std::size_t more_entries = 0;

  bool empty() const noexcept { return added.empty() && gone.empty(); }
};

Result<Comparison> compare(const Store& store, const std::vector<IpAddress>& wanted) {
  Comparison out;
  PATU_TRY(store.instance().addresses().visit([&](const patu_addr& key, const patu_address& value) -> Result<> {
    out.entries.insert_or_assign(to_address(key), value);
    return {};
  }),
           "addresses");
  for (const IpAddress& address : wanted) {
    const auto entry = out.entries.find(address);
    if (entry != out.entries.end() && (entry->second.flags & PATU_ADDRESS_NODE) != 0) continue;
    if (entry == out.entries.end()) ++out.more_entries;
    out.added.push_back(address);
  }
  for (const auto& [address, value] : out.entries)
    if ((value.flags & PATU_ADDRESS_NODE) != 0 && !std::binary_search(wanted.begin(), wanted.end(), address))
      out.gone.push_back(address);
  return out;
}

Result<> check_room(const Store& store, const Comparison& comparison) {
  PATU_TRY_LET(limit, store.max_entries(bpf::MapId::addresses));
  if (comparison.entries.size() + comparison.more_entries <= limit) return {};
  return fail(map_is_full("addresses", comparison.entries.size(), limit, comparison.more_entries));
}

// In place where there is an entry: nobody who looks an address up misses it meanwhile.
Result<> write(const Store& store, Comparison& comparison) {
  std::vector<patu_addr> keys;
  std::vector<patu_address> values;
  std::vector<patu_addr> unused;
  for (const IpAddress& address : comparison.added) {
    comparison.entries[address].flags |= PATU_ADDRESS_NODE;
    keys.push_back(address_key(address));
    values.push_back(comparison.entries[address]);
  }
  for (const IpAddress& address : comparison.gone) {
    const auto entry = comparison.entries.find(address);
    entry->second.flags &= ~PATU_ADDRESS_NODE;
    if (entry->second.flags == 0 && entry->second.clusters == 0) {
      unused.push_back(address_key(address));
      comparison.entries.erase(entry);
    } else {
      keys.push_back(address_key(address));
      values.push_back(entry->second);
    }
  }
  const auto addresses = store.instance().addresses();
  PATU_TRY(addresses.put_all(keys, values, BPF_F_LOCK), "addresses");
  PATU_TRY(addresses.erase_all(unused), "addresses");
  return {};
}

Result<> change(Store& store, Comparison& comparison, patu_service_table& table) {
  table.sequence |= 1;
  table.has_node_addresses = 0;
  PATU_TRY(store.put_table(table));
  if (auto written = write(store, comparison); !written) {
    if (auto repaired = repair(store, table); !repaired) return fail(std::move(written.error()).also(repaired.error()));
    return written;
  }
  table.address_entries = static_cast<std::uint32_t>(comparison.entries.size());
  return {};
}

}  // namespace

Result<std::vector<IpAddress>> refresh_node_addresses(Store& store, nl::Socket& node) {
  PATU_TRY_LET(held, store.instance().lock_services());
  PATU_TRY_LET(table, store.table());
  if ((table.sequence & 1) != 0) PATU_TRY(repair(store, table));
  PATU_TRY_LET(wanted, nl::list_reachable_addresses(node));
  PATU_TRY_LET(comparison, compare(store, wanted));
  const std::uint64_t cookie = node.netns_cookie();
  if (comparison.empty() && table.has_node_addresses != 0 && table.node_cookie == cookie) return std::move(wanted);
  PATU_TRY(check_room(store, comparison));
  if (!comparison.empty()) PATU_TRY(change(store, comparison, table));
  table.has_node_addresses = 1;
  table.node_cookie = cookie;
  table.sequence = (table.sequence | 1) + 1;
  PATU_TRY(store.put_table(table));
  return std::move(wanted);
}

bool needs_node_addresses(const Service& service) noexcept {
  return std::any_of(service.frontends.begin(), service.frontends.end(), [](const Frontend& frontend) {
    return frontend.kind != FrontendKind::cluster && frontend.kind != FrontendKind::load_balancer;
  });
}

Result<> ensure_node_addresses(Store& store, nl::Socket& node) {
  PATU_TRY_LET(table, store.table());
  if (table.has_node_addresses != 0) return {};
  PATU_TRY(refresh_node_addresses(store, node));
  return {};
}

}  // namespace patu::services
