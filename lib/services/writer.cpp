// What is new is written beside what is old; the record's part 0 decides; then the frontends follow it, one by one.
#include "services/writer.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <string>
#include <utility>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "services/repair.hpp"

namespace patu::services {
namespace {

constexpr std::uint32_t kGenerations = (1u << PATU_WORD_GENERATION_BITS) - 1;  // 1 to 8191; 0 is a slot never written

// Waiting for programs costs milliseconds: it is done when it frees at least this part of all slots, else the table grows.
constexpr std::uint32_t kWorthWaiting = 4;

std::vector<patu_frontend_key> difference(const std::vector<patu_frontend_key>& a,
                                          const std::vector<patu_frontend_key>& b) {
  std::vector<patu_frontend_key> out;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out), less);
  return out;
}

Extent extent_of(const patu_service& head) noexcept { return {head.base, head.capacity}; }

}  // namespace

struct Writer::Change {
  patu_service_key name{};
  std::optional<Record> before;
  Record after;
  std::vector<patu_frontend_key> added;
  std::vector<patu_frontend_key> gone;
  bool new_slots = false;  // else the backends stay where they are
  bool new_list = false;   // of frontends, in the other bank

  std::uint32_t parts_before() const noexcept { return before ? further_parts(before->frontends.size()) : 0; }
  std::uint32_t parts_added() const noexcept { return new_list ? further_parts(after.frontends.size()) : 0; }
};

// The lock is held. What a dead writer left is put right before anything else.
Result<patu_service_table> Writer::begin() {
  PATU_TRY_LET(table, store_.table());
  if ((table.sequence & 1) != 0) PATU_TRY(repair(store_, table));
  if (table.sequence != sequence_) extents_.reset();
  return table;
}

Result<> Writer::upsert(const Plan& plan) {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(table, begin());
  Change change{.name = plan.name};
  PATU_TRY_LET(before, store_.record(plan.name));
  change.before = std::move(before);
  PATU_TRY_LET(already, is_already(plan, change));
  change.new_slots = !already;
  change.new_list =
      !change.before || !std::equal(plan.frontends.begin(), plan.frontends.end(), change.before->frontends.begin(),
                                    change.before->frontends.end(), equal);
  if (!change.new_slots && !change.new_list) return {};

  const std::vector<patu_frontend_key> none;
  change.added = difference(plan.frontends, change.before ? change.before->frontends : none);
  if (change.before) change.gone = difference(change.before->frontends, plan.frontends);
  PATU_TRY(check_frontends(change));
  PATU_TRY(check_room(change, table));
  PATU_TRY(draft(plan, change, table));

  table.sequence |= 1;
  if (auto begun = store_.put_table(table); !begun) {
    extents_.reset();
    return begun;
  }
  if (auto prepared = prepare(plan, change); !prepared) return give_up(std::move(prepared.error()), table);
  // From here on the service is the new one: what is left undone is repaired, not taken back.
  if (auto done = carry_through(change); !done) {
    extents_.reset();
    return repair(store_, table);
  }
  return conclude(change, table);
}

// True if the backends are those that the service has.
Result<bool> Writer::is_already(const Plan& plan, const Change& change) {
  if (!change.before) return false;
  const patu_service& head = change.before->head;
  if (head.v4_count != plan.v4_count || head.v4_count + head.v6_count != plan.backends.size()) return false;
  PATU_TRY_LET(slots, store_.read_slots({head.base, head.v4_count + head.v6_count}));
  return std::equal(slots.begin(), slots.end(), plan.backends.begin(),
                    [&](const patu_slot& slot, const patu_slot& wanted) {
                      return slot.generation == head.generation && same_backend(slot, wanted);
                    });
}

