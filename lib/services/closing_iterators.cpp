// One look at all sockets that were ever translated tells which namespaces are to be entered: mostly none.
#include <chrono>
#include <thread>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "services/closing_pass.hpp"
#include "services/namespaces.hpp"

namespace patu::services {
namespace {

using bpf::StaleSockets;

// What is between the hook and the kernel's connect has a moment to get there.
constexpr unsigned kMoments = 10;
constexpr std::chrono::microseconds kMoment{50};

class Iterating final {
 public:
  Iterating(const bpf::ClosePrograms& programs, KnownNamespaces& namespaces, ClosingPass& pass) noexcept
      : programs_(programs), namespaces_(namespaces), pass_(pass) {}

  Result<> run() {
    StaleSockets left;
    unsigned moments = 0;
    for (unsigned round = 0; round < kClosingRounds;) {
      PATU_TRY_LET(found, programs_.find());
      left = std::move(found);
      if (left.places.empty() && !left.connecting) break;
      PATU_TRY_LET(closed, close(left));
      if (closed != 0) {
        ++round;
        continue;
      }
      if (!left.connecting || moments++ == kMoments) break;
      std::this_thread::sleep_for(kMoment);
    }
    std::set<std::uint64_t> unreached;
    for (const StaleSockets::Place& place : left.places)
      if (!entered_.contains(place.netns_inode)) unreached.insert(place.netns_inode);
    pass_.report.namespaces = static_cast<std::uint32_t>(entered_.size());
    pass_.report.unreachable = static_cast<std::uint32_t>(unreached.size());
    pass_.is_complete = unreached.empty() && !left.connecting;
    return {};
  }

 private:
  Result<std::uint32_t> close(const StaleSockets& found) {
    std::uint32_t closed = 0;
    std::set<std::uint64_t> inodes;
    for (const StaleSockets::Place& place : found.places) inodes.insert(place.netns_inode);
    const auto enter = [&](int netns_fd, std::uint64_t inode) -> Result<> {
      const bool udp = found.places.contains({inode, IPPROTO_UDP});
      const bool tcp = found.places.contains({inode, IPPROTO_TCP});
      auto done = in_netns(netns_fd, [&]() -> Result<> {
        entered_.insert(inode);
        if (udp) PATU_TRY(close_here(IPPROTO_UDP, closed));
        return tcp ? close_here(IPPROTO_TCP, closed) : Result<>();
      });
      // One that may not be entered keeps none of the others.
      if (!done && done.error().code() == Errc::permission_denied && !entered_.contains(inode)) return {};
      return done;
    };
    PATU_TRY(namespaces_.visit(inodes, enter));
    pass_.report.closed += closed;
    return closed;
  }

  Result<> close_here(std::uint8_t protocol, std::uint32_t& closed) const {
    PATU_TRY_LET(count, programs_.close_here(protocol));
    closed += count;
    return {};
  }

  const bpf::ClosePrograms& programs_;
  KnownNamespaces& namespaces_;
  ClosingPass& pass_;
  std::set<std::uint64_t> entered_;  // by inode number
};

}  // namespace

Result<> close_by_iterators(const bpf::ClosePrograms& programs, KnownNamespaces& namespaces, ClosingPass& pass) {
  return Iterating(programs, namespaces, pass).run();
}

}  // namespace patu::services
