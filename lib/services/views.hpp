// The order of a service's slots: which of them a frontend may choose from, and how often it chooses each.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "patu/services.hpp"
#include "patu_maps.h"

namespace patu::services {

// Slots that are next to each other, in a table or in one service's extent.
struct View {
  std::uint32_t base = 0;
  std::uint32_t count = 0;

  bool operator==(const View&) const = default;
};

// All slots of a service, in the order of its extent; their generation is not set.
struct Slots {
  std::vector<patu_slot> slots;
  std::uint16_t v4_count = 0;  // as in patu_service
  std::uint16_t v4_view = 0;
  std::uint16_t v6_count = 0;
  std::uint16_t v6_view = 0;
  std::uint16_t v4_local = 0;
  std::uint16_t v6_local = 0;
};

// Backends that are checked, sorted and of one kind each.
Slots lay_out(std::span<const Backend> backends, TrafficPolicy internal_policy);

// Of a cluster address, whose other ports are refused.
bool is_cluster(const patu_listed_frontend& frontend) noexcept;

// The slots that the frontend's clients choose from.
View view_of(const patu_service& head, const patu_listed_frontend& frontend) noexcept;
std::uint64_t word_of(const patu_service& head, const patu_listed_frontend& frontend) noexcept;

// Slots of the whole extent, and of those the ones that are one backend each: the copies for the local view come after them.
std::uint32_t slots_of(const patu_service& head) noexcept;
std::uint32_t backends_of(const patu_service& head) noexcept;

// Sets threshold and alias of slots that are one view, by their weights.
void set_shares(std::span<patu_slot> view);

patu_slot slot_of(const Backend& backend) noexcept;
Backend backend_of(const patu_slot& slot) noexcept;

}  // namespace patu::services
