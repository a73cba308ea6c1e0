// What the programs tell through the ring buffer `events`, while somebody wants to hear it.
#pragma once

#include <memory>
#include <vector>

#include "patu/services.hpp"
#include "services/store.hpp"

struct ring_buffer;

namespace patu::services {

// Holds the lock of the one reader and `wants_events` in the table; gives both back when it goes. One that was killed leaves the
// flag: the ring then fills, the programs go on without, and the next reader throws away what it finds.
class EventReader final {
 public:
  // Errors: busy, timed_out, io.
  static Result<std::unique_ptr<EventReader>> open(std::shared_ptr<bpf::Instance> instance);
  EventReader(const EventReader&) = delete;
  EventReader& operator=(const EventReader&) = delete;
  ~EventReader();

  int fd() const noexcept;
  Result<std::vector<ServiceEvent>> read();

 private:
  EventReader(std::shared_ptr<bpf::Instance> instance, FileLock lock) noexcept
      : store_(std::move(instance)), lock_(std::move(lock)) {}
  Result<> listen();
  Result<> drain();
  static int on_event(void* reader, void* event, std::size_t size) noexcept;

  struct Close {
    void operator()(ring_buffer* ring) const noexcept;
  };
  Store store_;
  FileLock lock_;
  std::unique_ptr<ring_buffer, Close> ring_;
  std::vector<patu_event> raw_;  // of one drain(); its capacity is all that fits into the ring
};

}  // namespace patu::services
