// What services cost in memory: the kernel's for 100, 1 000 and 10 000 of them, and that of the process which writes them.
//
// Run as root, best on a quiet machine: services_memory_bench [--full]. For each size, and beside it for iptables and nft
// with rules of the same content: what the kernel accounts to patu's maps beyond the empty table; and how much more of
// /proc/meminfo's Slab, Percpu and VmallocUsed there is, which counts whatever else happens on the machine. The peak of a
// process is its resident set. nft takes minutes to read 10 000 services, and is asked to only with --full. Leaves nothing
// behind.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

#include "contest.hpp"
#include "kube_rules.hpp"
#include "many_services.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Memory = std::map<std::string, double>;  // KiB, as /proc/meminfo has it

Memory memory() {
  ::sync();
  ::usleep(300'000);  // what is freed after a grace period
  Memory out;
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (const auto colon = line.find(':'); colon != std::string::npos)
      out[line.substr(0, colon)] = std::stod(line.substr(colon + 1));
  return out;
}

void print_difference(const std::string& what, const Memory& before, const Memory& after) {
  const auto more = [&](const char* name) { return (after.at(name) - before.at(name)) / 1024; };
  std::printf("  %-44s Slab %+8.2f  Percpu %+7.2f  VmallocUsed %+8.2f MiB\n", what.c_str(), more("Slab"),
              more("Percpu"), more("VmallocUsed"));
  std::fflush(stdout);
}

std::map<std::string, std::uint64_t> map_bytes(const ServiceLab& lab) {
  std::map<std::string, std::uint64_t> out;
  const DatapathStatus status = take(lab.datapath().status());
  for (const MapStatus& map : status.maps) out[map.name.substr(0, map.name.find('/'))] += map.memory_bytes;
  return out;
}

void measure_patu(std::uint32_t count) {
  const Memory before = memory();
  const ServiceLab lab(room_for(10'000));
  const auto empty = map_bytes(lab);
  const Memory loaded = memory();
  const std::string once = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "services_sync_once";
  const std::string said =
      output_of(once + " " + bpffs_path() + " " + cgroup_path() + " " + std::to_string(count) + " F 2>&1");
  const Memory after = memory();
  std::uint64_t total = 0;
  std::uint64_t at_first = 0;
  std::string grown;
  for (const auto& [name, bytes] : map_bytes(lab)) {
    total += bytes;
    at_first += empty.contains(name) ? empty.at(name) : 0;
    if (!empty.contains(name) || bytes != empty.at(name))
      grown +=
          " " + name + " " + std::to_string((bytes - (empty.contains(name) ? empty.at(name) : 0)) / 1024) + " KiB;";
  }
  std::printf("%u services of %u backends\n  patu's maps: %.2f MiB empty, %.2f MiB more with them:%s\n", count,
              kBackendsEach, static_cast<double>(at_first) / 1048576, static_cast<double>(total - at_first) / 1048576,
              grown.c_str());
  print_difference("patu loaded, without services", before, loaded);
  print_difference("patu, the services", loaded, after);
  std::fputs(said.c_str(), stdout);
}

void measure_rules(RuleTool tool, std::uint32_t count, bool full) {
  if (const auto why = missing(tool)) return void(std::puts(why->c_str()));
  if (tool == RuleTool::nft && count > 1000 && !full) return void(std::puts("  skipped: nft, without --full"));
  const Netns netns = make_rules_netns();
  (void)load_rules(tool, netns, rules_for(tool, 1));
  const Netns other = make_rules_netns();
  const std::string rules = rules_for(tool, count);
  const Memory before = memory();
  const Loaded loaded = load_rules(tool, other, rules);
  print_difference(name_of(tool), before, memory());
  std::printf("  %s: peak RSS %llu KiB, %.2f s\n", name_of(tool), static_cast<unsigned long long>(loaded.peak_rss_kib),
              loaded.ms / 1000);
}

int run(bool full) {
  for (const std::uint32_t count : {100u, 1000u, 10'000u}) {
    measure_patu(count);
    for (const RuleTool tool : {RuleTool::iptables_legacy, RuleTool::nft}) measure_rules(tool, count, full);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool full = option(argc, argv, "full", 0) != 0;
  if (const int refused = enter_sandbox(); refused != 0) return refused;
  const int status = run(full);
  return leave_sandbox() ? status : 1;
}
