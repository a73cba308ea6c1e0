// The bookkeeping of slots: what is handed out, what comes back, and when.
#include <doctest/doctest.h>

#include <random>
#include <set>

#include "services/extents.hpp"

using patu::Errc;
using patu::services::Extent;
using patu::services::ExtentAllocator;

namespace {

ExtentAllocator make(std::uint32_t end, std::uint32_t fresh, std::vector<Extent> in_use) {
  auto allocator = ExtentAllocator::make(end, fresh, std::move(in_use));
  REQUIRE(allocator);
  return std::move(*allocator);
}

Extent take(ExtentAllocator& allocator, std::uint32_t count) {
  const auto extent = allocator.take(count);
  REQUIRE(extent);
  return *extent;
}

}  // namespace

TEST_CASE("an empty table has no slots, and gets them by growing") {
  auto allocator = make(0, 0, {});
  CHECK_FALSE(allocator.take(1));
  allocator.grow(1024);
  CHECK(allocator.end() == 1024);
  CHECK(take(allocator, 1024) == Extent{0, 1024});
  CHECK_FALSE(allocator.take(1));
}

TEST_CASE("extents come from the lowest place that fits") {
  auto allocator = make(1024, 0, {});
  CHECK(take(allocator, 3) == Extent{0, 3});
  CHECK(take(allocator, 5) == Extent{3, 5});
  CHECK(take(allocator, 1016) == Extent{8, 1016});
  CHECK_FALSE(allocator.take(1));
}

TEST_CASE("what was retired is handed out only after it was released") {
  auto allocator = make(16, 0, {});
  const Extent first = take(allocator, 8);
  (void)take(allocator, 8);
  allocator.retire(first);
  CHECK(allocator.retired() == 8);
  CHECK_FALSE(allocator.take(1));
  allocator.release_retired();
  CHECK(allocator.retired() == 0);
  CHECK(take(allocator, 8) == first);
}

TEST_CASE("neighbours become one stretch, in whichever order they are released") {
  for (const std::vector<std::uint32_t>& order :
       {std::vector<std::uint32_t>{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 0, 2}}) {
    auto allocator = make(12, 0, {});
    for (int i = 0; i < 3; ++i) (void)take(allocator, 4);
    for (const std::uint32_t third : order) allocator.retire({third * 4, 4});
    allocator.release_retired();
    CHECK(take(allocator, 12) == Extent{0, 12});
  }
}

TEST_CASE("an extent may lie across the end of a chunk") {
  auto allocator = make(1024, 0, {});
  (void)take(allocator, 1020);
  CHECK_FALSE(allocator.take(8));
  allocator.grow(1024);
  CHECK(take(allocator, 8) == Extent{1020, 8});
}

TEST_CASE("what is read back is in use, free if it was never written, and retired otherwise") {
  auto allocator = make(100, 50, {{30, 10}, {0, 10}});
  CHECK(allocator.retired() == 30);  // 10 to 30 and 40 to 50
  CHECK(take(allocator, 50) == Extent{50, 50});
  CHECK_FALSE(allocator.take(1));
  allocator.release_retired();
  CHECK(take(allocator, 20) == Extent{10, 20});
  CHECK(take(allocator, 10) == Extent{40, 10});
  CHECK_FALSE(allocator.take(1));
}

TEST_CASE("records that overlap, or lie outside of what was written, are refused") {
  for (const std::vector<Extent>& damaged :
       {std::vector<Extent>{{0, 10}, {9, 2}}, {{45, 6}}, {{51, 1}}, {{0, 0xffffffffu}}, {{4, 2}, {4, 2}}}) {
    const auto allocator = ExtentAllocator::make(100, 50, damaged);
    REQUIRE_FALSE(allocator);
    CHECK(allocator.error().code() == Errc::protocol);
  }
}

TEST_CASE("no slot is ever handed out twice, over many random changes") {
  std::mt19937 random(7);
  auto allocator = make(0, 0, {});
  std::vector<Extent> held;
  std::vector<Extent> retired;
  std::set<std::uint32_t> taken;  // held or retired
  for (int i = 0; i < 20'000; ++i) {
    const auto count = static_cast<std::uint32_t>(random() % 40 + 1);
    auto extent = allocator.take(count);
    if (!extent) {
      if (allocator.retired() * 4 <= allocator.end()) allocator.grow(1024);
      allocator.release_retired();
      for (const Extent& old : retired)
        for (std::uint32_t slot = old.base; slot < old.base + old.count; ++slot) taken.erase(slot);
      retired.clear();
      continue;
    }
    for (std::uint32_t slot = extent->base; slot < extent->base + extent->count; ++slot)
      REQUIRE(taken.insert(slot).second);
    REQUIRE(extent->base + extent->count <= allocator.end());
    held.push_back(*extent);
    if (held.size() > 50) {
      std::swap(held[random() % held.size()], held.back());
      allocator.retire(held.back());
      retired.push_back(held.back());
      held.pop_back();
    }
  }
  CHECK(allocator.end() <= 4096);  // 50 services of 20 backends each: nothing leaks
}
