// What is different between a service as the kernel has it and as it is to be.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "services/plan.hpp"
#include "services/store.hpp"

namespace patu::services {

// One service's way from its old record to the new one, or out of the table.
struct Change {
  patu_service_key name{};
  std::optional<Record> before;         // empty: it is new
  std::vector<patu_slot> slots_before;  // of its extent
  std::optional<Record> after;          // empty: it is removed. Its place and generation are set when it has one
  std::vector<patu_slot> slots;         // of the new extent, if it gets one; without their generation
  bool new_slots = false;               // else the backends stay where they are
  bool new_list = false;                // of frontends, in the other bank
};

// Empty if there is nothing to do. `slots_before` are those of the extent of `before`.
std::optional<Change> change_between(Plan&& wanted, std::optional<Record>&& before,
                                     std::span<const patu_slot> slots_before);
Change removal_of(const patu_service_key& name, Record&& before, std::span<const patu_slot> slots_before);

// Frontends of one record that the other has not.
std::vector<patu_listed_frontend> missing_in(std::span<const patu_listed_frontend> list,
                                             std::span<const patu_listed_frontend> other);
std::vector<patu_listed_frontend> added_by(const Change& change);
std::vector<patu_listed_frontend> given_up_by(const Change& change);

// The journal's entries for backends that are taken out by the change, and those that are void after it, because the backend
// is back. Of protocols that nobody closes sockets for, there are none.
std::vector<patu_stale_key> taken_out_by(const Change& change);
std::vector<patu_stale_key> brought_back_by(const Change& change);

}  // namespace patu::services
