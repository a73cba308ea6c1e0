// Records are kept in parts, slots in chunks; nobody above has to know.
#include "services/store.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "bpf/info.hpp"

namespace patu::services {
namespace {

constexpr std::size_t kOpenChunks = 8;

patu_service_key part_of(patu_service_key name, const patu_service& head, std::uint32_t part) noexcept {
  name.part = head.bank * PATU_SERVICE_BANK + part;
  return name;
}

void put_frontends(patu_service& part, std::span<const patu_frontend_key> all, std::uint32_t number) noexcept {
  const auto mine = all.subspan(std::min<std::size_t>(all.size(), std::size_t{number} * PATU_SERVICE_FRONTENDS));
  std::copy_n(mine.begin(), std::min<std::size_t>(mine.size(), PATU_SERVICE_FRONTENDS), part.frontends);
}

patu_frontend value_of(const patu_frontend_key& key, const patu_service& head) noexcept {
  patu_frontend value{};
  value.word = word_of(head, key);
  value.service_id = head.id;
  return value;
}

// The last number below `end` for which `holds`, plus one; it holds for all below that.
Result<std::uint32_t> boundary(std::uint32_t end, const std::function<Result<bool>(std::uint32_t)>& holds) {
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

}  // namespace

std::uint32_t further_parts(std::size_t frontends) noexcept {
  return frontends == 0 ? 0 : static_cast<std::uint32_t>((frontends - 1) / PATU_SERVICE_FRONTENDS);
}

Result<patu_service_table> Store::table() const {
  return bpf::Element<patu_service_table>(instance_->map_fd(bpf::MapId::service_table), "service_table").get();
}

Result<> Store::put_table(const patu_service_table& table) const {
  return bpf::Element<patu_service_table>(instance_->map_fd(bpf::MapId::service_table), "service_table").put(table);
}

Result<std::uint32_t> Store::max_entries(bpf::MapId map) const {
  PATU_TRY_LET(info, bpf::inspect<bpf_map_info>(instance_->map_fd(map), "inspect a map of services"));
  return info.max_entries;
}

Result<std::optional<Record>> Store::record(const patu_service_key& name) const {
  PATU_TRY_LET(head, instance_->services().lookup(name), "services");
  if (!head) return std::optional<Record>{};
  Record record{*head, {}};
  const auto append = [&](const patu_service& part) {
    const auto count = std::min<std::size_t>(PATU_SERVICE_FRONTENDS, head->frontend_count - record.frontends.size());
    record.frontends.insert(record.frontends.end(), part.frontends, part.frontends + count);
  };
  append(*head);
  for (std::uint32_t part = 1; part <= further_parts(head->frontend_count); ++part) {
    PATU_TRY_LET(value, instance_->services().lookup(part_of(name, *head, part)), "services");
    if (!value)
      return fail(Errc::protocol,
                  "service " + quote(name_of(name)) + ": part " + std::to_string(part) + " of its record is missing");
    append(*value);
  }
  return std::optional<Record>(std::move(record));
}

Result<> Store::put_head(const patu_service_key& name, const Record& record) const {
  patu_service head = record.head;
  put_frontends(head, record.frontends, 0);
  PATU_TRY(instance_->services().put(name, head), "services");
  return {};
}

Result<> Store::put_parts(const patu_service_key& name, const Record& record) const {
  for (std::uint32_t part = 1; part <= further_parts(record.frontends.size()); ++part) {
    patu_service value{};
    put_frontends(value, record.frontends, part);
    PATU_TRY(instance_->services().put(part_of(name, record.head, part), value), "services");
  }
  return {};
}

Result<> Store::erase_parts(const patu_service_key& name, const patu_service& head) const {
  for (std::uint32_t part = 1; part <= further_parts(head.frontend_count); ++part)
    PATU_TRY(instance_->services().erase(part_of(name, head, part)), "services");
  return {};
}

Result<> Store::visit_heads(const std::function<Result<>(const patu_service_key&, const patu_service&)>& visit) const {
  PATU_TRY(instance_->services().visit([&](const patu_service_key& key, const patu_service& value) -> Result<> {
    return key.part == 0 ? visit(key, value) : Result<>{};
  }),
           "services");
  return {};
}

Result<bool> Store::insert_frontend(const patu_frontend_key& key, const patu_service& head) const {
  auto inserted = instance_->frontends().insert(key, value_of(key, head));
  if (!inserted) return fail(std::move(inserted.error()).context("frontends"));
  return inserted;
}

Result<> Store::put_frontend(const patu_frontend_key& key, const patu_service& head) const {
  const patu_frontend value = value_of(key, head);
  PATU_TRY(bpf::map_update(instance_->map_fd(bpf::MapId::frontends), &key, &value, BPF_F_LOCK), "frontends");
  return {};
}

Result<int> Store::chunk_fd(std::uint32_t chunk) {
  for (const auto& [number, fd] : open_chunks_)
    if (number == chunk) return fd.get();
  PATU_TRY_LET(fd, instance_->open_chunk(chunk), "slots");
  if (open_chunks_.size() >= kOpenChunks) open_chunks_.erase(open_chunks_.begin());
  return open_chunks_.emplace_back(chunk, std::move(fd)).second.get();
}

Result<> Store::each_chunk(Extent extent, const std::function<Result<>(int, std::uint32_t, std::uint32_t)>& work) {
  while (extent.count > 0) {
    const std::uint32_t first = extent.base % PATU_CHUNK_SLOTS;
    const std::uint32_t count = std::min<std::uint32_t>(extent.count, PATU_CHUNK_SLOTS - first);
    PATU_TRY_LET(fd, chunk_fd(extent.base / PATU_CHUNK_SLOTS));
    PATU_TRY(work(fd, first, count), "slots");
    extent.base += count;
    extent.count -= count;
  }
  return {};
}

Result<std::vector<patu_slot>> Store::read_slots(Extent extent) {
  std::vector<patu_slot> slots(extent.count);
  std::vector<std::uint32_t> keys(extent.count);
  std::size_t done = 0;
  PATU_TRY(each_chunk(extent, [&](int fd, std::uint32_t first, std::uint32_t count) -> Result<> {
    std::uint32_t before = first - 1;  // the kernel begins behind it
    std::uint32_t last = 0;
    std::uint32_t read = count;
    // ENOENT says that the end of the chunk was reached.
    if (bpf_map_lookup_batch(fd, first == 0 ? nullptr : &before, &last, keys.data(), &slots[done], &read, nullptr) !=
            0 &&
        errno != ENOENT)
      return PATU_FAIL_ERRNO("read a batch");
    if (read != count) return fail(Errc::protocol, "a chunk of slots is shorter than it was made");
    done += count;
    return {};
  }));
  return slots;
}

Result<> Store::write_slots(Extent extent, std::span<const patu_slot> slots) {
  std::vector<std::uint32_t> keys(extent.count);
  std::size_t done = 0;
  return each_chunk(extent, [&](int fd, std::uint32_t first, std::uint32_t count) -> Result<> {
    std::iota(keys.begin(), keys.begin() + count, first);
    std::uint32_t written = count;
    if (bpf_map_update_batch(fd, keys.data(), &slots[done], &written, nullptr) != 0)
      return PATU_FAIL_ERRNO("write a batch");
    done += count;
    return {};
  });
}

Result<std::uint32_t> Store::chunks() const {
  const auto slots = instance_->map<std::uint32_t, std::uint32_t>(bpf::MapId::slots);
  return boundary(PATU_CHUNKS, [&](std::uint32_t chunk) -> Result<bool> {
    PATU_TRY_LET(id, slots.lookup(chunk), "slots");
    return id.has_value();
  });
}

Result<bool> Store::is_fresh(std::uint32_t slot) {
  PATU_TRY_LET(read, read_slots({slot, 1}));
  return read[0].generation == 0;
}

Result<ExtentAllocator> Store::load_extents() {
  PATU_TRY_LET(chunk_count, chunks());
  const std::uint32_t end = chunk_count * PATU_CHUNK_SLOTS;
  // Slots are taken and written in ascending order, so that those that never were are at the end.
  PATU_TRY_LET(fresh, boundary(end, [&](std::uint32_t slot) -> Result<bool> {
                 PATU_TRY_LET(is, is_fresh(slot));
                 return !is;
               }));
  std::vector<Extent> in_use;
  PATU_TRY(visit_heads([&](const patu_service_key&, const patu_service& head) -> Result<> {
    if (head.capacity > 0) in_use.push_back({head.base, head.capacity});
    return {};
  }));
  return ExtentAllocator::make(end, fresh, std::move(in_use));
}

Result<> Store::create_chunk(std::uint32_t chunk) {
  PATU_TRY_LET(fd, instance_->create_chunk(chunk));
  (void)fd;
  return {};
}

// kernel: a change of an array of maps waits for the programs that run (maybe_wait_bpf_programs), even if it is none.
Result<> Store::wait_for_programs() {
  PATU_TRY_LET(fd, chunk_fd(0));
  PATU_TRY((instance_->map<std::uint32_t, int>(bpf::MapId::slots).put(0, fd)), "slots");
  return {};
}

}  // namespace patu::services
