// The records of an instance's services and the state of their table, read and written. All of it under lock_services.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/function_ref.hpp"
#include "bpf/instance.hpp"
#include "services/plan.hpp"
#include "services/slot_table.hpp"

namespace patu::services {

// A service as the kernel has it, but for its slots.
struct Stored {
  patu_service_key name{};
  Record record;
};

class Store final {
 public:
  explicit Store(std::shared_ptr<bpf::Instance> instance) noexcept
      : instance_(std::move(instance)), slots_(instance_) {}

  const bpf::Instance& instance() const noexcept { return *instance_; }
  const std::shared_ptr<bpf::Instance>& shared() const noexcept { return instance_; }
  SlotTable& slots() noexcept { return slots_; }
  Result<patu_service_table> table() const;
  Result<> put_table(const patu_service_table& table) const;
  // Asked of the kernel once. Errors: io.
  Result<std::uint32_t> max_entries(bpf::MapId map) const;

  // Empty if there is no such service. Errors: protocol (a part is missing), io.
  Result<std::optional<Record>> record(const patu_service_key& name) const;
  // All of them, sorted by name, read in one go. Errors: protocol, io.
  Result<std::vector<Stored>> records() const;
  Result<> visit_heads(FunctionRef<Result<>(const patu_service_key&, const patu_service&)> visit) const;
  // Empty if no service has the id. O(services).
  Result<std::string> name_of_id(std::uint32_t service_id) const;

 private:
  std::shared_ptr<bpf::Instance> instance_;
  SlotTable slots_;
  mutable std::array<std::uint32_t, bpf::kMapCount> max_entries_{};  // 0: not asked yet
};

// How many parts behind part 0 a record with so many frontends has.
std::uint32_t further_parts(std::size_t frontends) noexcept;
// Key of a further part, counted from 1.
patu_service_key part_key(patu_service_key name, const patu_service& head, std::uint32_t part) noexcept;
// The head of a record, or a further part of it, with the frontends that belong there.
patu_service part_value(const Record& record, std::uint32_t part) noexcept;

Extent extent_of(const patu_service& head) noexcept;
// exhausted, with the sentence that every map of services has for it.
Error map_is_full(const char* map, std::uint64_t used, std::uint64_t limit, std::uint64_t needed);

}  // namespace patu::services
