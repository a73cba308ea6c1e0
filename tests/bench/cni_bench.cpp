// ADD and DEL of patu-cni beside those of Debian's bridge and host-local, in turns, by family, ipMasq and existing leases.
//
// cni_bench PATU_CNI [--rounds=N] [--leases=N] in a sandbox of its own, as root. Beside them, as floors:
// an empty static program, and the kernel's own removal of one veth pair.
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/unique_fd.hpp"
#include "cni_launch.h"
#include "contest.hpp"
#include "nl/addr.hpp"
#include "nl/link.hpp"
#include "patu/patu.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
namespace fs = std::filesystem;

namespace {

constexpr char kInstance[] = "bench";
constexpr char kReference[] = "/usr/lib/cni";
constexpr char kDataDir[] = "/run/host-local";
constexpr std::array kLeases{0U, 1000U, 10000U};
// Enough for every lease of a round, and to be given a v4 address in 65534.
constexpr std::uint32_t kMaxPods = 32768;

struct Scenario {
  bool dual;
  bool masquerade;
  unsigned leases;
};

// One of the two: a network of its own, and the program that serves it.
struct Plugin {
  const char* name;
  std::string program;
  const char* v4;  // without its last two parts
  const char* v6;  // without what is behind "::"
};

struct Series {
  std::vector<double> us;
  std::uint64_t peak_kib = 0;
};

struct Measured {
  Series add, del;
};

DatapathOptions instance() {
  DatapathOptions options = datapath_options(kInstance);
  options.max_pods = kMaxPods;
  return options;
}

std::string json_of(const Plugin& plugin, const Scenario& scenario, bool is_patu) {
  const std::string q = "\"";
  std::string ranges = R"([{"subnet": ")" + std::string(plugin.v4) + R"(.0.0/16"}])";
  if (scenario.dual) ranges += R"(, [{"subnet": ")" + std::string(plugin.v6) + R"(::/64"}])";
  std::string own;
  if (is_patu)
    own = R"("instance": ")" + std::string(kInstance) + R"(", "bpffs": ")" + bpffs_path() + R"(", "cgroup": ")" +
          cgroup_path() + q + ", ";
  return R"({"cniVersion": "1.0.0", "name": ")" + std::string(plugin.name) + R"(", "type": "bridge", "bridge": ")" +
         plugin.name + R"(0", "isDefaultGateway": true, "ipMasq": )" + (scenario.masquerade ? "true" : "false") + ", " +
         own + R"("ipam": {"type": "host-local", "dataDir": ")" + kDataDir + R"(", "ranges": [)" + ranges + "]}}";
}

UniqueFd file_with(const std::string& text) {
  UniqueFd fd(::memfd_create("cni", MFD_CLOEXEC));
  if (!fd || ::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) give_up("memfd");
  return fd;
}

std::string text_of(int fd) {
  std::array<char, 4096> text{};
  return ::pread(fd, text.data(), text.size() - 1, 0) > 0 ? text.data() : "";
}

// It lies beside this program.
const std::string& launcher() {
  static const std::string path = fs::read_symlink("/proc/self/exe").parent_path() / "cni_launch";
  return path;
}

launched launch(const std::string& program, const std::string& input, const std::vector<std::string>& variables) {
  const UniqueFd in = file_with(input);
  const UniqueFd out = file_with("");
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) give_up("pipe");
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), STDERR_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), LAUNCHED_FD);
  const std::array<char*, 3> arguments{const_cast<char*>(launcher().c_str()), const_cast<char*>(program.c_str()),
                                       nullptr};
  std::vector<char*> environment;
  for (const std::string& variable : variables) environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  pid_t pid = 0;
  if (::posix_spawn(&pid, launcher().c_str(), &actions, nullptr, arguments.data(), environment.data()) != 0)
    give_up("start " + launcher());
  ::posix_spawn_file_actions_destroy(&actions);
  launched told{};
  if (wait_for(pid) != 0 || ::read(reader.get(), &told, sizeof told) != sizeof told) give_up("cni_launch failed");
  if (told.status != 0) give_up(program + " failed: " + text_of(out.get()));
  return told;
}

