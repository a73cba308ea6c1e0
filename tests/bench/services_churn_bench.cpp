// All backends replaced again and again while clients connect as fast as they can: not one connect may fail or go astray.
//
// Run as root: services_churn_bench [--connects=5000000]. A service of TCP and UDP ports on two IPv4 and two IPv6 addresses has
// 1 to 16 backends of either family, never the same twice. For each half of the connects, one writer replaces them all: at
// full speed first, then at (up to) 1 000 replacements a second; with a UDP port in the service, and without, because then
// there are no sockets to look for and close. Meanwhile clients connect by TCP (IPv4, IPv6, mapped), by UDP, talk over
// connected UDP sockets and ask from unconnected ones; each judges whether the backend it met was in the set at some moment of
// the call. Prints what was done and how fast, and what failed or was misled: both must be 0, or the exit status is 1.
// Connects of TCP are a fifth. Leaves nothing behind.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "churn.hpp"
#include "contest.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr unsigned kSeconds = 3600;
constexpr double kMsAtFullSpeed = 0;
constexpr double kMsOfAThousand = 1;

struct Phase {
  const char* name;
  Protocols protocols;
  double ms_each;  // at least, for each replacement
  std::uint64_t connects;
};

// A fifth of the connects is TCP's; one more client asks until the others are done.
std::vector<pid_t> start_clients(const ServiceLab& lab, ChurnCounters& counters, const Phase& phase) {
  const auto start = [&](ChurnWork work, std::uint64_t times) {
    return start_churn_client(lab, counters, work, static_cast<std::uint32_t>(times), kSeconds);
  };
  if (phase.protocols == Protocols::tcp)
    return {start(ChurnWork::tcp_connect, phase.connects / 2), start(ChurnWork::tcp_connect, phase.connects / 2)};
  return {start(ChurnWork::tcp_connect, phase.connects / 8), start(ChurnWork::udp_connect, phase.connects * 3 / 4),
          start(ChurnWork::udp_talk, phase.connects / 8), start(ChurnWork::udp_ask, 0xffffffff)};
}

std::size_t that_end(const Phase& phase) { return phase.protocols == Protocols::tcp ? 2 : 3; }

void print(const Phase& phase, const ChurnCounters& counters, std::uint32_t replacements, double seconds) {
  std::printf(
      "%s: %u replacements (%.0f a second), %llu connects by TCP and %llu by UDP (%.0f a second), %llu answers to "
      "datagrams, %llu sockets closed with their backend; %llu failed (last errno %d), %llu misled\n",
      phase.name, replacements, replacements / seconds, static_cast<unsigned long long>(counters.tcp_connects),
      static_cast<unsigned long long>(counters.udp_connects), static_cast<double>(counters.connects()) / seconds,
      static_cast<unsigned long long>(counters.answers), static_cast<unsigned long long>(counters.closed),
      static_cast<unsigned long long>(counters.failed), counters.last_error.load(),
      static_cast<unsigned long long>(counters.misled));
  std::fflush(stdout);
}

// True if nothing failed. Ends before all connects are made when the numbers of backends run out.
bool hold(const Phase& phase, std::uint64_t& connects) {
  DatapathOptions options = datapath_options();
  options.max_services = 48;  // 96 entries in 128 buckets
  const ServiceLab lab(options);
  const DatagramServer server;
  ServiceTable table = lab.open_table();
  must(table.upsert(neighbours(0)));
  must(table.upsert(churned(0, phase.protocols)));
  const Shared<ChurnCounters> counters;
  const std::vector<pid_t> clients = start_clients(lab, *counters, phase);
  const auto begin = Clock::now();
  auto next = begin;
  std::uint32_t version = 0;
  while (counters->clients_done < that_end(phase) && version + 1 < kVersions) {
    if (const std::string why = replace(table, *counters, ++version, phase.protocols); !why.empty()) give_up(why);
    if (version % 4 == 0) must(table.upsert(neighbours(version / 4)));
    next += std::chrono::microseconds(static_cast<long>(phase.ms_each * 1000));
    if (phase.ms_each > 0) std::this_thread::sleep_until(next);
  }
  const double seconds = ms_since(begin) / 1000;
  counters->stop = true;
  bool is_flawless = counters->failed == 0 && counters->misled == 0;
  for (const pid_t client : clients) is_flawless = wait_for(client) == 0 && is_flawless;
  print(phase, *counters, version, seconds);
  connects += counters->connects();
  return is_flawless;
}

bool hold_whole(Phase phase, std::uint64_t& done) {
  const std::uint64_t wanted = done + phase.connects;
  bool is_flawless = true;
  while (done < wanted && is_flawless) {
    phase.connects = std::max<std::uint64_t>(wanted - done, 1000);
    is_flawless = hold(phase, done);
  }
  return is_flawless;
}

int run(std::uint64_t connects) {
  std::uint64_t done = 0;
  bool is_flawless = true;
  for (const Phase& phase :
       {Phase{"TCP and UDP, full speed", Protocols::tcp_and_udp, kMsAtFullSpeed, connects * 45 / 100},
        Phase{"TCP and UDP, 1 000 a second", Protocols::tcp_and_udp, kMsOfAThousand, connects * 45 / 100},
        Phase{"TCP, full speed", Protocols::tcp, kMsAtFullSpeed, connects * 5 / 100},
        Phase{"TCP, 1 000 a second", Protocols::tcp, kMsOfAThousand, connects * 5 / 100}})
    is_flawless = hold_whole(phase, done) && is_flawless;
  std::printf("%llu connects in all: %s\n", static_cast<unsigned long long>(done),
              is_flawless ? "none failed, none was misled" : "NOT flawless");
  return is_flawless ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t connects = option(argc, argv, "connects", 5'000'000);
  if (const int refused = enter_sandbox(); refused != 0) return refused;
  const int status = run(connects);
  return leave_sandbox() ? status : 1;
}
