// An advisory lock that dies with its holder, and that nobody waits for without a bound.
#pragma once

#include <chrono>

#include "base/unique_fd.hpp"
#include "patu/error.hpp"

namespace patu {

// How long a call waits for another process that works on the same object.
inline constexpr std::chrono::milliseconds kLockPatience{10'000};

class [[nodiscard]] FileLock final {
 public:
  // Takes over an open descriptor (not O_PATH) and locks what it refers to. Errors: timed_out, io.
  static Result<FileLock> acquire(UniqueFd fd, std::chrono::milliseconds patience = kLockPatience);

  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) noexcept = default;
  ~FileLock();

  int fd() const noexcept { return fd_.get(); }

 private:
  explicit FileLock(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace patu
