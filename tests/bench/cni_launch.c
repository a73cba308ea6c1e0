// Runs one program and tells how long it took and how much memory it had: in so small a process that its own memory, which a
// child counts as its peak until it executes something else, does not matter. Linked statically where that is possible.
//
// cni_launch PROGRAM runs it with the same environment and descriptors, and writes a struct launched to descriptor 3.
// cni_launch alone does nothing: the floor of all programs.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cni_launch.h"

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int main(int argc, char** argv) {
  if (argc < 2) return 0;
  char* arguments[] = {argv[1], NULL};
  if (fcntl(LAUNCHED_FD, F_SETFD, FD_CLOEXEC) != 0) return 1;
  const uint64_t begin = now_ns();
  const pid_t pid = vfork();
  if (pid == 0) {
    execv(argv[1], arguments);
    _exit(127);
  }
  struct rusage usage;
  int status = 0;
  if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) return 1;
  const struct launched out = {now_ns() - begin, (uint64_t)usage.ru_maxrss, (uint64_t)status};
  return write(LAUNCHED_FD, &out, sizeof out) == (ssize_t)sizeof out ? 0 : 1;
}
