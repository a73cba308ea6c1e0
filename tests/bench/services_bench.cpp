// What connect(2) costs with services: without the hook, past it, and through it, in turns, and with many services.
#include <bpf/bpf.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bpf/instance.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;
using Clock = std::chrono::steady_clock;

namespace {

constexpr unsigned kRounds = 100;
constexpr unsigned kConnectsPerRound = 200;
constexpr std::uint32_t kBackends = 10;

enum Way : std::size_t {
  outside,
  miss,
  hit,
  kWays
};  // outside of the cgroup; in it, to a backend; in it, to a frontend

struct Samples {
  std::array<std::array<std::uint32_t, kRounds * kConnectsPerRound>, kWays> ns;
};

Frontend frontend(std::uint32_t n) {
  return {{IpAddress::v4(10, static_cast<std::uint8_t>(96 + (n >> 16)), static_cast<std::uint8_t>(n >> 8),
                         static_cast<std::uint8_t>(n)),
           80}};
}

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

void must(const Result<>& result) {
  if (!result) give_up(result.error().to_string());
}

std::uint32_t time_connect(const Endpoint& to, int listener_fd) {
  const UniqueFd socket = new_socket(Socket::v4, SOCK_STREAM, 0);
  const linger reset{1, 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  const auto begin = Clock::now();
  const int error = connect_socket(socket.get(), Socket::v4, to);
  const auto end = Clock::now();
  const UniqueFd other_end(::accept4(listener_fd, nullptr, nullptr, SOCK_CLOEXEC));
  if (error != 0) give_up("connect failed");
  return static_cast<std::uint32_t>((end - begin).count());
}

void stay_on_one_cpu() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  ::sched_setaffinity(0, sizeof one, &one);
}

// A process serves one round for each byte that it reads, and answers with one.
struct Turns {
  std::array<int, 2> go{};
  std::array<int, 2> done{};
};

void serve_rounds(const Turns& turns, const std::function<void(unsigned index)>& connect) {
  stay_on_one_cpu();
  char byte = 0;
  for (unsigned round = 0; round < kRounds && ::read(turns.go[0], &byte, 1) == 1; ++round) {
    for (unsigned i = 0; i < kConnectsPerRound; ++i) connect(round * kConnectsPerRound + i);
    if (::write(turns.done[1], &byte, 1) != 1) return;
  }
}

void measure(const ServiceLab& lab, Samples& samples, const Netns& netns, const Endpoint& target) {
  std::array<Turns, 2> turns;
  for (Turns& one : turns)
    if (::pipe(one.go.data()) != 0 || ::pipe(one.done.data()) != 0) give_up("pipe");
  const pid_t away = start_in(
      netns, false,
      [&] {
        serve_rounds(turns[0],
                     [&](unsigned i) { samples.ns[outside][i] = time_connect(backend_v4(1), lab.listener_fd()); });
        return true;
      },
      600);
  const pid_t inside = start_in(
      netns, true,
      [&] {
        serve_rounds(turns[1], [&](unsigned i) {
          samples.ns[miss][i] = time_connect(backend_v4(1), lab.listener_fd());
          samples.ns[hit][i] = time_connect(target, lab.listener_fd());
        });
        return true;
      },
      600);
  for (unsigned round = 0; round < kRounds; ++round) {
    for (const Turns& one : turns) {
      char byte = 0;
      if (::write(one.go[1], &byte, 1) != 1 || ::read(one.done[0], &byte, 1) != 1) give_up("a client died");
    }
  }
  if (wait_for(away) != 0 || wait_for(inside) != 0) give_up("a client failed");
  for (const Turns& one : turns)
    for (const int fd : {one.go[0], one.go[1], one.done[0], one.done[1]}) ::close(fd);
}

double percentile_us(std::array<std::uint32_t, kRounds * kConnectsPerRound>& ns, double share) {
  const auto at = ns.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(ns.size() - 1));
  std::nth_element(ns.begin(), at, ns.end());
  return *at / 1000.0;
}

