// What a process pays that is executed for one call: time from its start to its end, and peak memory, by the number of leases.
//
// exec_bench EXEC_ONCE [ROUNDS] runs the programs of tests/bench/exec_once.cpp in a sandbox of its own; EXEC_ONCE may be
// several of them, separated by commas, and they take turns. Needs root.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "ipam/pool.hpp"
#include "names.hpp"
#include "patu/patu.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr const char* kPrefix = "10.0.0.0/8";
constexpr std::array kLeases{0U, 1000U, 10000U, 60000U};
constexpr std::array kSteps{"nothing", "adopt", "open", "acquire"};

[[noreturn]] void give_up(const std::string& why) {
  (void)std::fprintf(stderr, "exec_bench: %s\n", why.c_str());
  std::_Exit(1);
}

template <class T>
T take(Result<T> result) {
  if (!result) give_up(result.error().to_string());
  return std::move(*result);
}

struct Run {
  double microseconds;
  long kib;
};

Run run_once(const std::string& program, const std::string& step, const std::string& owner) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) give_up("pipe");
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  std::vector<std::string> words{program, step, bpffs_path(), cgroup_path(), kPrefix, owner};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto start = std::chrono::steady_clock::now();
  pid_t pid = 0;
  if (::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ) != 0) give_up("start " + program);
  int status = 0;
  ::waitpid(pid, &status, 0);
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
  ::posix_spawn_file_actions_destroy(&actions);
  if (status != 0) give_up(program + " failed");
  writer = UniqueFd();
  std::array<char, 32> text{};
  if (::read(reader.get(), text.data(), text.size() - 1) <= 0) give_up("no answer");
  return {taken.count(), std::strtol(text.data(), nullptr, 10)};
}

// As if so many pods had come one after the other: by another process than those that are measured.
void fill(const Datapath& datapath, unsigned from, unsigned to) {
  AddressPool pool = take(AddressPool::open(datapath, {*Prefix::parse(kPrefix)}));
  for (unsigned i = from; i < to; ++i) (void)take(pool.acquire(*AttachmentId::parse("lease-" + std::to_string(i))));
}

void measure(const std::vector<std::string>& programs, unsigned leases, int rounds) {
  static unsigned owners = 0;
  for (const char* step : kSteps) {
    std::vector<std::vector<Run>> runs(programs.size());
    for (int round = 0; round < rounds; ++round)
      for (std::size_t i = 0; i < programs.size(); ++i)
        runs[i].push_back(run_once(programs[i], step, "once-" + std::to_string(owners++)));
    for (std::size_t i = 0; i < programs.size(); ++i) {
      const auto middle = runs[i].begin() + rounds / 2;
      std::nth_element(runs[i].begin(), middle, runs[i].end(),
                       [](const Run& a, const Run& b) { return a.microseconds < b.microseconds; });
      std::printf("%-40s %6u leases  %-8s %9.0f us %6ld KiB\n", programs[i].c_str(), leases, step, middle->microseconds,
                  middle->kib);
    }
  }
}

int run(const std::vector<std::string>& programs, int rounds) {
  DatapathOptions options = datapath_options();
  options.max_pods = 100'000;
  const Datapath datapath = take(Datapath::open(options));
  unsigned filled = 0;
  for (const unsigned leases : kLeases) {
    fill(datapath, filled, leases);
    filled = std::max(filled, leases);
    measure(programs, leases, rounds);
  }
  return Datapath::unload(options, UnloadMode::force) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) give_up("exec_bench EXEC_ONCE[,…] [ROUNDS]");
  if (const int status = enter_sandbox(); status != 0) return status;
  std::vector<std::string> programs{""};
  for (const char* at = argv[1]; *at != '\0'; ++at)
    if (*at == ',')
      programs.emplace_back();
    else
      programs.back() += *at;
  const int status = run(programs, argc > 2 ? std::atoi(argv[2]) : 101);
  return leave_sandbox() ? status : 1;
}
