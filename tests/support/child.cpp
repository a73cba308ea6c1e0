// Children of a kernel test: forked into a namespace and a cgroup, bounded in time, dead when the test is.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "base/unique_fd.hpp"
#include "sandbox.hpp"

namespace patu::test {
namespace {

constexpr int kExitNotStarted = 125;
constexpr int kNoNetns = -1;
constexpr unsigned kCommandSeconds = 60;

[[noreturn]] void give_up(const char* step) {
  std::fprintf(stderr, "child of a kernel test: %s: %s\n", step, std::strerror(errno));
  std::fflush(nullptr);
  ::_exit(kExitNotStarted);
}

// Both bounds survive execve(2).
void bound_life(pid_t parent, unsigned seconds) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) give_up("PR_SET_PDEATHSIG");
  if (::getppid() != parent) ::_exit(kExitNotStarted);  // it died before it could be watched
  ::signal(SIGALRM, SIG_DFL);
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  ::sigprocmask(SIG_UNBLOCK, &alarm_only, nullptr);
  ::alarm(seconds);
}

void join_cgroup() {
  const UniqueFd procs(::open((cgroup_path() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!procs) give_up("open cgroup.procs");
  if (::write(procs.get(), "0", 1) != 1) give_up("join the cgroup");
}

// An exception (doctest's REQUIRE throws one) is a failure of the body, and must not unwind into the parent's stack.
bool succeeds(const std::function<bool()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child of a kernel test: %s\n", error.what());
  } catch (...) {
    std::fprintf(stderr, "child of a kernel test: ended by an exception\n");
  }
  return false;
}

pid_t start(int netns_fd, bool in_cgroup, const std::function<bool()>& body, unsigned seconds) {
  std::fflush(nullptr);  // or the child would print the parent's buffer once more
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) std::fprintf(stderr, "fork: %s\n", std::strerror(errno));
  if (pid != 0) return pid;
  bound_life(parent, seconds);
  if (in_cgroup) join_cgroup();
  if (netns_fd != kNoNetns && ::setns(netns_fd, CLONE_NEWNET) != 0) give_up("enter the network namespace");
  const bool ok = succeeds(body);
  std::fflush(nullptr);
  ::_exit(ok ? 0 : 1);
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got > 0) text.append(buffer.data(), static_cast<std::size_t>(got));
    if (got == 0 || (got < 0 && errno != EINTR)) return text;
  }
}

std::string run_command(int netns_fd, const std::string& command) {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = start(
      netns_fd, false,
      [&] {
        if (::dup2(writer.get(), STDOUT_FILENO) < 0) give_up("dup2");
        ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
        give_up("execute /bin/sh");
        return false;
      },
      kCommandSeconds);
  if (pid < 0) return {};
  writer = UniqueFd();
  std::string text = read_all(reader.get());
  if (const int status = wait_for(pid); status == kExitNotStarted || status > 128) {
    std::fprintf(stderr, "'%s' ended with status %d\n", command.c_str(), status);
  }
  return text;
}

}  // namespace

pid_t start_in(const Netns& netns, bool in_cgroup, const std::function<bool()>& body, unsigned seconds) {
  return start(netns.fd(), in_cgroup, body, seconds);
}

int run_in(const Netns& netns, bool in_cgroup, const std::function<bool()>& body, unsigned seconds) {
  return wait_for(start_in(netns, in_cgroup, body, seconds));
}

int wait_for(pid_t pid) {
  int status = 0;
  if (pid <= 0) return kExitNotStarted;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return kExitNotStarted;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string output_of(const std::string& command) { return run_command(kNoNetns, command); }
std::string output_in(const Netns& netns, const std::string& command) { return run_command(netns.fd(), command); }

}  // namespace patu::test
