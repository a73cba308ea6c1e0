// Closes sockets that talk to backends which were taken out of their services: those that the journal `stale` lists.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bpf/close_programs.hpp"
#include "bpf/instance.hpp"
#include "patu/services.hpp"
#include "services/closing_pass.hpp"

namespace patu::services {

enum class ClosingWay : std::uint8_t {
  automatic,  // the first that the kernel and our privileges allow
  iterators,  // BPF iterators and bpf_sock_destroy: Linux 6.5 with BTF, CAP_PERFMON
  sock_diag,  // SOCK_DESTROY: CONFIG_INET_DIAG_DESTROY; what was remembered of a socket is read by pidfd_getfd, Linux 5.6
};

// Closed is what our hooks translated to such a backend, for that very service, and is connected to it now; nothing is closed on
// a guess. Programs are loaded when there is first something to close, kept as long as this object, and never pinned.
//
// An entry of the journal goes when no socket is left that it asks to close. If one is left that cannot be reached (a process
// that may not be looked into, in a namespace that is no other's), the entry stays for the next pass, but not for ever: it goes
// with the first pass that is ten minutes after its first one, or that finds the journal more than half full, because a
// journal that is full would keep services from changing. Such sockets then live until their owners close them.
class Closer final {
 public:
  // Borrows the instance, which outlives it.
  explicit Closer(const bpf::Instance& instance, ClosingWay way = ClosingWay::automatic) noexcept
      : instance_(instance), way_(way) {}

  // Call it under lock_services, after the frontends have gone over. Writes service_table.stale_entries: read the table again
  // afterwards. With an empty journal it is one system call.
  // Errors: unsupported (the journal is emptied: nobody will ever be able to), permission_denied, timed_out, io (it is as
  // it was).
  Result<ClosedSockets> close_stale();

 private:
  struct Entry {
    patu_stale_key key;
    std::uint32_t since_s;  // CLOCK_BOOTTIME of the first pass that could not finish with it; 0: there was none
  };

  Result<std::vector<Entry>> read_journal() const;
  Result<> run(ClosingPass& pass);
  Result<> load_programs();
  Result<> settle(const std::vector<Entry>& entries, bool is_complete) const;

  const bpf::Instance& instance_;
  ClosingWay way_;
  std::optional<bpf::ClosePrograms> programs_;
  KnownNamespaces namespaces_;
};

}  // namespace patu::services
