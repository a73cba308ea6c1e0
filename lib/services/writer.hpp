// Changes of the service table, each in an order that leaves every frontend old or new wherever it is interrupted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "services/extents.hpp"
#include "services/plan.hpp"
#include "services/store.hpp"

namespace patu::services {

class Writer final {
 public:
  explicit Writer(std::shared_ptr<bpf::Instance> instance) noexcept : store_(std::move(instance)) {}

  Result<> upsert(const Plan& plan);
  Result<> remove(const patu_service_key& name);
  Result<std::optional<Service>> find(const patu_service_key& name);
  Result<std::vector<Service>> list();

 private:
  struct Change;  // from the old record to the new one

  Result<patu_service_table> begin();
  Result<bool> is_already(const Plan& plan, const Change& change);
  Result<> draft(const Plan& plan, Change& change, patu_service_table& table);
  Result<> check_frontends(const Change& change) const;
  Result<> check_room(const Change& change, const patu_service_table& table) const;
  Result<std::string> name_of_id(std::uint32_t service_id) const;
  Result<Extent> take_slots(std::uint32_t count);
  Result<> make_room();
  Result<> prepare(const Plan& plan, const Change& change);
  Result<> carry_through(const Change& change) const;
  Result<> conclude(const Change& change, patu_service_table& table);
  Result<> give_up(Error&& reason, patu_service_table& table);
  Result<Service> read(const patu_service_key& name, const Record& record);

  Store store_;
  std::optional<ExtentAllocator> extents_;  // right while the table's sequence is this one
  std::uint64_t sequence_ = 0;
};

}  // namespace patu::services
