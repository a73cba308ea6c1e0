// Makes and unmakes the sandbox; of all that is in it, only the cgroup can be seen on the host.
#include "sandbox.hpp"

#include <dirent.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"

namespace patu::test {
namespace {

constexpr char kBpffs[] = "/sys/fs/bpf";
constexpr char kCgroupTree[] = "/sys/fs/cgroup";
constexpr std::string_view kCgroupPrefix = "patu-test-";
constexpr int kExitSkipped = 77;  // what meson and automake take for "skipped"

struct Sandbox {
  std::string bpffs = kBpffs;
  std::string cgroup;
  std::size_t descriptors = 0;
  std::size_t threads = 0;
};

Sandbox& sandbox() {
  static Sandbox instance;
  return instance;
}

// Empty, or a sentence that says which step the kernel refused.
using Refusal = std::string;

Refusal refused(const std::string& step) { return step + ": " + std::strerror(errno); }

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Where the whole cgroup2 hierarchy is mounted; a bind mount of a part of it does not count. Empty if it is nowhere.
std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, mount_point, field, type;
    fields >> id >> parent >> device >> root >> mount_point;
    while (fields >> field && field != "-") {
    }
    if (fields >> type && type == "cgroup2" && root == "/") return unescape(mount_point);
  }
  return {};
}

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(dir);
  return names;
}

// A cgroup can be removed when no process and no cgroup is in it; the kernel refuses otherwise.
void remove_cgroup_tree(const std::string& path) {
  for (const std::string& name : entries_of(path)) {
    struct stat status {};
    if (::lstat((path + "/" + name).c_str(), &status) == 0 && S_ISDIR(status.st_mode))
      remove_cgroup_tree(path + "/" + name);
  }
  ::rmdir(path.c_str());
}

// A run that was killed could not remove its cgroup. One whose pid is gone (or is ours now) belongs to nobody.
void remove_stale_cgroups(const std::string& mount) {
  for (const std::string& name : entries_of(mount)) {
    if (name.compare(0, kCgroupPrefix.size(), kCgroupPrefix) != 0) continue;
    const pid_t pid = std::atoi(name.c_str() + kCgroupPrefix.size());
    const bool dead = pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH;
    if (dead || pid == ::getpid()) remove_cgroup_tree(mount + "/" + name);
  }
}

