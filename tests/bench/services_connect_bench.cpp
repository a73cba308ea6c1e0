// What connect(2) and sendmsg(2) cost with services, beside direct ones and beside netfilter rules.
//
// Run as root: services_connect_bench [--rounds=100] [--full] [--rules=0]. For 1, 1 000, 10 000 and 30 000 services of ten
// backends it lets several processes connect in turns, on one CPU: directly to backends, from outside of the data path's
// cgroup (what the others are compared with) and from inside; through patu to one service and to services at random; and
// through the same services as rules of iptables and nft. First from one pod to another, over veth and a bridge in a namespace
// of their own, or through the node's stack where there are rules; then over loopback, where a connect costs least and patu's
// part is largest. Prints the median and the 99th percentile of connect(2), the median over rounds of the ratio to the direct
// connect, and the same of socket(2), connect(2) and close(2) together. nft takes minutes to read 10 000 services, and is
// asked to only with --full; 30 000 are too many for both. Then the same with UDP through patu, over loopback. What netfilter
// is measured with is named "skipped" where it is missing. Leaves nothing behind.
#include <bpf/bpf.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <random>

#include "bpf/instance.hpp"
#include "connections.hpp"
#include "contest.hpp"
#include "kube_rules.hpp"
#include "many_services.hpp"
#include "node.hpp"

using namespace patu;
using namespace patu::test;

