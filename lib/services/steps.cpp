// Collects, from each change, what is to be written and what is to be removed.
#include "services/steps.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "base/try.hpp"
#include "services/address_book.hpp"
#include "services/bytes.hpp"

namespace patu::services {
namespace {

constexpr std::size_t kMany = 64;

using Frontends = std::unordered_set<patu_frontend_key, HashOfBytes, EqualBytes>;
using AddressCounts = std::unordered_map<patu_addr, std::int64_t, HashOfBytes, EqualBytes>;

class Collector final {
 public:
  Collector(std::span<const Change> changes, bool has_stale) : has_stale_(has_stale) {
    for (const Change& change : changes) {
      for (const patu_listed_frontend& frontend : given_up_by(change)) given_up_.insert(frontend.key);
      for (const patu_listed_frontend& frontend : added_by(change)) taken_.insert(frontend.key);
    }
  }

  Steps all(std::span<const Change> changes) {
    for (const Change& change : changes) {
      collect_record(change);
      collect_frontends(change);
      count(change.before, -1);
      count(change.after, 1);
      for (const patu_stale_key& key : taken_out_by(change)) steps_.stale.add(key, 0);
      if (!has_stale_) continue;
      const std::vector<patu_stale_key> back = brought_back_by(change);
      steps_.void_stale.insert(steps_.void_stale.end(), back.begin(), back.end());
    }
    return std::move(steps_);
  }
  const AddressCounts& clusters() const noexcept { return clusters_; }

 private:
  void collect_record(const Change& change) {
    const std::uint32_t parts_before = change.before ? further_parts(change.before->frontends.size()) : 0;
    const bool parts_go = change.before && (!change.after || change.new_list);
    for (std::uint32_t part = 1; parts_go && part <= parts_before; ++part)
      steps_.old_parts.push_back(part_key(change.name, change.before->head, part));
    steps_.difference.services -= parts_go ? parts_before : 0;
    if (!change.after) {
      steps_.removed_heads.push_back(change.name);
      steps_.gone_counters.push_back(change.before->head.id);
      --steps_.difference.services;
      return;
    }
    const Record& after = *change.after;
    const std::uint32_t parts = change.new_list ? further_parts(after.frontends.size()) : 0;
    for (std::uint32_t part = 1; part <= parts; ++part)
      steps_.parts.add(part_key(change.name, after.head, part), part_value(after, part));
    steps_.difference.services += parts + (change.before ? 0 : 1);
    steps_.heads.add(change.name, part_value(after, 0));
    if (!change.before) steps_.counters.add(after.head.id, {});
    if (!change.new_slots) return;
    steps_.slots.push_back({extent_of(after.head), change.slots});
    for (patu_slot& slot : steps_.slots.back().slots)
      slot.generation = static_cast<std::uint16_t>(after.head.generation);
  }

  void collect_frontends(const Change& change) {
    for (const patu_listed_frontend& frontend : given_up_by(change)) {
      if (taken_.count(frontend.key) != 0) continue;  // another service's now: changed in place
      steps_.gone_frontends.push_back(frontend.key);
      --steps_.difference.frontends;
    }
    if (!change.after) return;
    auto old = change.before ? change.before->frontends.begin() : std::vector<patu_listed_frontend>::const_iterator();
    const auto end = change.before ? change.before->frontends.end() : old;
    for (const patu_listed_frontend& frontend : change.after->frontends) {
      const patu_frontend value = value_of(change.after->head, frontend);
      while (old != end && less(old->key, frontend.key)) ++old;
      const bool had = old != end && equal(old->key, frontend.key);
      if (had && is_same(value, value_of(change.before->head, *old))) continue;
      steps_.frontends.add(frontend.key, value);
      if (!had && given_up_.count(frontend.key) == 0) ++steps_.difference.frontends;
    }
  }

  static bool is_same(const patu_frontend& a, const patu_frontend& b) noexcept {
    return std::memcmp(&a, &b, sizeof a) == 0;
  }

  void count(const std::optional<Record>& record, int sign) {
    if (!record) return;
    for (const patu_listed_frontend& frontend : record->frontends) {
      if (is_cluster(frontend)) clusters_[frontend.key.addr] += sign;
      if (frontend.key.scope == PATU_SCOPE_NODE) steps_.difference.wildcards += sign;
      if ((frontend.flags & PATU_FRONTEND_RESERVED) != 0) steps_.difference.reserved_ports += sign;
    }
  }

  bool has_stale_;
  Frontends given_up_;
  Frontends taken_;
  AddressCounts clusters_;
  Steps steps_;
};

Result<> collect_addresses(const Store& store, const AddressCounts& clusters, Steps& steps) {
  AddressBook addresses(store,
                        clusters.size() < kMany ? AddressBook::Reading::one_by_one : AddressBook::Reading::at_once);
  for (const auto& [address, more] : clusters) {
    if (more == 0) continue;
    PATU_TRY_LET(entry, addresses.find(address));
    const std::int64_t count = (entry ? entry->clusters : 0) + more;
    if (count < 0)
      return fail(Errc::protocol, "the service table is damaged: an address has fewer frontends than none");
    patu_address value{};
    value.flags = entry ? entry->flags : 0;
    value.clusters = static_cast<std::uint32_t>(count);
    if (more > 0) {
      steps.addresses_up.add(address, value);
      steps.difference.addresses += entry ? 0 : 1;
    } else if (count > 0 || value.flags != 0) {
      steps.addresses_down.add(address, value);
    } else {
      steps.gone_addresses.push_back(address);
      --steps.difference.addresses;
    }
  }
  return {};
}

// Entries that are there already, or not there any more, do not count.
Result<> count_stale(const Store& store, bool has_stale, Steps& steps) {
  steps.difference.stale = static_cast<std::int64_t>(steps.stale.keys.size());
  if (!has_stale) return {};
  for (const patu_stale_key& key : steps.stale.keys) {
    PATU_TRY_LET(entry, store.instance().stale().lookup(key), "stale");
    if (entry) --steps.difference.stale;
  }
  std::vector<patu_stale_key> there;
  for (const patu_stale_key& key : steps.void_stale) {
    PATU_TRY_LET(entry, store.instance().stale().lookup(key), "stale");
    if (entry) there.push_back(key);
  }
  steps.difference.stale -= static_cast<std::int64_t>(there.size());
  steps.void_stale = std::move(there);
  return {};
}

}  // namespace

Result<Steps> steps_of(const Store& store, std::span<const Change> changes, const patu_service_table& table) {
  const bool has_stale = table.stale_entries != 0;
  Collector collector(changes, has_stale);
  Steps steps = collector.all(changes);
  PATU_TRY(collect_addresses(store, collector.clusters(), steps));
  PATU_TRY(count_stale(store, has_stale, steps));
  return steps;
}

}  // namespace patu::services
