// The clock that goes on while the machine sleeps, and that programs in the kernel read too.
#pragma once

#include <chrono>
#include <ctime>

namespace patu {

// CLOCK_BOOTTIME.
inline std::chrono::nanoseconds boot_time() noexcept {
  timespec now{};
  (void)::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

}  // namespace patu
