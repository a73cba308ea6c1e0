// Comparisons of bytes: records and slots are made so that equal services have equal ones.
#include "services/change.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace patu::services {
namespace {

bool same(const patu_listed_frontend& a, const patu_listed_frontend& b) noexcept {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

bool same_slot(patu_slot a, const patu_slot& b) noexcept {
  a.generation = b.generation;
  return std::memcmp(&a, &b, sizeof a) == 0;
}

bool same_layout(const patu_service& a, const patu_service& b) noexcept {
  return a.v4_count == b.v4_count && a.v4_view == b.v4_view && a.v6_count == b.v6_count && a.v6_view == b.v6_view &&
         a.v4_local == b.v4_local && a.v6_local == b.v6_local;
}

bool same_slots(const patu_service& head, std::span<const patu_slot> have, std::span<const patu_slot> want) noexcept {
  return std::equal(have.begin(), have.end(), want.begin(), want.end(), [&](const patu_slot& a, const patu_slot& b) {
    return a.generation == head.generation && same_slot(a, b);
  });
}

bool is_less(const patu_slot& a, const patu_slot& b) noexcept {
  const int addresses = std::memcmp(&a.addr, &b.addr, sizeof a.addr);
  return addresses != 0 ? addresses < 0 : a.port < b.port;
}

std::vector<patu_slot> sorted(std::span<const patu_slot> slots) {
  std::vector<patu_slot> out(slots.begin(), slots.end());
  std::sort(out.begin(), out.end(), is_less);
  return out;
}

// Of `slots`, backends that `others` has not.
std::vector<patu_slot> without(std::span<const patu_slot> slots, std::span<const patu_slot> others) {
  const std::vector<patu_slot> left = sorted(slots);
  const std::vector<patu_slot> right = sorted(others);
  std::vector<patu_slot> out;
  std::set_difference(left.begin(), left.end(), right.begin(), right.end(), std::back_inserter(out), is_less);
  return out;
}

bool has_protocol(const std::optional<Record>& record, std::uint8_t protocol) noexcept {
  return record && std::any_of(record->frontends.begin(), record->frontends.end(),
                               [&](const patu_listed_frontend& frontend) { return frontend.key.protocol == protocol; });
}

std::span<const patu_slot> backends_before(const Change& change) noexcept {
  if (!change.before) return {};
  return std::span(change.slots_before).first(backends_of(change.before->head));
}

std::span<const patu_slot> backends_after(const Change& change) noexcept {
  if (!change.after) return {};
  if (!change.new_slots) return backends_before(change);
  return std::span(change.slots).first(backends_of(change.after->head));
}

std::vector<patu_stale_key> stale_keys(std::uint32_t service_id, std::span<const patu_slot> backends,
                                       std::span<const std::uint8_t> protocols) {
  std::vector<patu_stale_key> out;
  for (const patu_slot& backend : backends)
    for (const std::uint8_t protocol : protocols) out.push_back({backend.addr, backend.port, protocol, 0, service_id});
  return out;
}

}  // namespace

std::optional<Change> change_between(Plan&& wanted, std::optional<Record>&& before,
                                     std::span<const patu_slot> slots_before) {
  Change change{.name = wanted.name};
  Record after{wanted.head, std::move(wanted.frontends)};
  change.new_slots = change.new_list = true;
  if (before) {
    const patu_service& old = before->head;
    change.new_slots = !same_layout(old, after.head) || !same_slots(old, slots_before, wanted.slots);
    change.new_list = !std::equal(after.frontends.begin(), after.frontends.end(), before->frontends.begin(),
                                  before->frontends.end(), same);
    const bool new_head = old.flags != after.head.flags || old.affinity_timeout_s != after.head.affinity_timeout_s;
    if (!change.new_slots && !change.new_list && !new_head) return std::nullopt;
    after.head.id = old.id;
    after.head.bank = change.new_list ? old.bank ^ 1 : old.bank;
    after.head.base = old.base;
    after.head.generation = old.generation;
    change.slots_before.assign(slots_before.begin(), slots_before.end());
  }
  change.before = std::move(before);
  change.after = std::move(after);
  if (change.new_slots) change.slots = std::move(wanted.slots);
  return change;
}

Change removal_of(const patu_service_key& name, Record&& before, std::span<const patu_slot> slots_before) {
  Change change{.name = name};
  change.before = std::move(before);
  change.slots_before.assign(slots_before.begin(), slots_before.end());
  return change;
}

std::vector<patu_listed_frontend> missing_in(std::span<const patu_listed_frontend> list,
                                             std::span<const patu_listed_frontend> other) {
  std::vector<patu_listed_frontend> out;
  std::set_difference(list.begin(), list.end(), other.begin(), other.end(), std::back_inserter(out),
                      [](const auto& a, const auto& b) { return less(a.key, b.key); });
  return out;
}

std::vector<patu_listed_frontend> added_by(const Change& change) {
  if (!change.after || !change.new_list) return {};
  if (!change.before) return change.after->frontends;
  return missing_in(change.after->frontends, change.before->frontends);
}

std::vector<patu_listed_frontend> given_up_by(const Change& change) {
  if (!change.before) return {};
  if (!change.after) return change.before->frontends;
  if (!change.new_list) return {};
  return missing_in(change.before->frontends, change.after->frontends);
}

std::vector<patu_stale_key> taken_out_by(const Change& change) {
  if (!change.before) return {};
  const patu_service& rules = change.after ? change.after->head : change.before->head;
  std::vector<std::uint8_t> protocols;
  if (has_protocol(change.before, IPPROTO_UDP) || has_protocol(change.after, IPPROTO_UDP))
    protocols.push_back(IPPROTO_UDP);
  if ((rules.flags & PATU_SERVICE_CLOSE_TCP) != 0 &&
      (has_protocol(change.before, IPPROTO_TCP) || has_protocol(change.after, IPPROTO_TCP)))
    protocols.push_back(IPPROTO_TCP);
  if (protocols.empty()) return {};
  return stale_keys(change.before->head.id, without(backends_before(change), backends_after(change)), protocols);
}

std::vector<patu_stale_key> brought_back_by(const Change& change) {
  if (!change.before || !change.after || !change.new_slots) return {};
  constexpr std::uint8_t kBoth[] = {IPPROTO_UDP, IPPROTO_TCP};
  return stale_keys(change.before->head.id, without(backends_after(change), backends_before(change)), kBoth);
}

}  // namespace patu::services