// The verb once; its time and memory into the series, if there is one.
void call(const Plugin& plugin, const std::string& config, const char* verb, const std::string& id, const Netns& pod,
          Series* series) {
  const launched told = launch(plugin.program, config,
                               {std::string("CNI_COMMAND=") + verb, "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0",
                                "CNI_NETNS=/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(pod.fd()),
                                std::string("CNI_PATH=") + kReference, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"});
  if (series == nullptr) return;
  series->us.push_back(static_cast<double>(told.ns) / 1000);
  series->peak_kib = std::max(series->peak_kib, told.peak_kib);
}

// As if so many pods had come one after the other.
void lease_patu(const Plugin& plugin, const Scenario& scenario) {
  const Datapath datapath = take(Datapath::open(instance()));
  for (const bool v4 : {true, false}) {
    if (!v4 && !scenario.dual) continue;
    const std::string prefix = v4 ? std::string(plugin.v4) + ".0.0/16" : std::string(plugin.v6) + "::/64";
    AddressPool pool = take(AddressPool::open(datapath, {*Prefix::parse(prefix)}));
    for (unsigned i = 0; i < scenario.leases; ++i)
      (void)take(pool.acquire(*AttachmentId::parse("lease-" + std::to_string(i))));
  }
}

void lease_host_local(const Plugin& plugin, const Scenario& scenario) {
  const fs::path directory = fs::path(kDataDir) / plugin.name;
  fs::create_directories(directory);
  for (unsigned i = 2; i < scenario.leases + 2; ++i) {
    const std::string v4 = std::string(plugin.v4) + "." + std::to_string(i / 256) + "." + std::to_string(i % 256);
    std::array<char, 16> hex{};
    (void)std::snprintf(hex.data(), hex.size(), "%x", i);
    const std::string v6 = std::string(plugin.v6) + "::" + hex.data();
    const std::string owner = "lease-" + std::to_string(i) + "\r\neth0";
    std::ofstream(directory / v4) << owner;
    if (scenario.dual) std::ofstream(directory / v6) << owner;
    if (i != scenario.leases + 1) continue;
    std::ofstream(directory / "last_reserved_ip.0") << v4;
    if (scenario.dual) std::ofstream(directory / "last_reserved_ip.1") << v6;
  }
}

// The floor of DEL: the kernel's own time for a pair whose one end is on a bridge and whose other has an address.
class VethRemoval final {
 public:
  VethRemoval() : node_(take(nl::Socket::open())) {
    nl::Request bridge =
        nl::create_bridge({.name = *IfName::parse("bare0"), .mac = MacAddress::from_bytes({2, 0, 0, 0, 0, 1})});
    must(node_.call(bridge));
    bridge_ = take(nl::find_link(node_, *IfName::parse("bare0")))->ifindex;
  }
  double once() {
    const Netns pod = take(Netns::create());
    const IfName name = *IfName::parse("bare1");
    nl::Request create = nl::create_veth({.name = name,
                                          .peer_name = *IfName::parse("eth0"),
                                          .peer_netns_fd = pod.fd(),
                                          .master = bridge_,
                                          .mac = MacAddress::from_bytes({2, 1, 0, 0, 0, 1}),
                                          .peer_mac = MacAddress::from_bytes({2, 2, 0, 0, 0, 1})});
    must(node_.call(create));
    nl::Request up = nl::set_link_up(name);
    must(node_.call(up));
    nl::Socket inside = take(nl::Socket::open_in(pod.fd()));
    const std::uint32_t ifindex = take(nl::find_link(inside, *IfName::parse("eth0")))->ifindex;
    std::array requests{nl::add_address(ifindex, {IpAddress::v4(10, 9, 0, 2), 16}), nl::set_link_up(ifindex)};
    if (!inside.batch(requests)) give_up("inside the bare pod");
    nl::Request remove = nl::delete_link(name);
    const auto begin = Clock::now();
    must(node_.call(remove));
    return 1000 * ms_since(begin);
  }

 private:
  nl::Socket node_;
  std::uint32_t bridge_ = 0;
};

double at(std::vector<double> us, double share) {
  std::sort(us.begin(), us.end());
  return us[static_cast<std::size_t>(share * static_cast<double>(us.size() - 1))];
}

void print_head() {
  std::printf("%-18s | %26s | %26s | %13s | %13s | %13s\n", "us", "patu   min     p50     p99",
              "ref.   min     p50     p99", "times min p50", "KiB patu ref.", "floor min p50");
}

void print(const Scenario& scenario, const char* verb, const Series& patu, const Series& reference,
           const std::vector<double>& floor) {
  std::printf("%-4s %-4s %5u %s |", scenario.dual ? "dual" : "v4", scenario.masquerade ? "masq" : "", scenario.leases,
              verb);
  for (const Series* series : {&patu, &reference})
    std::printf("   %7.0f %7.0f %7.0f |", at(series->us, 0), at(series->us, 0.5), at(series->us, 0.99));
  std::printf("   %5.1f %5.1f | %6llu %6llu | %6.0f %6.0f\n", at(reference.us, 0) / at(patu.us, 0),
              at(reference.us, 0.5) / at(patu.us, 0.5), static_cast<unsigned long long>(patu.peak_kib),
              static_cast<unsigned long long>(reference.peak_kib), at(floor, 0), at(floor, 0.5));
  std::fflush(stdout);
}

class Contest final {
 public:
  Contest(std::string patu_cni, unsigned rounds)
      : plugins_{Plugin{"patu", std::move(patu_cni), "10.88", "fd00:88"},
                 Plugin{"ref", std::string(kReference) + "/bridge", "10.89", "fd00:89"}},
        rounds_(rounds) {}

  void hold(const Scenario& scenario) {
    lease_patu(plugins_[0], scenario);
    lease_host_local(plugins_[1], scenario);
    // A pod that stays, so that nobody is the first or the last of its network.
    const std::array residents{take(Netns::create()), take(Netns::create())};
    for (std::size_t i = 0; i < plugins_.size(); ++i)
      call(plugins_[i], config(plugins_[i], scenario), "ADD", "resident", residents[i], nullptr);
    std::array<Measured, 2> measured;
    std::vector<double> nothing, veth;
    for (unsigned round = 0; round < rounds_; ++round) {
      nothing.push_back(static_cast<double>(launch(launcher(), "", {}).ns) / 1000);
      for (const std::size_t turn : {round % 2, (round + 1) % 2}) once(plugins_[turn], scenario, round, measured[turn]);
      veth.push_back(veth_.once());
    }
    for (std::size_t i = 0; i < plugins_.size(); ++i)
      call(plugins_[i], config(plugins_[i], scenario), "DEL", "resident", residents[i], nullptr);
    print(scenario, "ADD", measured[0].add, measured[1].add, nothing);
    print(scenario, "DEL", measured[0].del, measured[1].del, veth);
    clean();
  }

 private:
  std::string config(const Plugin& plugin, const Scenario& scenario) const {
    return json_of(plugin, scenario, &plugin == plugins_.data());
  }
  void once(const Plugin& plugin, const Scenario& scenario, unsigned round, Measured& measured) const {
    const Netns pod = take(Netns::create());
    const std::string id = "pod-" + std::to_string(round);
    call(plugin, config(plugin, scenario), "ADD", id, pod, &measured.add);
    call(plugin, config(plugin, scenario), "DEL", id, pod, &measured.del);
  }
  static void clean() {
    must(Datapath::unload(instance(), UnloadMode::force));
    fs::remove_all(kDataDir);
    (void)output_of("ip link del patu0; ip link del ref0");
  }

  std::array<Plugin, 2> plugins_;
  unsigned rounds_;
  VethRemoval veth_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) give_up("cni_bench PATU_CNI [--rounds=N] [--leases=N]");
  if (::access((std::string(kReference) + "/host-local").c_str(), X_OK) != 0)
    give_up("SKIP: Debian's containernetworking-plugins are not installed");
  if (const int refused = enter_sandbox(); refused != 0) return refused;
  {
    Contest contest(argv[1], static_cast<unsigned>(option(argc, argv, "rounds", 50)));
    print_head();
    const std::uint64_t only = option(argc, argv, "leases", UINT64_MAX);
    for (const unsigned leases : kLeases)
      for (const bool dual : {false, true})
        for (const bool masquerade : {false, true})
          if (only == UINT64_MAX || only == leases) contest.hold({dual, masquerade, leases});
  }
  return leave_sandbox() ? 0 : 1;
}