namespace {

struct Settings {
  unsigned rounds;
  bool full;
  bool rules;
};

Target one_of(std::uint32_t count, const std::function<Endpoint(std::uint32_t)>& target) {
  const auto random = std::make_shared<std::minstd_rand>(7);
  return [random, count, target] { return target(static_cast<std::uint32_t>((*random)() % count)); };
}

Target always(const Endpoint& to) {
  return [to] { return to; };
}

struct Rules {
  std::string name;
  Node node;
};

Rules make_rules(RuleTool tool, std::uint32_t services) {
  Node node = make_node(Way::routed);
  const Loaded loaded = load_rules(tool, node.host, rules_for(tool, services));
  std::printf("  (%s has taken %u services in %.2f s)\n", name_of(tool), services, loaded.ms / 1000);
  return {name_of(tool), std::move(node)};
}

std::vector<Rules> make_all_rules(std::uint32_t services, const Settings& settings) {
  std::vector<Rules> out;
  if (!settings.rules || services > 10'000) return out;
  for (const RuleTool tool : {RuleTool::iptables_legacy, RuleTool::nft}) {
    if (const auto why = missing(tool))
      std::printf("  %s\n", why->c_str());
    else if (tool == RuleTool::nft && services > 1000 && !settings.full)
      std::printf("  skipped: nft with %u services, without --full\n", services);
    else
      out.push_back(make_rules(tool, services));
  }
  return out;
}

// Where clients are, and who takes their connections.
struct Place {
  const Netns& netns;
  int listener_fd;
};

Contender contender(std::string name, const Place& place, bool in_cgroup, const Target& target, std::size_t base = 0) {
  return {std::move(name), &place.netns, in_cgroup,
          [target, listener_fd = place.listener_fd] { return tcp_connects(target, listener_fd); }, base};
}

// What goes to one service is compared with what goes to its backends, what goes to any with what goes to any backend.
std::vector<Contender> with_patu(const Place& place, std::uint32_t services) {
  const Target direct_one = one_of(kBackendsEach, [services](std::uint32_t n) { return backend_of(services - 1, n); });
  const Target direct_any = one_of(services * kBackendsEach, [](std::uint32_t n) { return backend_of(0, n); });
  return {contender("direct, to one service's backends", place, false, direct_one, 0),
          contender("direct, to backends at random", place, false, direct_any, 1),
          contender("the same again", place, false, direct_any, 1),
          contender("the same, from inside of the cgroup", place, true, direct_any, 1),
          contender("patu, the last service", place, true, always(frontend_of(services - 1)), 0),
          contender("patu, services at random", place, true, one_of(services, frontend_of), 1)};
}

void compare_tcp(const ServiceLab& lab, const Netns& sandbox, std::uint32_t services, const Settings& settings) {
  const std::string with = " with " + std::to_string(services) + " services";
  const Node pods = make_node(Way::bridged);
  const std::vector<Rules> rules = make_all_rules(services, settings);
  std::vector<Contender> contenders = with_patu({pods.client, pods.listener.get()}, services);
  for (const auto& [name, node] : rules) {
    const Place place{node.client, node.listener.get()};
    contenders.push_back(contender(name + ", the last service", place, false, always(frontend_of(services - 1)), 0));
    contenders.push_back(contender(name + ", services at random", place, false, one_of(services, frontend_of), 1));
  }
  print_scores("connect(2) by TCP from pod to pod" + with, contenders, compete(contenders, settings.rounds));
  const std::vector<Contender> alone = with_patu({sandbox, lab.listener_fd()}, services);
  print_scores("connect(2) by TCP over loopback" + with, alone, compete(alone, settings.rounds));
}

using Work = std::function<Sample()> (*)(const Target&);

void compare_udp(const char* title, Work work, const Netns& sandbox, const Endpoint& frontend,
                 const Settings& settings) {
  const auto make = [&](const char* name, bool in_cgroup, const Endpoint& to) {
    return Contender{name, &sandbox, in_cgroup, [work, to] { return work(always(to)); }};
  };
  const std::vector<Contender> contenders{
      make("direct", false, backend_of(0, 0)), make("direct again", false, backend_of(0, 0)),
      make("direct, in the cgroup", true, backend_of(0, 0)), make("patu", true, frontend)};
  print_scores(title, contenders, compete(contenders, settings.rounds));
}

struct ProgramCost {
  std::uint64_t runs = 0;
  std::uint64_t ns = 0;
};

ProgramCost cost_so_far(const ServiceLab& lab) {
  const UniqueFd program = take(lab.datapath().instance()->program(bpf::ProgramId::sock4_connect));
  bpf_prog_info info;
  std::memset(&info, 0, sizeof info);
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) give_up("program info");
  return {info.run_cnt, info.run_time_ns};
}

// What the kernel itself says about the program's time; includes the cost of reading its clock twice.
void report_program(const ServiceLab& lab, const Netns& sandbox, const char* what, const Target& target) {
  const UniqueFd counting(bpf_enable_stats(BPF_STATS_RUN_TIME));
  const ProgramCost before = cost_so_far(lab);
  (void)compete({contender(what, {sandbox, lab.listener_fd()}, true, target)}, 100);
  const ProgramCost after = cost_so_far(lab);
  std::printf("sock4_connect, %-20s %5.0f ns a run (mean)\n", what,
              static_cast<double>(after.ns - before.ns) / static_cast<double>(after.runs - before.runs));
}

int run(const Settings& settings) {
  const ServiceLab lab(room_for(30'000));
  const Netns sandbox = take(Netns::current());
  ServiceTable table = lab.open_table();
  for (const std::uint32_t services : {1u, 1000u, 10'000u, 30'000u}) {
    must(table.sync(many_services(services)));
    compare_tcp(lab, sandbox, services, settings);
  }
  const Endpoint datagrams = endpoint("10.127.0.1:53");
  must(table.upsert({"datagrams", {{datagrams, Protocol::udp}}, backends_v4(1, kBackendsEach)}));
  std::puts("With 30 001 services:");
  compare_udp("connect(2) by UDP", udp_connects, sandbox, datagrams, settings);
  compare_udp("sendto(2) again and again from one socket", udp_sends_from_one_socket, sandbox, datagrams, settings);
  compare_udp("sendto(2) from a new socket each", udp_sends_from_new_sockets, sandbox, datagrams, settings);
  report_program(lab, sandbox, "an ordinary address", always(backend_of(0, 0)));
  report_program(lab, sandbox, "one service", always(frontend_of(29'999)));
  report_program(lab, sandbox, "services at random", one_of(30'000, frontend_of));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings{static_cast<unsigned>(option(argc, argv, "rounds", 100)), option(argc, argv, "full", 0) != 0,
                          option(argc, argv, "rules", 1) != 0};
  if (const int refused = enter_sandbox(); refused != 0) return refused;
  const int status = run(settings);
  return leave_sandbox() ? status : 1;
}
