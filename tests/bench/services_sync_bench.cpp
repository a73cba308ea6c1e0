// What it costs to write services: all of them, the same again, and one endpoint; beside nft and iptables.
//
// Run as root: services_sync_bench [--services=10000] [--rounds=5] [--full] [--rules=0] [--calls=0]. In each round: a new
// instance, sync of all services (ten backends each) into the empty table, the same sync again, a sync with one endpoint less,
// upserts that take one endpoint out and put it back, a list, a sync that changes all, and one that removes all. In between,
// in network namespaces of their own, nft and iptables-restore take rules of the same content and of the same change: 1 000
// services, and with --full as many as patu (10 000 cost nft minutes, so they are measured in the first round alone). Prints
// medians over rounds, ratios to patu with as many services, patu's time on the processor, and, if strace is there, the system
// calls of one process that syncs. Leaves nothing behind.
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <map>

#include "contest.hpp"
#include "kube_rules.hpp"
#include "many_services.hpp"

using namespace patu;
using namespace patu::test;

namespace {

struct Settings {
  std::uint32_t services;
  unsigned rounds;
  bool full;
  bool rules;
  bool calls;
};

// Of one thing that was done, every time that it was.
struct Times {
  std::vector<double> ms;
  std::vector<double> processor_ms;  // of this process; for tools they are not known
};
using AllTimes = std::map<std::string, Times>;

std::string of(std::uint32_t services, const std::string& what) {
  return std::to_string(services) + " services: " + what;
}

double processor_ms() {
  timespec now{};
  (void)::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void time_sync(ServiceTable& table, const std::vector<Service>& services, std::size_t differences, Times& into) {
  const double processor = processor_ms();
  const auto begin = Clock::now();
  const SyncReport report = take(table.sync(services, {.allow_empty = true}));
  into.ms.push_back(ms_since(begin));
  into.processor_ms.push_back(processor_ms() - processor);
  if (report.added.size() + report.changed.size() + report.removed.size() != differences)
    give_up("sync made another number of changes");
}

void time_upserts(ServiceTable& table, const Service& whole, Times& into) {
  Service less = whole;
  less.backends.pop_back();
  for (int i = 0; i < 200; ++i) {
    const auto begin = Clock::now();
    must(table.upsert(i % 2 == 0 ? less : whole));
    into.ms.push_back(ms_since(begin));
  }
}

void time_patu(std::uint32_t count, AllTimes& times) {
  const ServiceLab lab(room_for(count));
  ServiceTable table = lab.open_table();
  std::vector<Service> services = many_services(count);
  time_sync(table, services, count, times[of(count, "patu, all")]);
  time_sync(table, services, 0, times[of(count, "patu, the same again")]);
  Service& one = services[count / 2];
  const Service whole = one;
  one.backends.pop_back();
  time_sync(table, services, 1, times[of(count, "patu, one endpoint by sync")]);
  time_upserts(table, whole, times[of(count, "patu, one endpoint by upsert")]);
  const auto begin = Clock::now();
  if (take(table.list()).size() != count) give_up("list");
  times[of(count, "patu, list")].ms.push_back(ms_since(begin));
  for (Service& service : services) service.backends = backends_v4(1, kBackendsEach - 1);
  time_sync(table, services, count, times[of(count, "patu, all changed")]);
  time_sync(table, {}, count, times[of(count, "patu, all removed")]);
}

void time_rules(RuleTool tool, std::uint32_t count, AllTimes& times) {
  const Netns netns = make_rules_netns();
  const std::string name = name_of(tool);
  times[of(count, name + ", all")].ms.push_back(load_rules(tool, netns, rules_for(tool, count)).ms);
  times[of(count, name + ", one endpoint")].ms.push_back(load_rules(tool, netns, change_for(tool, count / 2)).ms);
}

void print_times(const AllTimes& times) {
  for (const auto& [what, of_what] : times) {
    const std::string services = what.substr(0, what.find(':'));
    const bool is_change = what.find("endpoint") != std::string::npos;
    const double patu = median(times.at(services + (is_change ? ": patu, one endpoint by upsert" : ": patu, all")).ms);
    const double ms = median(of_what.ms);
    std::printf("  %-46s %12.3f ms %12.2f x patu", what.c_str(), ms, ms / patu);
    if (!of_what.processor_ms.empty()) std::printf("   processor %8.2f ms", median(of_what.processor_ms));
    std::puts("");
  }
}

// Needs the process of its own that it counts.
void count_system_calls(std::uint32_t count) {
  if (output_of("command -v strace").empty()) {
    std::puts("skipped: no strace");
    return;
  }
  const std::string once = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "services_sync_once";
  const std::string rest = " " + once + " " + bpffs_path() + " " + cgroup_path() + " " + std::to_string(count) + " ";
  constexpr const char* kCommands = " | grep -o 'bpf(BPF_[A-Z_]*' | sort | uniq -c | sort -rn | head -n 8";
  constexpr std::array kSteps{std::pair{"F", "a full sync"}, std::pair{"FF", "two of them"},
                              std::pair{"FC", "one, and a change"}, std::pair{"FU", "one, and two upserts"}};
  for (const auto& [steps, what] : kSteps) {
    const ServiceLab lab(room_for(count));
    std::printf("System calls of %s, by bpf command (all of the process, its start included):\n", what);
    std::fputs(
        output_of("strace -f -e trace=bpf -o '|cat >&3'" + rest + steps + " 3>&1 >/dev/null" + kCommands).c_str(),
        stdout);
  }
  const ServiceLab lab(room_for(count));
  std::puts("Time of the same without strace:");
  std::fputs(output_of(rest + "FFCU").c_str(), stdout);
}

int run(const Settings& settings) {
  AllTimes times;
  std::vector<std::uint32_t> sizes{1000};
  if (settings.services != 1000) sizes.push_back(settings.services);
  for (unsigned round = 0; round < settings.rounds; ++round)
    for (const std::uint32_t count : sizes) {
      time_patu(count, times);
      if (!settings.rules || (count > 1000 && (round > 0 || !settings.full))) continue;
      for (const RuleTool tool : {RuleTool::iptables_legacy, RuleTool::iptables_nft, RuleTool::nft})
        if (const auto why = missing(tool))
          std::puts(why->c_str());
        else
          time_rules(tool, count, times);
    }
  print_times(times);
  if (settings.calls) count_system_calls(settings.services);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings{static_cast<std::uint32_t>(option(argc, argv, "services", 10'000)),
                          static_cast<unsigned>(option(argc, argv, "rounds", 5)), option(argc, argv, "full", 0) != 0,
                          option(argc, argv, "rules", 1) != 0, option(argc, argv, "calls", 1) != 0};
  if (const int refused = enter_sandbox(); refused != 0) return refused;
  const int status = run(settings);
  return leave_sandbox() ? status : 1;
}
