// Reads, decides, and lets apply() write; what it could not write to its end, repair() puts right.
#include "services/writer.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "services/apply.hpp"
#include "services/desired.hpp"
#include "services/repair.hpp"

namespace patu::services {
namespace {

// Waiting for programs costs milliseconds: it is done when it frees at least this part of all slots, else the table grows.
constexpr std::uint32_t kWorthWaiting = 4;
constexpr std::uint32_t kMostSlots = PATU_CHUNKS * PATU_CHUNK_SLOTS;

}  // namespace

// The lock is held. What a dead writer left is put right before anything else.
Result<patu_service_table> Writer::begin() {
  PATU_TRY_LET(table, store_.table());
  if ((table.sequence & 1) != 0) PATU_TRY(repair(store_, table));
  if (table.sequence != sequence_) extents_.reset();
  PATU_TRY(recount_journal(table));
  PATU_TRY(sweep_.run(store_));
  return table;
}

// Whoever died while it closed sockets has taken entries out and not said so.
Result<> Writer::recount_journal(patu_service_table& table) const {
  if (table.stale_entries == 0) return {};
  std::uint32_t count = 0;
  PATU_TRY(store_.instance().stale().visit([&](const patu_stale_key&, const std::uint32_t&) -> Result<> {
    ++count;
    return {};
  }),
           "stale");
  if (count == table.stale_entries) return {};
  table.stale_entries = count;
  return store_.put_table(table);
}

Result<> Writer::load_extents() {
  if (extents_) return {};
  std::vector<Extent> in_use;
  PATU_TRY(store_.visit_heads([&](const patu_service_key&, const patu_service& head) -> Result<> {
    if (slots_of(head) > 0) in_use.push_back(extent_of(head));
    return {};
  }));
  PATU_TRY_LET(extents, store_.slots().load_extents(std::move(in_use)));
  extents_ = std::move(extents);
  return {};
}

Result<> Writer::upsert(Plan&& plan) {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(table, begin());
  const patu_service_key name = plan.name;
  PATU_TRY_LET(before, store_.record(name));
  PATU_TRY_LET(slots, store_.slots().read(before ? extent_of(before->head) : Extent{}));
  std::optional<Change> change = change_between(std::move(plan), std::move(before), slots);
  if (!change) return {};
  PATU_TRY(check_frontends(*change));
  PATU_TRY(fit(*change, table));
  std::vector<Change> changes;
  changes.push_back(std::move(*change));
  PATU_TRY(write(std::move(changes), table));
  return {};
}

Result<> Writer::remove(const patu_service_key& name) {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(table, begin());
  PATU_TRY_LET(before, store_.record(name));
  if (!before) return {};
  PATU_TRY_LET(slots, store_.slots().read(extent_of(before->head)));
  std::vector<Change> changes;
  changes.push_back(removal_of(name, std::move(*before), slots));
  PATU_TRY(fit(changes.front(), table));
  PATU_TRY(write(std::move(changes), table));
  return {};
}

Result<SyncReport> Writer::sync(std::span<const Service> services, const SyncOptions& options) {
  if (services.empty() && !options.allow_empty)
    return fail(Errc::invalid_argument, "the list is empty, which removes all services: SyncOptions::allow_empty");
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(table, options.dry_run ? store_.table() : begin());
  PATU_TRY_LET(desired, Desired::compare(store_, services));
  PATU_TRY_LET(extents, store_.slots().load_extents(desired.in_use()));
  PATU_TRY_LET(budget, Budget::make(store_, table, extents, AddressBook::Reading::at_once));
  PATU_TRY(desired.fit(budget, [&]() -> Result<std::uint32_t> {
    return options.dry_run ? table.stale_entries : make_room_in_journal(table);
  }));
  SyncReport report = desired.report();
  if (options.dry_run) return report;
  std::vector<Change> changes = desired.take_changes();
  if (changes.empty()) return report;
  if (!extents_) extents_ = std::move(extents);
  PATU_TRY_LET(closed, write(std::move(changes), table));
  report.closed = closed;
  return report;
}

// Who has a frontend that the service wants, is not told by the records but by the frontend itself.
Result<> Writer::check_frontends(const Change& change) const {
  for (const patu_listed_frontend& frontend : added_by(change)) {
    PATU_TRY_LET(taken, store_.instance().frontends().lookup(frontend.key), "frontends");
    if (!taken) continue;
    PATU_TRY_LET(owner, store_.name_of_id(taken->service_id));
    return fail(Errc::already_exists, "frontend " + to_string(frontend.key) + " belongs to service " + quote(owner));
  }
  return {};
}

Result<> Writer::fit(const Change& change, patu_service_table& table) {
  PATU_TRY(load_extents());
  PATU_TRY_LET(budget, Budget::make(store_, table, *extents_, AddressBook::Reading::one_by_one));
  if (budget.lacks_journal(change)) {
    PATU_TRY_LET(gone, make_room_in_journal(table));
    budget.shorten_journal(gone);
  }
  return budget.spend(change, added_by(change).size());
}

Result<ClosedSockets> Writer::write(std::vector<Change>&& changes, patu_service_table& table) {
  if (auto placed = place(changes, table); !placed) {
    extents_.reset();
    return fail(std::move(placed.error()));
  }
  if (auto applied = apply(store_, changes, table); !applied) {
    extents_.reset();
    PATU_TRY(mend(changes, table, std::move(applied.error())));
  }
  sequence_ = table.sequence;
  for (const Change& change : changes)
    if (extents_ && change.before && (change.new_slots || !change.after))
      extents_->retire(extent_of(change.before->head));
  // What fails here is tried again by the next change: the journal has it.
  auto closed = close(table);
  return closed ? *closed : ClosedSockets{};
}

// Gives the changes ids and places.
Result<> Writer::place(std::span<Change> changes, patu_service_table& table) {
  const std::uint32_t end = extents_->end();
  for (Change& change : changes) {
    if (change.after && !change.before && (change.after->head.id = ++table.last_service_id) == 0)
      return fail(Errc::exhausted, "all ids of services are used up; unload the instance and load it again");
    if (!change.after || !change.new_slots) continue;
    const auto count = static_cast<std::uint32_t>(change.slots.size());
    PATU_TRY_LET(extent, take_slots(count), "service " + quote(name_of(change.name)));
    if (!extent) return fail(Errc::exhausted, "no " + std::to_string(count) + " slots for backends are free in a row");
    change.after->head.base = extent->base;
  }
  if (extents_->end() == end) return {};
  PATU_TRY(store_.slots().create_chunks(end / PATU_CHUNK_SLOTS, (extents_->end() - end) / PATU_CHUNK_SLOTS));
  extents_->release_retired();
  return {};
}

// Chunks that are only planned are made when all changes have their places.
Result<std::optional<Extent>> Writer::take_slots(std::uint32_t count) {
  if (count == 0) return std::optional<Extent>(Extent{});
  for (;;) {
    if (const auto extent = extents_->take(count)) return extent;
    const bool can_grow = extents_->end() < kMostSlots;
    if (extents_->retired() > 0 && (extents_->retired() >= extents_->end() / kWorthWaiting || !can_grow)) {
      PATU_TRY(store_.slots().wait_for_programs());
      extents_->release_retired();
    } else if (can_grow) {
      extents_->grow(PATU_CHUNK_SLOTS);
    } else {
      return std::optional<Extent>{};
    }
  }
}

// The records are what they are, old or new; if all are new, the batch is done after all.
Result<> Writer::mend(std::span<const Change> changes, patu_service_table& table, Error&& reason) {
  if ((table.sequence & 1) == 0) return fail(std::move(reason));  // nothing was written
  if (auto repaired = repair(store_, table); !repaired) return fail(std::move(reason).also(repaired.error()));
  for (const Change& change : changes) {
    PATU_TRY_LET(head, store_.instance().services().lookup(change.name), "services");
    const bool is_new = change.after ? head && head->changed == change.after->head.changed : !head;
    if (!is_new) return fail(std::move(reason));
  }
  return {};
}

Result<ClosedSockets> Writer::close(patu_service_table& table) {
  if (table.stale_entries == 0) return ClosedSockets{};
  auto closed = closer_.close_stale();
  PATU_TRY_LET(now, store_.table());
  table = now;
  return closed;
}

Result<std::uint32_t> Writer::make_room_in_journal(patu_service_table& table) {
  const std::uint32_t before = table.stale_entries;
  (void)close(table);  // what that does not free is missing, and who misses it is told
  return before - std::min(before, table.stale_entries);
}

Result<ClosedSockets> Writer::close_stale_sockets() {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(table, begin());
  return close(table);
}

Result<std::optional<Service>> Writer::find(const patu_service_key& name) {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(record, store_.record(name));
  if (!record) return std::optional<Service>{};
  PATU_TRY_LET(slots, store_.slots().read({record->head.base, backends_of(record->head)}));
  PATU_TRY_LET(service, service_of(name, *record, slots));
  return std::optional<Service>(std::move(service));
}

Result<std::vector<Service>> Writer::list() {
  PATU_TRY_LET(held, store_.instance().lock_services());
  PATU_TRY_LET(stored, store_.records());
  // By place, so that each chunk of slots is read once.
  std::sort(stored.begin(), stored.end(),
            [](const Stored& a, const Stored& b) { return a.record.head.base < b.record.head.base; });
  std::vector<Service> services;
  services.reserve(stored.size());
  for (const auto& [name, record] : stored) {
    PATU_TRY_LET(slots, store_.slots().read_along(extent_of(record.head)));
    PATU_TRY_LET(service, service_of(name, record, slots));
    services.push_back(std::move(service));
  }
  store_.slots().forget();
  std::sort(services.begin(), services.end(), [](const Service& a, const Service& b) { return a.name < b.name; });
  return services;
}

}  // namespace patu::services