Result<> Writer::check_frontends(const Change& change) const {
  for (const patu_frontend_key& key : change.added) {
    PATU_TRY_LET(taken, store_.instance().frontends().lookup(key), "frontends");
    if (!taken) continue;
    PATU_TRY_LET(owner, name_of_id(taken->service_id));
    return fail(Errc::already_exists, "frontend " + to_string(key) + " belongs to service " + quote(owner));
  }
  return {};
}

// What is old gives its place back only after the new is in.
Result<> Writer::check_room(const Change& change, const patu_service_table& table) const {
  const auto check = [&](bpf::MapId map, const char* name, std::uint64_t used, std::uint64_t more) -> Result<> {
    PATU_TRY_LET(limit, store_.max_entries(map));
    if (used + more <= limit) return {};
    return fail(Errc::exhausted, std::string("map ") + name + " is full: " + std::to_string(used) + " of " +
                                     std::to_string(limit) + " entries are used, " + std::to_string(more) +
                                     " more are needed (DatapathOptions::max_services)");
  };
  PATU_TRY(check(bpf::MapId::frontends, "frontends", table.frontend_entries, change.added.size()));
  return check(bpf::MapId::services, "services", table.service_entries,
               change.parts_added() + (change.before ? 0u : 1u));
}

Result<> Writer::draft(const Plan& plan, Change& change, patu_service_table& table) {
  change.after.frontends = plan.frontends;
  patu_service& head = change.after.head;
  if (change.before)
    head = change.before->head;
  else if ((head.id = ++table.last_service_id) == 0)
    return fail(Errc::exhausted, "all ids of services are used up; unload the instance and load it again");
  head.frontend_count = static_cast<std::uint32_t>(plan.frontends.size());
  if (change.before && change.new_list) head.bank ^= 1;
  if (!change.new_slots) return {};
  PATU_TRY_LET(extent, take_slots(static_cast<std::uint32_t>(plan.backends.size())));
  head.base = extent.base;
  head.capacity = extent.count;
  head.v4_count = plan.v4_count;
  head.v6_count = extent.count - plan.v4_count;
  head.generation = static_cast<std::uint32_t>(table.sequence / 2 % kGenerations) + 1;
  return {};
}

Result<Extent> Writer::take_slots(std::uint32_t count) {
  if (count == 0) return Extent{};
  if (!extents_) {
    PATU_TRY_LET(extents, store_.load_extents());
    extents_ = std::move(extents);
  }
  if (const auto extent = extents_->take(count)) return *extent;
  if (extents_->retired() > 0 && extents_->retired() >= extents_->end() / kWorthWaiting) {
    PATU_TRY(store_.wait_for_programs());
    extents_->release_retired();
    if (const auto extent = extents_->take(count)) return *extent;
  }
  PATU_TRY(make_room());
  if (const auto extent = extents_->take(count)) return *extent;
  return fail(Errc::exhausted, "no " + std::to_string(count) + " slots for backends are free in a row");
}

Result<> Writer::make_room() {
  if (auto grown = store_.create_chunk(extents_->end() / PATU_CHUNK_SLOTS); grown) {
    extents_->grow(PATU_CHUNK_SLOTS);
  } else {
    if (extents_->retired() == 0) return fail(std::move(grown.error()));
    PATU_TRY(store_.wait_for_programs());
  }
  extents_->release_retired();
  return {};
}

// Nothing here is seen by who reads the old service; part 0 comes last and decides.
Result<> Writer::prepare(const Plan& plan, const Change& change) {
  if (change.new_slots && !plan.backends.empty()) {
    std::vector<patu_slot> slots = plan.backends;
    for (patu_slot& slot : slots) slot.generation = static_cast<std::uint16_t>(change.after.head.generation);
    PATU_TRY(store_.write_slots(extent_of(change.after.head), slots));
  }
  // On machines with weak ordering: whoever sees a word sees its slots.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (change.new_list) PATU_TRY(store_.put_parts(change.name, change.after));
  for (const patu_frontend_key& key : change.added) {
    PATU_TRY_LET(inserted, store_.insert_frontend(key, change.after.head));
    if (!inserted) return fail(Errc::protocol, "frontend " + to_string(key) + " appeared while the table was locked");
  }
  return store_.put_head(change.name, change.after);
}

