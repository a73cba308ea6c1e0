// libbpf maps the ring and follows its protocol; the events are translated here.
#include "services/events.hpp"

#include <arpa/inet.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/try.hpp"
#include "bpf/silence.hpp"
#include "names.hpp"
#include "services/stats.hpp"

namespace patu::services {
namespace {

// A writer that is busy is not waited for longer by somebody who only goes.
constexpr std::chrono::milliseconds kFarewellPatience{200};

Result<> want_events(const Store& store, bool wanted, std::chrono::milliseconds patience) {
  PATU_TRY_LET(held, store.instance().lock_services(patience));
  PATU_TRY_LET(table, store.table());
  table.wants_events = wanted ? 1 : 0;
  return store.put_table(table);
}

ServiceEvent to_event(const patu_event& raw) {
  ServiceEvent event;
  event.kind = static_cast<ServiceEvent::Kind>(raw.kind);
  event.frontend.endpoint = {to_address(raw.frontend.addr), ntohs(raw.frontend.port)};
  event.frontend.protocol = static_cast<Protocol>(raw.frontend.protocol);
  event.netns_cookie = raw.netns_cookie;
  // libstdc++ and libc++: steady_clock is CLOCK_MONOTONIC.
  event.time = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(raw.ns));
  return event;
}

}  // namespace

void EventReader::Close::operator()(ring_buffer* ring) const noexcept { ring_buffer__free(ring); }

Result<std::unique_ptr<EventReader>> EventReader::open(std::shared_ptr<bpf::Instance> instance) {
  PATU_TRY_LET(lock, instance->lock_events());
  std::unique_ptr<EventReader> reader(new EventReader(std::move(instance), std::move(lock)));
  PATU_TRY(reader->listen());
  return reader;
}

Result<> EventReader::listen() {
  PATU_TRY_LET(bytes, store_.max_entries(bpf::MapId::events));
  raw_.reserve(bytes / sizeof(patu_event));
  PATU_TRY_LET(events_fd, store_.instance().open_map(bpf::MapId::events));
  {
    const bpf::Silence silence;
    ring_.reset(ring_buffer__new(events_fd, on_event, this, nullptr));
    if (!ring_) return PATU_FAIL_ERRNO("map the ring buffer of events");
  }
  // Of nobody's time: from a reader that was killed.
  PATU_TRY(drain());
  return want_events(store_, true, kLockPatience);
}

EventReader::~EventReader() {
  if (ring_) (void)want_events(store_, false, kFarewellPatience);
}

int EventReader::fd() const noexcept { return ring_buffer__epoll_fd(ring_.get()); }

// Called by C: allocates nothing, so that nothing is thrown through it.
int EventReader::on_event(void* reader, void* event, std::size_t size) noexcept {
  std::vector<patu_event>& raw = static_cast<EventReader*>(reader)->raw_;
  if (size < sizeof(patu_event)) return 0;  // no event of ours
  patu_event copy;
  std::memcpy(&copy, event, sizeof copy);
  raw.push_back(copy);
  // What is still there is for the next read(): fd() stays readable.
  return raw.size() < raw.capacity() ? 0 : -ENOBUFS;
}

Result<> EventReader::drain() {
  raw_.clear();
  const int drained = ring_buffer__consume(ring_.get());
  if (drained < 0 && drained != -ENOBUFS) return fail_errno(drained, "read events");
  return {};
}

Result<std::vector<ServiceEvent>> EventReader::read() {
  PATU_TRY(drain());
  std::vector<ServiceEvent> out;
  if (raw_.empty()) return out;
  PATU_TRY_LET(names, names_of_ids(store_), "names of services");
  for (const patu_event& raw : raw_) {
    ServiceEvent& event = out.emplace_back(to_event(raw));
    if (const auto name = names.find(raw.service_id); name != names.end()) event.service = name->second;
  }
  return out;
}

}  // namespace patu::services
