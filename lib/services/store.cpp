// Records are kept in parts; nobody above has to know how they are found.
#include "services/store.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "bpf/info.hpp"

namespace patu::services {
namespace {

using Part = std::pair<patu_service_key, patu_service>;

bool comes_before(const patu_service_key& a, const patu_service_key& b) noexcept {
  const int names = std::memcmp(a.name, b.name, sizeof a.name);
  return names != 0 ? names < 0 : a.part < b.part;
}

void append_part(Record& record, const patu_service& part) {
  const std::size_t missing = record.head.frontend_count - record.frontends.size();
  const auto count = std::min<std::size_t>(PATU_SERVICE_FRONTENDS, missing);
  record.frontends.insert(record.frontends.end(), part.frontends, part.frontends + count);
}

// `find` returns null for a part that is not there.
template <class Find>
Result<Record> assemble(const patu_service_key& name, const patu_service& head, const Find& find) {
  Record record{head, {}};
  record.frontends.reserve(head.frontend_count);
  append_part(record, head);
  for (std::uint32_t part = 1; part <= further_parts(head.frontend_count); ++part) {
    PATU_TRY_LET(value, find(part_key(name, head, part)));
    if (!value)
      return fail(Errc::protocol,
                  "service " + quote(name_of(name)) + ": part " + std::to_string(part) + " of its record is missing");
    append_part(record, *value);
  }
  return record;
}

}  // namespace

std::uint32_t further_parts(std::size_t frontends) noexcept {
  return frontends == 0 ? 0 : static_cast<std::uint32_t>((frontends - 1) / PATU_SERVICE_FRONTENDS);
}

patu_service_key part_key(patu_service_key name, const patu_service& head, std::uint32_t part) noexcept {
  name.part = std::uint32_t{head.bank} * PATU_SERVICE_BANK + part;
  return name;
}

patu_service part_value(const Record& record, std::uint32_t part) noexcept {
  patu_service value{};
  if (part == 0) value = record.head;
  std::fill(std::begin(value.frontends), std::end(value.frontends), patu_listed_frontend{});
  const std::size_t first = std::min<std::size_t>(record.frontends.size(), std::size_t{part} * PATU_SERVICE_FRONTENDS);
  const std::size_t count = std::min<std::size_t>(record.frontends.size() - first, PATU_SERVICE_FRONTENDS);
  std::copy_n(record.frontends.begin() + static_cast<std::ptrdiff_t>(first), count, value.frontends);
  return value;
}

Extent extent_of(const patu_service& head) noexcept { return {head.base, slots_of(head)}; }

Error map_is_full(const char* map, std::uint64_t used, std::uint64_t limit, std::uint64_t needed) {
  return Error(Errc::exhausted, std::string("map ") + map + " is full: " + std::to_string(used) + " of " +
                                    std::to_string(limit) + " entries are used, " + std::to_string(needed) +
                                    " more are needed (DatapathOptions::max_services)");
}

Result<patu_service_table> Store::table() const {
  return bpf::Element<patu_service_table>(instance_->map_fd(bpf::MapId::service_table), "service_table").get();
}

Result<> Store::put_table(const patu_service_table& table) const {
  return bpf::Element<patu_service_table>(instance_->map_fd(bpf::MapId::service_table), "service_table").put(table);
}

Result<std::uint32_t> Store::max_entries(bpf::MapId map) const {
  std::uint32_t& known = max_entries_[static_cast<std::size_t>(map)];
  if (known != 0) return known;
  PATU_TRY_LET(info, bpf::inspect<bpf_map_info>(instance_->map_fd(map), "inspect a map of services"));
  return known = info.max_entries;
}

Result<std::optional<Record>> Store::record(const patu_service_key& name) const {
  PATU_TRY_LET(head, instance_->services().lookup(name), "services");
  if (!head) return std::optional<Record>{};
  PATU_TRY_LET(record,
               assemble(name, *head, [&](const patu_service_key& key) { return instance_->services().lookup(key); }));
  return std::optional<Record>(std::move(record));
}

Result<std::vector<Stored>> Store::records() const {
  std::vector<Part> parts;
  PATU_TRY(instance_->services().visit([&](const patu_service_key& key, const patu_service& value) -> Result<> {
    parts.emplace_back(key, value);
    return {};
  }),
           "services");
  std::vector<const Part*> sorted;
  sorted.reserve(parts.size());
  for (const Part& part : parts) sorted.push_back(&part);
  std::sort(sorted.begin(), sorted.end(),
            [](const Part* a, const Part* b) { return comes_before(a->first, b->first); });
  const auto find = [&](const patu_service_key& key) -> Result<std::optional<patu_service>> {
    const auto at =
        std::lower_bound(sorted.begin(), sorted.end(), key,
                         [](const Part* part, const patu_service_key& k) { return comes_before(part->first, k); });
    if (at == sorted.end() || comes_before(key, (*at)->first)) return std::optional<patu_service>{};
    return std::optional<patu_service>((*at)->second);
  };
  std::vector<Stored> stored;
  stored.reserve(parts.size());
  for (const Part* part : sorted) {
    if (part->first.part != 0) continue;
    PATU_TRY_LET(record, assemble(part->first, part->second, find));
    stored.push_back({part->first, std::move(record)});
  }
  return stored;
}

Result<> Store::visit_heads(FunctionRef<Result<>(const patu_service_key&, const patu_service&)> visit) const {
  PATU_TRY(instance_->services().visit([&](const patu_service_key& key, const patu_service& value) -> Result<> {
    return key.part == 0 ? visit(key, value) : Result<>{};
  }),
           "services");
  return {};
}

Result<std::string> Store::name_of_id(std::uint32_t service_id) const {
  std::string name;
  PATU_TRY(visit_heads([&](const patu_service_key& key, const patu_service& head) -> Result<> {
    if (head.id == service_id) name = name_of(key);
    return {};
  }));
  return name;
}

}  // namespace patu::services
