// The verbs on a service table: each is a batch of changes under the table's lock, and reads what it needs to make it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "services/budget.hpp"
#include "services/change.hpp"
#include "services/closing.hpp"
#include "services/extents.hpp"
#include "services/plan.hpp"
#include "services/store.hpp"
#include "services/sweep.hpp"

namespace patu::services {

class Writer final {
 public:
  explicit Writer(std::shared_ptr<bpf::Instance> instance) noexcept
      : store_(std::move(instance)), closer_(store_.instance()) {}

  Result<> upsert(Plan&& plan);
  Result<> remove(const patu_service_key& name);
  Result<SyncReport> sync(std::span<const Service> services, const SyncOptions& options);
  Result<std::optional<Service>> find(const patu_service_key& name);
  Result<std::vector<Service>> list();
  // What an earlier change left undone.
  Result<ClosedSockets> close_stale_sockets();

 private:
  Result<patu_service_table> begin();
  Result<> recount_journal(patu_service_table& table) const;
  Result<> load_extents();
  Result<> check_frontends(const Change& change) const;
  Result<> fit(const Change& change, patu_service_table& table);
  Result<ClosedSockets> write(std::vector<Change>&& changes, patu_service_table& table);
  Result<> place(std::span<Change> changes, patu_service_table& table);
  Result<std::optional<Extent>> take_slots(std::uint32_t count);
  Result<> mend(std::span<const Change> changes, patu_service_table& table, Error&& reason);
  Result<ClosedSockets> close(patu_service_table& table);
  Result<std::uint32_t> make_room_in_journal(patu_service_table& table);

  Store store_;
  Closer closer_;
  Sweep sweep_;
  std::optional<ExtentAllocator> extents_;  // right while the table's sequence is this one
  std::uint64_t sequence_ = 0;
};

}  // namespace patu::services
