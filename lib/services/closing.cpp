// The journal, and which way to go.
#include "services/closing.hpp"

#include <algorithm>

#include "base/boot_time.hpp"
#include "base/try.hpp"
#include "bpf/info.hpp"

namespace patu::services {
namespace {

constexpr std::uint32_t kKeepSeconds = 600;

// Never zero, which is what an entry has before its first pass.
std::uint32_t boottime_s() noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(boot_time());
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(seconds.count()));
}

}  // namespace

Result<ClosedSockets> Closer::close_stale() {
  PATU_TRY_LET(entries, read_journal(), "read the journal of stale backends");
  if (entries.empty()) return ClosedSockets{};
  ClosingPass pass;
  for (const Entry& entry : entries) pass.stale.insert(entry.key);
  if (auto done = run(pass); !done) {
    // Where nobody can ever close a socket, the journal would only fill up.
    if (done.error().code() == Errc::unsupported)
      PATU_TRY(settle(entries, true), "clear the journal of stale backends");
    return fail(std::move(done.error()).context("close sockets of stale backends"));
  }
  PATU_TRY(settle(entries, pass.is_complete), "clear the journal of stale backends");
  return pass.report;
}

Result<std::vector<Closer::Entry>> Closer::read_journal() const {
  std::vector<Entry> entries;
  PATU_TRY(instance_.stale().visit([&](const patu_stale_key& key, std::uint32_t since_s) -> Result<> {
    entries.push_back({key, since_s});
    return {};
  }));
  return entries;
}

Result<> Closer::settle(const std::vector<Entry>& entries, bool is_complete) const {
  const auto stale = instance_.stale();
  PATU_TRY_LET(map, bpf::inspect<bpf_map_info>(stale.fd(), "inspect map stale"));
  const bool is_crowded = entries.size() > map.max_entries / 2;
  const std::uint32_t now_s = boottime_s();
  std::uint32_t kept = 0;
  for (const Entry& entry : entries) {
    const bool is_old = entry.since_s != 0 && now_s - entry.since_s >= kKeepSeconds;
    if (is_complete || is_crowded || is_old) {
      PATU_TRY(stale.erase(entry.key), "stale");
      continue;
    }
    ++kept;
    if (entry.since_s == 0) PATU_TRY(stale.put(entry.key, now_s), "stale");
  }
  const bpf::Element<patu_service_table> element(instance_.map_fd(bpf::MapId::service_table), "service_table");
  PATU_TRY_LET(table, element.get());
  if (table.stale_entries == kept) return {};
  table.stale_entries = kept;
  return element.put(table);
}

Result<> Closer::run(ClosingPass& pass) {
  if (way_ != ClosingWay::sock_diag && !programs_) PATU_TRY(load_programs());
  if (programs_) return close_by_iterators(*programs_, namespaces_, pass);
  return close_by_sock_diag(instance_.map_fd(bpf::MapId::connected), pass);
}

Result<> Closer::load_programs() {
  auto loaded = bpf::ClosePrograms::load(instance_);
  if (loaded) {
    programs_.emplace(std::move(*loaded));
    return {};
  }
  const Errc code = loaded.error().code();
  if (way_ == ClosingWay::iterators || (code != Errc::unsupported && code != Errc::permission_denied))
    return fail(std::move(loaded.error()));
  way_ = ClosingWay::sock_diag;
  return {};
}

}  // namespace patu::services
