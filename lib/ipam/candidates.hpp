// In which order a pool tries its free addresses. No I/O: what it knows is told to it, and an insert elsewhere decides.
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "patu/ipam.hpp"

namespace patu::ipam {

using BootTime = std::chrono::nanoseconds;  // CLOCK_BOOTTIME

// A late packet for the old holder of an address is gone by then; nothing prefers an older one to a fresh one before.
inline constexpr BootTime kRest = std::chrono::seconds{60};

struct Released {
  BootTime at;
  IpAddress address;
  auto operator<=>(const Released&) const noexcept = default;
};

// An address to try, and when it was released as far as is known; empty if it was never used.
struct Offer {
  IpAddress address;
  std::optional<BootTime> released;
  bool operator==(const Offer&) const noexcept = default;
};

class Candidates final {
 public:
  // A subnet that complete() has made.
  explicit Candidates(const Subnet& subnet) : subnet_(subnet), start_(*subnet.first), cursor_(start_) {}

  // Starts again with what the maps say now; those that were never used are offered from `start` on, once around.
  void reset(std::set<IpAddress> leased, std::set<Released> released, const IpAddress& start);
  void add_released(const Released& released);

  // The next address to try: the one released longest ago if it has rested; else one that was never used; else, if the
  // caller wants that too, the one released longest ago. Each is offered once.
  std::optional<Offer> next(BootTime now, bool unrested);
  // The next one that was never used.
  std::optional<IpAddress> next_unused();

 private:
  std::optional<Offer> pop_released();
  void pass(const IpAddress& address);

  Subnet subnet_;
  IpAddress start_;
  std::optional<IpAddress> cursor_;  // empty: at `start_` again
  std::set<IpAddress> known_;        // leased or released: not for the cursor
  std::set<Released> released_;      // in the order of their times
};

}  // namespace patu::ipam
