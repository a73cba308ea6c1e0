// New beside old; then the records, which decide; then the frontends, each in place; then what is old goes.
#include "services/apply.hpp"

#include <algorithm>
#include <atomic>

#include "base/try.hpp"
#include "services/steps.hpp"

namespace patu::services {
namespace {

constexpr std::uint64_t kGenerations = (1u << PATU_WORD_GENERATION_BITS) - 1;  // 1 to 8191

std::uint32_t sum(std::uint32_t count, std::int64_t difference) noexcept {
  return static_cast<std::uint32_t>(count + difference);
}

// Who only gives up a frontend comes after who takes it, so that a batch that ends half-way never leaves it to nobody.
void order_heads(std::span<Change> changes) {
  std::stable_partition(changes.begin(), changes.end(),
                        [](const Change& change) { return given_up_by(change).empty(); });
}

Result<> prepare(Store& store, const Steps& steps) {
  const bpf::Instance& instance = store.instance();
  PATU_TRY(store.slots().write(steps.slots));
  // On machines with weak ordering: whoever sees a word sees its slots.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  PATU_TRY(instance.addresses().put_all(steps.addresses_up.keys, steps.addresses_up.values, BPF_F_LOCK), "addresses");
  PATU_TRY(instance.counters().put_all(steps.counters.keys, steps.counters.values), "counters");
  PATU_TRY(instance.stale().put_all(steps.stale.keys, steps.stale.values), "stale");
  PATU_TRY(instance.services().put_all(steps.parts.keys, steps.parts.values), "services");
  return {};
}

// kernel: with BPF_F_LOCK an element that is there is changed where it is, and one that is not is inserted.
Result<> switch_over(const Store& store, const Steps& steps) {
  const bpf::Instance& instance = store.instance();
  PATU_TRY(instance.services().put_all(steps.heads.keys, steps.heads.values), "services");
  PATU_TRY(instance.frontends().put_all(steps.frontends.keys, steps.frontends.values, BPF_F_LOCK), "frontends");
  return {};
}

Result<> clear_away(const Store& store, const Steps& steps) {
  const bpf::Instance& instance = store.instance();
  PATU_TRY(instance.services().erase_all(steps.removed_heads), "services");
  PATU_TRY(instance.frontends().erase_all(steps.gone_frontends), "frontends");
  PATU_TRY(instance.services().erase_all(steps.old_parts), "services");
  PATU_TRY(instance.counters().erase_all(steps.gone_counters), "counters");
  PATU_TRY(instance.addresses().put_all(steps.addresses_down.keys, steps.addresses_down.values, BPF_F_LOCK),
           "addresses");
  PATU_TRY(instance.addresses().erase_all(steps.gone_addresses), "addresses");
  PATU_TRY(instance.stale().erase_all(steps.void_stale), "stale");
  return {};
}

}  // namespace

std::uint16_t next_generation(const patu_service_table& table) noexcept {
  return static_cast<std::uint16_t>(table.sequence / 2 % kGenerations + 1);
}

Result<> apply(Store& store, std::span<Change> changes, patu_service_table& table) {
  order_heads(changes);
  const std::uint16_t generation = next_generation(table);
  for (Change& change : changes) {
    if (!change.after) continue;
    change.after->head.changed = table.sequence + 2;
    if (change.new_slots) change.after->head.generation = generation;
  }
  PATU_TRY_LET(steps, steps_of(store, changes, table));
  const Difference& more = steps.difference;
  patu_service_table begun = table;
  begun.sequence |= 1;
  // Programs look only for what they are told that there is.
  begun.wildcards = sum(table.wildcards, std::max<std::int64_t>(more.wildcards, 0));
  begun.reserved_ports = sum(table.reserved_ports, std::max<std::int64_t>(more.reserved_ports, 0));
  PATU_TRY(store.put_table(begun));
  table.sequence = begun.sequence;
  PATU_TRY(prepare(store, steps));
  PATU_TRY(switch_over(store, steps));
  PATU_TRY(clear_away(store, steps));
  patu_service_table done = begun;
  done.frontend_entries = sum(table.frontend_entries, more.frontends);
  done.service_entries = sum(table.service_entries, more.services);
  done.address_entries = sum(table.address_entries, more.addresses);
  done.stale_entries = sum(table.stale_entries, more.stale);
  done.wildcards = sum(table.wildcards, more.wildcards);
  done.reserved_ports = sum(table.reserved_ports, more.reserved_ports);
  ++done.sequence;
  PATU_TRY(store.put_table(done));
  table = done;
  return {};
}

}  // namespace patu::services
