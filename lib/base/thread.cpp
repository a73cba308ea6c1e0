// The throw-away thread: signals blocked before it starts, its exception handed to the caller after it has ended.
#include "base/thread.hpp"

#include <sched.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <system_error>
#include <thread>

#include "base/try.hpp"

namespace patu {
namespace {

// The new thread inherits the mask, so that there is no moment in which it can take a signal.
class SignalsBlocked final {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Result<> on_thread(FunctionRef<Result<>()> work) {
  Result<> result;
  std::exception_ptr thrown;
  {
    std::thread thread;
    {
      const SignalsBlocked blocked;
      try {
        thread = std::thread([&] {
          try {
            result = work();
          } catch (...) {
            thrown = std::current_exception();
          }
        });
      } catch (const std::system_error& error) {  // a limit on processes, such as the cgroup's pids.max
        return fail_errno(error.code().value(), "start a thread");
      }
    }
    thread.join();
  }
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

Result<> in_netns(int netns_fd, FunctionRef<Result<>()> work) {
  return on_thread([&]() -> Result<> {
    if (::setns(netns_fd, CLONE_NEWNET) != 0) return PATU_FAIL_ERRNO("enter network namespace");
    return work();
  });
}

}  // namespace patu
