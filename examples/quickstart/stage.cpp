// The quick start's surroundings: a private bpffs, a cgroup, arguments, and the count of what is left.
#include "stage.hpp"

#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "process.hpp"

namespace fs = std::filesystem;

namespace quickstart {
namespace {

constexpr const char* kCgroupPrefix = "patu-quickstart-";

constexpr const char* kUsage =
    "usage: quickstart [--json] [--keep]\n"
    "\n"
    "Builds a node of five pods in namespaces of its own, sends requests through a service, takes a backend\n"
    "away, measures, and removes everything. Needs root.\n"
    "\n"
    "  --json   print one JSON object and nothing else on standard output\n"
    "  --keep   leave it running before the end, and say how to look around\n";

std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (root == "/") return point;
  }
  throw std::runtime_error("no cgroup2 hierarchy is mounted");
}

}  // namespace

Arguments Arguments::parse(int argc, char** argv) {
  Arguments out;
  const option options[] = {{"json", no_argument, nullptr, 'j'},
                            {"keep", no_argument, nullptr, 'k'},
                            {"help", no_argument, nullptr, 'h'},
                            {nullptr, 0, nullptr, 0}};
  for (int c; (c = ::getopt_long(argc, argv, "jkh", options, nullptr)) != -1;) {
    if (c == 'j') out.json = true;
    if (c == 'k') out.keep = true;
    if (c == 'h') std::fputs(kUsage, stdout), std::exit(0);
    if (c == '?') std::fputs(kUsage, stderr), std::exit(2);
  }
  return out;
}

Pod& Pods::operator[](const std::string& name) {
  for (Pod& pod : *this)
    if (pod.name == name) return pod;
  throw std::out_of_range("no pod " + name);
}

std::vector<patu::Backend> Pods::backends(std::initializer_list<const char*> names, std::uint16_t port) {
  std::vector<patu::Backend> out;
  for (const char* name : names)
    for (const patu::InterfaceAddress& address : (*this)[name].attachment.addresses)
      out.emplace_back(patu::Endpoint{address.address, port});
  return out;
}

std::vector<patu::AttachmentId> Pods::ids() const {
  std::vector<patu::AttachmentId> out;
  for (const Pod& pod : *this) out.push_back(pod.attachment.id);
  return out;
}

Times summarise(std::vector<double> microseconds) {
  if (microseconds.empty()) return {};
  std::sort(microseconds.begin(), microseconds.end());
  const auto at = [&](double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(microseconds.size())));
    return microseconds[rank == 0 ? 0 : rank - 1];
  };
  return {at(0.50), at(0.99)};
}

Stage::Stage(const Arguments& arguments) : keep_(arguments.keep), node_(take(patu::Netns::create())) {
  make_mounts();
  make_cgroup();
}

Stage::~Stage() {
  end_servers();
  (void)::rmdir(cgroup_.c_str());
}

void Stage::make_mounts() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    throw std::runtime_error(std::string("make a mount namespace: ") + std::strerror(errno));
  bpffs_ = "/sys/fs/bpf";
  if (::mount("bpf", bpffs_.c_str(), "bpf", 0, "mode=0700") != 0)
    throw std::runtime_error("mount a bpffs at " + bpffs_ + ": " + std::strerror(errno));
}

void Stage::make_cgroup() {
  const fs::path root = cgroup2_mount();
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename();
    if (name.rfind(kCgroupPrefix, 0) != 0) continue;
    const pid_t owner = std::atoi(name.c_str() + std::strlen(kCgroupPrefix));
    if (owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH) (void)::rmdir(entry.path().c_str());
  }
  cgroup_ = root / (kCgroupPrefix + std::to_string(::getpid()));
  if (::mkdir(cgroup_.c_str(), 0755) != 0)
    throw std::runtime_error("make cgroup " + cgroup_ + ": " + std::strerror(errno));
}

void Stage::end_servers() {
  for (const pid_t pid : servers_) ::kill(pid, SIGKILL);
  for (const pid_t pid : servers_) ::waitpid(pid, nullptr, 0);
  servers_.clear();
}

void Stage::serve(const Pod& pod, std::uint16_t http_port, std::initializer_list<std::uint16_t> echo_ports) {
  const std::string name = pod.name;
  servers_.push_back(start_ready(pod.netns, cgroup_, [=](const Ready& ready) { serve_http(name, http_port, ready); }));
  for (const std::uint16_t port : echo_ports)
    servers_.push_back(start_ready(pod.netns, cgroup_, [=](const Ready& ready) { serve_echo(port, ready); }));
}

void Stage::keep(const Pods& pods, const patu::DatapathOptions& options) {
  if (!keep_) return;
  const int self = ::getpid();
  std::fprintf(stderr, "\nIt runs. Look around, from another terminal:\n\n");
  for (const Pod& pod : pods)
    std::fprintf(stderr, "  nsenter --net=/proc/%d/fd/%d ip address      # in pod %s\n", self, pod.netns.fd(),
                 pod.name.c_str());
  std::fprintf(stderr,
               "  nsenter -t %d -m bpftool map dump pinned %s/patu/%s/v1/maps/pods\n"
               "  nsenter -t %d -m bpftool map dump pinned %s/patu/%s/v1/maps/frontends\n"
               "  bpftool cgroup show %s\n"
               "  sh -c 'echo $$ > %s/cgroup.procs; exec nsenter --net=/proc/%d/fd/%d curl -s 10.96.0.10'\n"
               "\nCtrl-C, or Enter, removes it.\n",
               self, options.bpffs.c_str(), options.instance.c_str(), self, options.bpffs.c_str(),
               options.instance.c_str(), cgroup_.c_str(), cgroup_.c_str(), self, pods.front().netns.fd());
  wait_for_the_end();
}

std::vector<std::string> Stage::leftovers() {
  std::vector<std::string> out;
  for (const std::string& name : links_of(node_))
    if (name != "lo") out.push_back("link " + name);
  if (fs::exists(bpffs_ + "/patu")) out.push_back(bpffs_ + "/patu");
  if (::rmdir(cgroup_.c_str()) != 0) out.push_back("cgroup " + cgroup_ + ": " + std::strerror(errno));
  return out;
}

}  // namespace quickstart
