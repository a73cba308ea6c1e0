// The service maps of an instance, read and written in the pieces that the verbs are made of. All of it under lock_services.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "bpf/instance.hpp"
#include "services/extents.hpp"
#include "services/plan.hpp"

namespace patu::services {

class Store final {
 public:
  explicit Store(std::shared_ptr<bpf::Instance> instance) noexcept : instance_(std::move(instance)) {}

  const bpf::Instance& instance() const noexcept { return *instance_; }
  Result<patu_service_table> table() const;
  Result<> put_table(const patu_service_table& table) const;
  // Errors: io.
  Result<std::uint32_t> max_entries(bpf::MapId map) const;

  // Empty if there is no such service. Errors: protocol (a part is missing), io.
  Result<std::optional<Record>> record(const patu_service_key& name) const;
  Result<> put_head(const patu_service_key& name, const Record& record) const;
  Result<> put_parts(const patu_service_key& name, const Record& record) const;
  Result<> erase_parts(const patu_service_key& name, const patu_service& head) const;
  Result<> visit_heads(const std::function<Result<>(const patu_service_key&, const patu_service&)>& visit) const;

  // False if it is another's already.
  Result<bool> insert_frontend(const patu_frontend_key& key, const patu_service& head) const;
  // In place if it is there: the one step that a reader of the frontend cannot miss.
  Result<> put_frontend(const patu_frontend_key& key, const patu_service& head) const;

  Result<std::vector<patu_slot>> read_slots(Extent extent);
  Result<> write_slots(Extent extent, std::span<const patu_slot> slots);
  // Free slots and those of the services, for a process that does not know. O(services).
  Result<ExtentAllocator> load_extents();
  Result<> create_chunk(std::uint32_t chunk);  // returns when every program that runs now has ended
  Result<> wait_for_programs();                // the same, without a new chunk

 private:
  Result<int> chunk_fd(std::uint32_t chunk);
  Result<std::uint32_t> chunks() const;
  Result<bool> is_fresh(std::uint32_t slot);
  Result<> each_chunk(Extent extent,
                      const std::function<Result<>(int fd, std::uint32_t first, std::uint32_t count)>& work);

  std::shared_ptr<bpf::Instance> instance_;
  std::vector<std::pair<std::uint32_t, UniqueFd>> open_chunks_;  // the last few
};

// How many parts behind part 0 a record with so many frontends has.
std::uint32_t further_parts(std::size_t frontends) noexcept;

}  // namespace patu::services
