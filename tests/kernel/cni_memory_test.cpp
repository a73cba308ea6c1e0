// What an executed ADD takes of memory at its peak.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>

#include "cni_lab.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// The fields of /proc/PID/status that are in kB.
std::map<std::string, unsigned long> memory_of(pid_t pid) {
  std::map<std::string, unsigned long> out;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.size() > 3 && line.compare(line.size() - 3, 3, " kB") == 0)
      out[line.substr(0, line.find(':'))] = std::stoul(line.substr(line.find(':') + 1));
  return out;
}

// As it is when the program is about to end. getrusage(2) would tell the peak of whoever forked it, too.
std::map<std::string, unsigned long> memory_at_end_of(const char* program, const char* input) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int in = ::open(input, O_RDONLY);
    const int out = ::open("/dev/null", O_WRONLY);
    if (::dup2(in, 0) == 0 && ::dup2(out, 1) == 1 && ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0)
      ::execl(program, program, nullptr);
    ::_exit(127);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSTOPPED(status));
  REQUIRE(::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL) == 0);
  std::map<std::string, unsigned long> memory;
  long signal = 0;  // what it stopped for, unless that is its end: withheld, an abort() would never end
  while (::ptrace(PTRACE_CONT, child, nullptr, signal) == 0 && ::waitpid(child, &status, 0) == child &&
         WIFSTOPPED(status)) {
    const bool ends = status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8);
    if (ends) memory = memory_of(child);
    signal = ends ? 0 : WSTOPSIG(status);
  }
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  return memory;
}

}  // namespace

TEST_CASE("an ADD that is executed stays small") {
  CniLab lab;
  lab.pod("first");
  lab.pod("a");
  lab.add("first");  // the instance is loaded
  std::ofstream("/run/config.json") << lab.config().dump();
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"CNI_COMMAND", "ADD"}, {"CNI_CONTAINERID", "a"}, {"CNI_NETNS", "/run/netns/a"}, {"CNI_IFNAME", "eth0"}})
    REQUIRE(::setenv(key.c_str(), value.c_str(), 1) == 0);
  auto memory = memory_at_end_of(std::getenv("PATU_CNI"), "/run/config.json");
  MESSAGE("at its peak ", memory["VmHWM"], " kB, of which ", memory["RssAnon"], " kB are its own");
  CHECK(memory["VmHWM"] > 0);
  CHECK(memory["VmHWM"] <= std::strtoul(PATU_CNI_MEMORY_KIB, nullptr, 10));
  CHECK(addresses_in("a") == "10.200.0.3/24 fd00:200::3/64");
}
