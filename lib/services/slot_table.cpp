// Chunks are opened when they are needed, and read and written in batches.
#include "services/slot_table.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <string>

#include "base/function_ref.hpp"
#include "base/try.hpp"

namespace patu::services {
namespace {

constexpr std::size_t kOpenChunks = 8;
constexpr std::uint32_t kChunksAtOnce = 256;  // each is a descriptor meanwhile

// The last number below `end` for which `holds`, plus one; it holds for all below that.
Result<std::uint32_t> boundary(std::uint32_t end, FunctionRef<Result<bool>(std::uint32_t)> holds) {
  std::uint32_t low = 0;
  std::uint32_t high = end;
  while (low < high) {
    const std::uint32_t middle = std::midpoint(low, high);
    PATU_TRY_LET(below, holds(middle));
    if (below)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Calls `work` with the part of the extent that lies in each chunk.
Result<> each_chunk(Extent extent, FunctionRef<Result<>(std::uint32_t chunk, Extent in_chunk)> work) {
  while (extent.count > 0) {
    const std::uint32_t first = extent.base % PATU_CHUNK_SLOTS;
    const std::uint32_t count = std::min<std::uint32_t>(extent.count, PATU_CHUNK_SLOTS - first);
    PATU_TRY(work(extent.base / PATU_CHUNK_SLOTS, {first, count}));
    extent.base += count;
    extent.count -= count;
  }
  return {};
}

}  // namespace

Result<int> SlotTable::chunk_fd(std::uint32_t chunk) {
  for (const auto& [number, fd] : open_chunks_)
    if (number == chunk) return fd.get();
  PATU_TRY_LET(fd, instance_->open_chunk(chunk));
  if (open_chunks_.size() >= kOpenChunks) open_chunks_.erase(open_chunks_.begin());
  return open_chunks_.emplace_back(chunk, std::move(fd)).second.get();
}

Result<> SlotTable::read_chunk(std::uint32_t chunk, std::uint32_t first, std::span<patu_slot> into) {
  PATU_TRY_LET(fd, chunk_fd(chunk));
  std::vector<std::uint32_t> keys(into.size());
  std::uint32_t before = first - 1;  // the kernel begins behind it
  std::uint32_t last = 0;
  auto read = static_cast<std::uint32_t>(into.size());
  // ENOENT says that the end of the chunk was reached.
  if (bpf_map_lookup_batch(fd, first == 0 ? nullptr : &before, &last, keys.data(), into.data(), &read, nullptr) != 0 &&
      errno != ENOENT)
    return PATU_FAIL_ERRNO("read a batch");
  if (read != into.size()) return fail(Errc::protocol, "a chunk of slots is shorter than it was made");
  return {};
}

Result<std::vector<patu_slot>> SlotTable::read(Extent extent) {
  std::vector<patu_slot> slots(extent.count);
  std::size_t done = 0;
  PATU_TRY(each_chunk(extent,
                      [&](std::uint32_t chunk, Extent part) {
                        const std::span<patu_slot> into = std::span(slots).subspan(done, part.count);
                        done += part.count;
                        return read_chunk(chunk, part.base, into);
                      }),
           "slots");
  return slots;
}

Result<> SlotTable::load_whole(std::uint32_t chunk) {
  if (whole_chunk_ == chunk) return {};
  whole_chunk_ = PATU_CHUNKS;
  whole_.resize(PATU_CHUNK_SLOTS);
  PATU_TRY(read_chunk(chunk, 0, whole_));
  whole_chunk_ = chunk;
  return {};
}

Result<std::span<const patu_slot>> SlotTable::read_along(Extent extent) {
  const bool crosses = extent.base % PATU_CHUNK_SLOTS + extent.count > PATU_CHUNK_SLOTS;
  across_.clear();
  std::span<const patu_slot> found;
  PATU_TRY(each_chunk(extent,
                      [&](std::uint32_t chunk, Extent part) -> Result<> {
                        if (auto loaded = load_whole(chunk); !loaded) return loaded;
                        found = std::span(whole_).subspan(part.base, part.count);
                        if (crosses) across_.insert(across_.end(), found.begin(), found.end());
                        return {};
                      }),
           "slots");
  return crosses ? std::span<const patu_slot>(across_) : found;
}

void SlotTable::forget() noexcept {
  whole_chunk_ = PATU_CHUNKS;
  whole_ = {};
  across_ = {};
}

Result<> SlotTable::write(std::span<const SlotWrite> writes) {
  std::vector<const SlotWrite*> ascending;
  for (const SlotWrite& write : writes)
    if (write.extent.count > 0) ascending.push_back(&write);
  std::sort(ascending.begin(), ascending.end(),
            [](const SlotWrite* a, const SlotWrite* b) { return a->extent.base < b->extent.base; });
  std::uint32_t current = 0;
  std::vector<std::uint32_t> keys;
  std::vector<patu_slot> slots;
  const auto flush = [&]() -> Result<> {
    if (keys.empty()) return {};
    PATU_TRY_LET(fd, chunk_fd(current), "slots");
    PATU_TRY((bpf::Map<std::uint32_t, patu_slot>(fd).put_all(keys, slots)), "slots");
    keys.clear();
    slots.clear();
    return {};
  };
  for (const SlotWrite* write : ascending) {
    std::size_t done = 0;
    PATU_TRY(each_chunk(write->extent, [&](std::uint32_t chunk, Extent part) -> Result<> {
      if (chunk != current) {
        if (auto flushed = flush(); !flushed) return flushed;
      }
      current = chunk;
      for (std::uint32_t i = 0; i < part.count; ++i) keys.push_back(part.base + i);
      const auto from = write->slots.begin() + static_cast<std::ptrdiff_t>(done);
      slots.insert(slots.end(), from, from + part.count);
      done += part.count;
      return {};
    }));
  }
  return flush();
}

Result<std::uint32_t> SlotTable::chunks() const {
  const auto slots = instance_->map<std::uint32_t, std::uint32_t>(bpf::MapId::slots);
  return boundary(PATU_CHUNKS, [&](std::uint32_t chunk) -> Result<bool> {
    PATU_TRY_LET(id, slots.lookup(chunk), "slots");
    return id.has_value();
  });
}

Result<ExtentAllocator> SlotTable::load_extents(std::vector<Extent> in_use) {
  PATU_TRY_LET(chunk_count, chunks());
  const std::uint32_t end = chunk_count * PATU_CHUNK_SLOTS;
  PATU_TRY_LET(fresh, boundary(end, [&](std::uint32_t slot) -> Result<bool> {
                 PATU_TRY_LET(read, this->read({slot, 1}));
                 return read[0].generation != 0;
               }));
  return ExtentAllocator::make(end, fresh, std::move(in_use));
}

// One change of the outer map for many: each waits for programs.
Result<> SlotTable::create_chunks(std::uint32_t first, std::uint32_t count) {
  if (count > kChunksAtOnce) {
    PATU_TRY(create_chunks(first, kChunksAtOnce));
    return create_chunks(first + kChunksAtOnce, count - kChunksAtOnce);
  }
  std::vector<UniqueFd> opened;
  std::vector<std::uint32_t> keys(count);
  std::vector<int> values;
  std::iota(keys.begin(), keys.end(), first);
  for (const std::uint32_t chunk : keys) {
    PATU_TRY_LET(fd, instance_->create_chunk(chunk), "slots");
    values.push_back(fd.get());
    opened.push_back(std::move(fd));
  }
  PATU_TRY((instance_->map<std::uint32_t, int>(bpf::MapId::slots).put_all(keys, values)), "slots");
  return {};
}

// kernel: a change of an array of maps waits for the programs that run (maybe_wait_bpf_programs), even if it is none.
Result<> SlotTable::wait_for_programs() {
  PATU_TRY_LET(fd, chunk_fd(0), "slots");
  PATU_TRY((instance_->map<std::uint32_t, int>(bpf::MapId::slots).put(0, fd)), "slots");
  return {};
}

}  // namespace patu::services
