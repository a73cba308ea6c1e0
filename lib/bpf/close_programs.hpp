// The iterators that find and close sockets of stale backends (bpf/close.bpf.c). They live as long as this object.
#pragma once

#include <compare>
#include <cstdint>
#include <set>

#include "base/unique_fd.hpp"
#include "bpf/instance.hpp"

namespace patu::bpf {

struct StaleSockets {
  struct Place {
    std::uint64_t netns_inode;
    std::uint8_t protocol;

    auto operator<=>(const Place&) const noexcept = default;
  };
  std::set<Place> places;
  bool connecting = false;  // some socket was given such a backend, and is not connected to it yet (or not any more)
};

class [[nodiscard]] ClosePrograms final {
 public:
  // Errors: unsupported (bpf_sock_destroy and the iterators, Linux 6.5 with BTF), permission_denied (CAP_BPF, CAP_PERFMON), io.
  static Result<ClosePrograms> load(const Instance& instance);

  // Errors: io.
  Result<StaleSockets> find() const;
  // Closes those of the calling thread's namespace; returns how many. Errors: io.
  Result<std::uint32_t> close_here(std::uint8_t protocol) const;

 private:
  ClosePrograms() = default;
  // Links: who holds one holds its program.
  UniqueFd find_;
  UniqueFd udp_;
  UniqueFd tcp_;
};

}  // namespace patu::bpf
