// By ptrace for a system call's number, by a signal for a time.
#include "killing.hpp"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "sandbox.hpp"

namespace patu::test {
namespace {

constexpr int kStopOfSystemCall = SIGTRAP | 0x80;  // PTRACE_O_TRACESYSGOOD

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

pid_t start_traced(const Netns& netns, const std::function<bool()>& body) {
  const pid_t child = start_in(netns, false, [&] {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0 || ::raise(SIGSTOP) != 0) return false;
    return body();
  });
  int status = 0;
  require(::waitpid(child, &status, 0) == child && WIFSTOPPED(status), "the child did not stop");
  require(::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0, "ptrace");
  return child;
}

// To where its next system call begins or ends; the first time to the way out of raise(). False: it has ended, as it should.
bool go_on(pid_t child) {
  int status = 0;
  require(::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0, "ptrace");
  require(::waitpid(child, &status, 0) == child, "waitpid");
  if (WIFEXITED(status)) {
    require(WEXITSTATUS(status) == 0, "the child failed");
    return false;
  }
  require(WIFSTOPPED(status) && WSTOPSIG(status) == kStopOfSystemCall, "the child stopped elsewhere");
  return true;
}

}  // namespace

bool kill_before(const Netns& netns, unsigned call, const std::function<bool()>& body) {
  const pid_t child = start_traced(netns, body);
  for (unsigned stops = 0; stops < 2 * call; ++stops)
    if (!go_on(child)) return false;
  ::kill(child, SIGKILL);
  int status = 0;
  require(::waitpid(child, &status, 0) == child && WIFSIGNALED(status), "the child was not killed");
  return true;
}

unsigned count_calls(const Netns& netns, const std::function<bool()>& body) {
  const pid_t child = start_traced(netns, body);
  unsigned stops = 0;
  while (go_on(child)) ++stops;
  return (stops + 1) / 2;
}

bool kill_after(const Netns& netns, unsigned microseconds, const std::function<bool()>& body) {
  const pid_t child = start_in(netns, false, body);
  ::usleep(microseconds);
  ::kill(child, SIGKILL);
  int status = 0;
  require(::waitpid(child, &status, 0) == child, "waitpid");
  require(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "the child failed");
  return WIFSIGNALED(status);
}

}  // namespace patu::test
