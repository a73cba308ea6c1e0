// One process that syncs and ends, so that strace can count its system calls, and the kernel its memory.
//
// Called by services_sync_bench and services_memory_bench: services_sync_once BPFFS CGROUP SERVICES STEPS, where STEPS is a
// sequence of F (sync of all services), C (the same with one endpoint less in one service), U (that by upsert, and back).
// Prints for each its time on the clock and on the processor, and at the end what the process needed of memory.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "contest.hpp"
#include "many_services.hpp"

using namespace patu;
using namespace patu::test;

namespace {

double cpu_ms(const timeval& time) {
  return static_cast<double>(time.tv_sec) * 1000 + static_cast<double>(time.tv_usec) / 1000;
}

std::uint64_t peak_rss_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6));
  give_up("VmHWM");
}

void step(ServiceTable& table, std::vector<Service>& services, char what) {
  rusage before{};
  rusage after{};
  if (what == 'C') services[services.size() / 2].backends.pop_back();
  (void)::getrusage(RUSAGE_SELF, &before);
  const auto begin = Clock::now();
  if (what == 'U') {
    Service changed = services[services.size() / 2];
    changed.backends.pop_back();
    must(table.upsert(changed));
    must(table.upsert(services[services.size() / 2]));
  } else {
    must(table.sync(services));
  }
  const double ms = ms_since(begin);
  (void)::getrusage(RUSAGE_SELF, &after);
  std::printf("  step %c: %8.2f ms, user %8.2f ms, system %8.2f ms\n", what, ms,
              cpu_ms(after.ru_utime) - cpu_ms(before.ru_utime), cpu_ms(after.ru_stime) - cpu_ms(before.ru_stime));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) give_up("services_sync_once BPFFS CGROUP SERVICES STEPS");
  DatapathOptions options;
  options.instance = "test";
  options.bpffs = argv[1];
  options.cgroup = argv[2];
  const Datapath datapath = take(Datapath::open(options));
  ServiceTable table = take(ServiceTable::open(datapath));
  std::vector<Service> services = many_services(static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  const std::uint64_t before_kib = peak_rss_kib();
  for (const char* what = argv[4]; *what != 0; ++what) step(table, services, *what);
  std::printf("  peak RSS %llu KiB, of them %llu KiB before the first step (with the %zu services wanted)\n",
              static_cast<unsigned long long>(peak_rss_kib()), static_cast<unsigned long long>(before_kib),
              services.size());
  return 0;
}