// sysfs shows the network namespace that it was mounted in, so a new one is needed; the cgroup mounts below it are kept.
Refusal mount_sysfs(bool keep_cgroups) {
  UniqueFd cgroups;
  if (keep_cgroups) {
    cgroups = UniqueFd(::open_tree(AT_FDCWD, kCgroupTree, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
    if (!cgroups) return refused("clone the mounts at " + std::string(kCgroupTree));
  }
  if (::mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) return refused("mount sysfs");
  if (cgroups && ::move_mount(cgroups.get(), "", AT_FDCWD, kCgroupTree, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return refused("move the cgroup mounts to the new sysfs");
  }
  return {};
}

// Mount points that exist on every host are covered, so that a killed run leaves not even a directory.
Refusal make_mounts(const std::string& cgroup_mount) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return refused("make the mounts private");
  if (Refusal why = mount_sysfs(cgroup_mount.compare(0, 5, "/sys/") == 0); !why.empty()) return why;
  if (::mount("bpf", kBpffs, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    return refused("mount a bpffs at " + std::string(kBpffs));
  }
  // `ip netns add` writes below /run.
  if (::mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0)
    return refused("mount a tmpfs at /run");
  return {};
}

Refusal bring_loopback_up() {
  const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) return refused("open a socket");
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  if (::ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) return refused("read the flags of lo");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return refused("bring lo up");
  return {};
}

Refusal make_cgroup(const std::string& mount) {
  remove_stale_cgroups(mount);
  const std::string path = mount + "/" + std::string(kCgroupPrefix) + std::to_string(::getpid());
  if (::mkdir(path.c_str(), 0755) != 0) return refused("create cgroup " + path);
  sandbox().cgroup = path;
  return {};
}

Refusal build() {
  const std::string mount = cgroup2_mount();
  if (mount.empty()) return "no cgroup2 file system is mounted";
  if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return refused("needs CAP_SYS_ADMIN; unshare");
  if (Refusal why = make_mounts(mount); !why.empty()) return why;
  if (Refusal why = bring_loopback_up(); !why.empty()) return why;
  return make_cgroup(mount);
}

std::string processes_in(const std::string& cgroup) {
  std::ifstream procs(cgroup + "/cgroup.procs");
  std::string list;
  for (std::string pid; procs >> pid;) list += " " + pid;
  return list;
}

// A process that was killed with its parent leaves the cgroup a moment later: waits for that, 5 s at most.
bool remove_own_cgroup(const std::string& path) {
  for (int attempt = 0; attempt < 500; ++attempt) {
    if (::rmdir(path.c_str()) == 0) return true;
    if (errno != EBUSY) break;
    ::poll(nullptr, 0, 10);
  }
  std::fprintf(stderr, "LEFT: cgroup %s: %s; processes in it:%s\n", path.c_str(), std::strerror(errno),
               processes_in(path).c_str());
  return false;
}

bool same_count(const char* what, std::size_t before, std::size_t now) {
  if (now == before) return true;
  std::fprintf(stderr, "LEFT: %zu %s at the end, %zu at the start\n", now, what, before);
  return false;
}

// A thread that was joined stays in /proc for a moment; the kernel has marked it as exiting before the joiner wakes.
bool is_exiting(const std::string& thread_directory) {
  constexpr unsigned long kPfExiting = 0x4;
  std::ifstream file(thread_directory + "/stat");
  std::string stat;
  if (!std::getline(file, stat)) return true;
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string state, parent, group, session, terminal, terminal_group;
  unsigned long flags = 0;
  fields >> state >> parent >> group >> session >> terminal >> terminal_group >> flags;
  return (flags & kPfExiting) != 0;
}

// ThreadSanitizer has a thread of its own, from the program's first one on.
void start_what_stays() {
  std::thread([] {}).join();
}

}  // namespace

int enter_sandbox() {
  const Refusal why = build();
  if (why.empty()) {
    start_what_stays();
    sandbox().descriptors = open_descriptors();
    sandbox().threads = threads();
    return 0;
  }
  if (!sandbox().cgroup.empty()) ::rmdir(sandbox().cgroup.c_str());
  const char* required = std::getenv("PATU_REQUIRE_KERNEL_TESTS");
  const bool fail = required != nullptr && std::strcmp(required, "1") == 0;
  std::printf("%s: %s\n", fail ? "FAIL" : "SKIP", why.c_str());
  return fail ? 1 : kExitSkipped;
}

bool leave_sandbox() {
  // Each step runs, so that everything that is left is named.
  bool clean = remove_own_cgroup(sandbox().cgroup);
  clean &= same_count("open descriptors", sandbox().descriptors, open_descriptors());
  clean &= same_count("threads", sandbox().threads, threads());
  if (::umount2(kBpffs, UMOUNT_NOFOLLOW) != 0) {
    std::fprintf(stderr, "LEFT: the bpffs at %s: %s\n", kBpffs, std::strerror(errno));
    clean = false;
  }
  return clean;
}

const std::string& bpffs_path() { return sandbox().bpffs; }
const std::string& cgroup_path() { return sandbox().cgroup; }

DatapathOptions datapath_options(const std::string& instance) {
  DatapathOptions options;
  options.instance = instance;
  options.bpffs = bpffs_path();
  options.cgroup = cgroup_path();
  return options;
}

std::size_t open_descriptors() {
  return entries_of("/proc/self/fd").size() - 1;  // one is the directory that is being read
}

std::size_t threads() {
  std::size_t count = 0;
  for (const std::string& tid : entries_of("/proc/self/task")) {
    if (!is_exiting("/proc/self/task/" + tid)) ++count;
  }
  return count;
}

}  // namespace patu::test
