// Which slots are free: bookkeeping alone, made anew from the kernel's records when another process has changed them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "patu/error.hpp"

namespace patu::services {

struct Extent {
  std::uint32_t base = 0;
  std::uint32_t count = 0;

  bool operator==(const Extent&) const = default;
};

// A slot goes from `in use` to `retired` to `free`. Retired: no frontend leads to it, but a program that runs at this moment
// may have read the frontend before. Only when every such run is over may it be written again, and so a program never meets
// a slot that was rewritten under it, however often the generation has wrapped around.
class ExtentAllocator final {
 public:
  // Slots [0, end) exist; those from `fresh` on were never written and are free, those of `in_use` are not; all others are
  // retired. Errors: protocol (two extents overlap, or lie outside).
  static Result<ExtentAllocator> make(std::uint32_t end, std::uint32_t fresh, std::vector<Extent> in_use);

  // The lowest place that fits; empty if there is none.
  std::optional<Extent> take(std::uint32_t count);
  void retire(Extent extent);
  // Call when every program that ran while the last of the retired was retired has ended.
  void release_retired();
  void grow(std::uint32_t slots);

  std::uint32_t end() const noexcept { return end_; }
  std::uint32_t retired() const noexcept { return retired_count_; }
  std::uint32_t unused() const noexcept;  // free and retired

 private:
  ExtentAllocator() = default;
  void add_free(Extent extent);

  std::uint32_t end_ = 0;
  std::uint32_t retired_count_ = 0;
  std::map<std::uint32_t, std::uint32_t> free_;  // base to count; neighbours are merged
  std::vector<Extent> retired_;
};

}  // namespace patu::services
