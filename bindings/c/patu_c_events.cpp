// Events of services: a descriptor to wait on, and a list of what there is.
#include "handles.hpp"
#include "input.hpp"
#include "output.hpp"

struct patu_events : patu::c::List<patu_event> {};

struct patu_event_reader {
  patu::ServiceEvents events;
};

namespace {

using namespace patu;
using namespace patu::c;

patu_event convert_event(Arena& arena, const ServiceEvent& event) {
  const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(event.time.time_since_epoch());
  return {
      .struct_size = sizeof(patu_event),
      .service = arena.text_or_null(event.service),
      .netns_cookie = event.netns_cookie,
      .time_ns = static_cast<std::uint64_t>(time.count()),
      .frontend = to_c(event.frontend),
      .kind = static_cast<std::uint32_t>(event.kind),
      .reserved = 0,
  };
}

using Kind = ServiceEvent::Kind;
static_assert(static_cast<int>(Kind::no_backend) == PATU_EVENT_NO_BACKEND);
static_assert(static_cast<int>(Kind::retries_exhausted) == PATU_EVENT_RETRIES_EXHAUSTED);
static_assert(static_cast<int>(Kind::affinity_full) == PATU_EVENT_AFFINITY_FULL);
static_assert(static_cast<int>(Kind::out_of_memory) == PATU_EVENT_OUT_OF_MEMORY);
static_assert(static_cast<int>(Kind::peers_full) == PATU_EVENT_PEERS_FULL);

}  // namespace

patu_status patu_event_reader_open(const patu_service_table* table, patu_event_reader** reader, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_given(reader, "reader"));
    return hand_out(table->table.events(), reader);
  });
}

void patu_event_reader_close(patu_event_reader* reader) { delete reader; }

std::int32_t patu_event_reader_fd(const patu_event_reader* reader) {
  return reader == nullptr ? -1 : reader->events.fd();
}

patu_status patu_event_reader_read(patu_event_reader* reader, patu_events** events, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(reader, "reader"));
    PATU_TRY(check_given(events, "events"));
    PATU_TRY_LET(read, reader->events.read());
    *events = list_of<patu_events>(read, convert_event).release();
    return {};
  });
}

std::size_t patu_events_count(const patu_events* events) { return count_of(events); }
const patu_event* patu_events_at(const patu_events* events, std::size_t index) { return item_of(events, index); }
void patu_events_free(patu_events* events) { delete events; }
