// First fit over a map of free stretches.
#include "services/extents.hpp"

#include <algorithm>
#include <iterator>
#include <string>

#include "base/try.hpp"

namespace patu::services {

Result<ExtentAllocator> ExtentAllocator::make(std::uint32_t end, std::uint32_t fresh, std::vector<Extent> in_use) {
  std::sort(in_use.begin(), in_use.end(), [](const Extent& a, const Extent& b) { return a.base < b.base; });
  ExtentAllocator allocator;
  allocator.end_ = end;
  std::uint32_t at = 0;  // everything below is accounted for
  for (const Extent& extent : in_use) {
    if (extent.base < at || extent.base > fresh || extent.count > fresh - extent.base)
      return fail(Errc::protocol, "the service table is damaged: slots " + std::to_string(extent.base) + " to " +
                                      std::to_string(std::uint64_t{extent.base} + extent.count) +
                                      " belong to two services or none");
    if (extent.base > at) allocator.retire({at, extent.base - at});
    at = extent.base + extent.count;
  }
  if (fresh > at) allocator.retire({at, fresh - at});
  if (end > fresh) allocator.add_free({fresh, end - fresh});
  return allocator;
}

std::optional<Extent> ExtentAllocator::take(std::uint32_t count) {
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    if (at->second < count) continue;
    const Extent taken{at->first, count};
    const Extent rest{at->first + count, at->second - count};
    free_.erase(at);
    if (rest.count > 0) free_.emplace(rest.base, rest.count);
    return taken;
  }
  return std::nullopt;
}

void ExtentAllocator::retire(Extent extent) {
  if (extent.count == 0) return;
  retired_.push_back(extent);
  retired_count_ += extent.count;
}

void ExtentAllocator::release_retired() {
  for (const Extent& extent : retired_) add_free(extent);
  retired_.clear();
  retired_count_ = 0;
}

void ExtentAllocator::grow(std::uint32_t slots) {
  add_free({end_, slots});
  end_ += slots;
}

std::uint32_t ExtentAllocator::unused() const noexcept {
  std::uint32_t count = retired_count_;
  for (const auto& [base, slots] : free_) count += slots;
  return count;
}

void ExtentAllocator::add_free(Extent extent) {
  auto next = free_.lower_bound(extent.base);
  if (next != free_.end() && next->first == extent.base + extent.count) {
    extent.count += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == extent.base) {
      before->second += extent.count;
      return;
    }
  }
  free_.emplace(extent.base, extent.count);
}

}  // namespace patu::services