Result<> Writer::carry_through(const Change& change) const {
  if (change.before && change.new_slots) {
    for (const patu_frontend_key& key : difference(change.after.frontends, change.added))
      PATU_TRY(store_.put_frontend(key, change.after.head));
  }
  for (const patu_frontend_key& key : change.gone) PATU_TRY(store_.instance().frontends().erase(key), "frontends");
  if (change.before && change.new_list) PATU_TRY(store_.erase_parts(change.name, change.before->head));
  return {};
}

Result<> Writer::conclude(const Change& change, patu_service_table& table) {
  table.frontend_entries += static_cast<std::uint32_t>(change.added.size());
  table.frontend_entries -= static_cast<std::uint32_t>(change.gone.size());
  if (!change.before) ++table.service_entries;
  if (change.new_list) table.service_entries += change.parts_added() - change.parts_before();
  ++table.sequence;
  PATU_TRY(store_.put_table(table));
  sequence_ = table.sequence;
  if (extents_ && change.new_slots && change.before) extents_->retire(extent_of(change.before->head));
  return {};
}

// The same as for a writer that died: the record still says the old, and the table is made to follow it.
Result<> Writer::give_up(Error&& reason, patu_service_table& table) {
  extents_.reset();
  if (auto repaired = repair(store_, table); !repaired) return fail(std::move(reason).also(repaired.error()));
  return fail(std::move(reason));
}

Result<> Writer::remove(const patu_service_key& name) {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(table, begin());
  PATU_TRY_LET(before, store_.record(name));
  if (!before) return {};
  Change change{.name = name, .before = std::move(before)};
  change.gone = change.before->frontends;
  change.new_list = change.new_slots = true;
  table.sequence |= 1;
  PATU_TRY(store_.put_table(table));
  PATU_TRY(store_.instance().services().erase(name), "services");
  if (auto done = carry_through(change); !done) {
    extents_.reset();
    return repair(store_, table);
  }
  --table.service_entries;
  return conclude(change, table);
}

Result<std::string> Writer::name_of_id(std::uint32_t service_id) const {
  std::string name;
  PATU_TRY(store_.visit_heads([&](const patu_service_key& key, const patu_service& head) -> Result<> {
    if (head.id == service_id) name = name_of(key);
    return {};
  }));
  return name;
}

Result<Service> Writer::read(const patu_service_key& name, const Record& record) {
  PATU_TRY_LET(slots, store_.read_slots({record.head.base, record.head.v4_count + record.head.v6_count}));
  return service_of(name, record, slots);
}

Result<std::optional<Service>> Writer::find(const patu_service_key& name) {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(record, store_.record(name));
  if (!record) return std::optional<Service>{};
  PATU_TRY_LET(service, read(name, *record));
  return std::optional<Service>(std::move(service));
}

Result<std::vector<Service>> Writer::list() {
  PATU_TRY_LET(held, store_.instance().lock_services());
  std::vector<std::pair<std::uint32_t, patu_service_key>> found;
  PATU_TRY(store_.visit_heads([&](const patu_service_key& name, const patu_service& head) -> Result<> {
    found.emplace_back(head.base, name);
    return {};
  }));
  // By place, so that each chunk of slots is opened once.
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Service> services;
  services.reserve(found.size());
  for (const auto& [base, name] : found) {
    PATU_TRY_LET(record, store_.record(name));
    if (!record) continue;  // the kernel shows what was deleted meanwhile, not under the lock
    PATU_TRY_LET(service, read(name, *record));
    services.push_back(std::move(service));
  }
  std::sort(services.begin(), services.end(), [](const Service& a, const Service& b) { return a.name < b.name; });
  return services;
}

}  // namespace patu::services
