// One pass over the sockets of stale backends, by either way.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <cstring>
#include <set>

#include "bpf/close_programs.hpp"
#include "patu/services.hpp"
#include "patu_maps.h"
#include "services/namespaces.hpp"

namespace patu::services {

struct StaleLess {
  bool operator()(const patu_stale_key& a, const patu_stale_key& b) const noexcept {
    return std::memcmp(&a, &b, sizeof a) < 0;
  }
};

struct ClosingPass {
  std::set<patu_stale_key, StaleLess> stale;
  ClosedSockets report;
  bool is_complete = true;  // no socket is left

  bool has_tcp() const noexcept {
    for (const patu_stale_key& key : stale)
      if (key.protocol == IPPROTO_TCP) return true;
    return false;
  }
};

// What closes makes place for what was hidden behind it.
inline constexpr unsigned kClosingRounds = 4;

// Errors: io.
Result<> close_by_iterators(const bpf::ClosePrograms& programs, KnownNamespaces& namespaces, ClosingPass& pass);
// Errors: unsupported (CONFIG_INET_DIAG_DESTROY, CONFIG_INET_UDP_DIAG, pidfd_getfd of Linux 5.6), busy, timed_out, io.
Result<> close_by_sock_diag(int connected_fd, ClosingPass& pass);

}  // namespace patu::services
