// Waits for an flock(2) by asking again and again: a blocking one could not be bounded without a signal.
#include "base/file_lock.hpp"

#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/try.hpp"

namespace patu {

Result<FileLock> FileLock::acquire(UniqueFd fd, std::chrono::milliseconds patience) {
  using std::chrono::steady_clock;
  const auto deadline = steady_clock::now() + patience;
  std::chrono::microseconds pause{50};
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return PATU_FAIL_ERRNO("flock");
    if (steady_clock::now() >= deadline) return fail(Errc::timed_out, "another process holds the lock");
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds{2000});
  }
  return FileLock(std::move(fd));
}

// Explicitly: a child that another thread forked meanwhile shares the lock, and would keep it.
FileLock::~FileLock() {
  if (fd_) (void)::flock(fd_.get(), LOCK_UN);
}

}  // namespace patu
