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
  explicit Candidates(const Subnet& subnet) : subnet_(subnet), cursor_(*subnet.first) {}

  // Starts again with what the maps say now.
  void reset(std::set<IpAddress> leased, std::set<Released> released);
  void add_released(const Released& released);

  // The next address to try: the one released longest ago if it has rested; else one that was never used; else, if the
  // caller wants that too, the one released longest ago. Each is offered once.
  std::optional<Offer> next(BootTime now, bool unrested);

 private:
  std::optional<Offer> pop_released();
  std::optional<Offer> next_unused();

  Subnet subnet_;
  std::optional<IpAddress> cursor_;  // empty: at the end
  std::set<IpAddress> known_;        // leased or released: not for the cursor
  std::set<Released> released_;      // in the order of their times
};

}  // namespace patu::ipam