void report(std::uint32_t services, Samples& samples) {
  const double base = percentile_us(samples.ns[outside], 0.5);
  constexpr std::array kNames{"outside of the cgroup", "in it, not a service", "in it, to a service"};
  for (std::size_t way = 0; way < kWays; ++way) {
    const double p50 = percentile_us(samples.ns[way], 0.5);
    std::printf("%6u services, %-22s p50 %6.2f us  p99 %6.2f us  ratio %.3f\n", services, kNames[way], p50,
                percentile_us(samples.ns[way], 0.99), p50 / base);
  }
}

struct ProgramCost {
  std::uint64_t runs = 0;
  std::uint64_t ns = 0;
};

ProgramCost cost_so_far(const ServiceLab& lab) {
  auto program = lab.datapath().instance()->program(bpf::ProgramId::sock4_connect);
  if (!program) give_up(program.error().to_string());
  bpf_prog_info info;
  std::memset(&info, 0, sizeof info);
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program->get(), &info, &size) != 0) give_up("program info");
  return {info.run_cnt, info.run_time_ns};
}

// What the kernel itself says about the program's time; includes the cost of reading its clock twice.
void report_program(const ServiceLab& lab, const Netns& netns, const char* what, const Endpoint& to) {
  const UniqueFd counting(bpf_enable_stats(BPF_STATS_RUN_TIME));
  const ProgramCost before = cost_so_far(lab);
  const int status = run_in(netns, true, [&] {
    stay_on_one_cpu();
    for (int i = 0; i < 20'000; ++i) (void)time_connect(to, lab.listener_fd());
    return true;
  });
  if (status != 0) give_up("a client failed");
  const ProgramCost after = cost_so_far(lab);
  std::printf("sock4_connect, %-14s %5.0f ns a run\n", what,
              static_cast<double>(after.ns - before.ns) / static_cast<double>(after.runs - before.runs));
}

void fill(ServiceTable& table, std::uint32_t from, std::uint32_t to) {
  const auto begin = Clock::now();
  for (std::uint32_t n = from; n < to; ++n)
    must(table.upsert({std::string("service-").append(std::to_string(n)), {frontend(n)}, backends_v4(1, kBackends)}));
  const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
  std::printf("%6u services of %u backends written, %.1f us each\n", to - from, kBackends, took.count() / (to - from));
}

void report_changes(ServiceTable& table) {
  std::array<double, 5000> us{};
  for (std::uint32_t i = 0; i < us.size(); ++i) {
    const auto begin = Clock::now();
    must(table.upsert({"service-0", {frontend(0)}, backends_v4(1 + i % 2, kBackends)}));
    us[i] = std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
  }
  std::sort(us.begin(), us.end());
  std::printf("a change of %u backends: p50 %.1f us, p99 %.1f us, longest %.1f us\n", kBackends, us[us.size() / 2],
              us[us.size() * 99 / 100], us.back());
}

int run() {
  DatapathOptions options = datapath_options();
  options.max_services = 10'000;
  const ServiceLab lab(options);
  auto netns = Netns::current();
  if (!netns) give_up(netns.error().to_string());
  auto table = lab.open_table();
  Shared<Samples> samples;
  std::uint32_t services = 0;
  for (const std::uint32_t wanted : {1u, 10'000u}) {
    fill(table, services, wanted);
    services = wanted;
    measure(lab, *samples, *netns, frontend(wanted / 2).endpoint);
    report(services, *samples);
  }
  report_program(lab, *netns, "not a service", backend_v4(1));
  report_program(lab, *netns, "a service", frontend(services / 2).endpoint);
  report_changes(table);
  const auto begin = Clock::now();
  const auto listed = table.list();
  if (!listed || listed->size() != services) give_up("list");
  std::printf("list of %u services: %.1f ms\n", services,
              std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  return 0;
}

}  // namespace

int main() {
  if (const int refused = enter_sandbox(); refused != 0) return refused;
  const int status = run();
  return leave_sandbox() ? status : 1;
}
