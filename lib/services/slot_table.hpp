// The slots of all services: inner arrays of 1024, made when they are needed, seen as one long row. Under lock_services.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "bpf/instance.hpp"
#include "services/extents.hpp"

namespace patu::services {

// Where slots go.
struct SlotWrite {
  Extent extent;
  std::vector<patu_slot> slots;
};

class SlotTable final {
 public:
  explicit SlotTable(std::shared_ptr<bpf::Instance> instance) noexcept : instance_(std::move(instance)) {}

  // Errors: protocol, io.
  Result<std::vector<patu_slot>> read(Extent extent);
  // The same for many extents in ascending order: reads each chunk once, and as a whole. Forgets it with forget().
  Result<std::span<const patu_slot>> read_along(Extent extent);
  void forget() noexcept;
  // In ascending order, so that slots which were never written are at the end wherever it is interrupted.
  Result<> write(std::span<const SlotWrite> writes);

  // Free slots and those of the services, for a process that does not know.
  Result<ExtentAllocator> load_extents(std::vector<Extent> in_use);
  // Returns when every program that runs now has ended. Errors: exhausted, out_of_memory, io.
  Result<> create_chunks(std::uint32_t first, std::uint32_t count);
  Result<> wait_for_programs();  // the same, without a new chunk; there is one

 private:
  Result<int> chunk_fd(std::uint32_t chunk);
  Result<> read_chunk(std::uint32_t chunk, std::uint32_t first, std::span<patu_slot> into);
  Result<> load_whole(std::uint32_t chunk);
  Result<std::uint32_t> chunks() const;

  std::shared_ptr<bpf::Instance> instance_;
  std::vector<std::pair<std::uint32_t, UniqueFd>> open_chunks_;  // the last few
  std::uint32_t whole_chunk_ = PATU_CHUNKS;                      // that read_along() has in `whole_`
  std::vector<patu_slot> whole_;
  std::vector<patu_slot> across_;  // an extent that lies in several chunks
};

}  // namespace patu::services
