// Datapath against the kernel: loading, adopting, upgrading, refusing, unloading, and dying in the middle of each.
#include "patu/datapath.hpp"

#include <bpf/bpf.h>
#include <dirent.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "bpf/instance.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
namespace fs = std::filesystem;

namespace {

fs::path directory(const std::string& instance = "test") { return fs::path(bpffs_path()) / "patu" / instance; }

// Every path below an instance, read from the file system.
std::set<std::string> pins(const std::string& instance = "test") {
  std::set<std::string> out;
  if (!fs::exists(directory(instance))) return out;
  for (const auto& entry : fs::recursive_directory_iterator(directory(instance)))
    if (!entry.is_directory()) out.insert(fs::relative(entry.path(), directory(instance)).string());
  return out;
}

struct Unloaded {
  ~Unloaded() { (void)Datapath::unload(datapath_options(), UnloadMode::force); }
};

std::map<std::string, std::uint32_t> program_ids(const Datapath& datapath) {
  auto status = datapath.status();
  REQUIRE(status);
  std::map<std::string, std::uint32_t> ids;
  for (const ProgramStatus& program : status->programs) ids[program.name] = program.id;
  return ids;
}

std::map<std::string, std::uint32_t> map_ids(const Datapath& datapath) {
  auto status = datapath.status();
  REQUIRE(status);
  std::map<std::string, std::uint32_t> ids;
  for (const MapStatus& map : status->maps) ids[map.name] = map.id;
  return ids;
}

std::uint32_t link_id(const std::string& pin) {
  const int fd = bpf_obj_get((directory() / pin).c_str());
  REQUIRE(fd >= 0);
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  REQUIRE(bpf_obj_get_info_by_fd(fd, &info, &size) == 0);
  close(fd);
  return info.id;
}

std::string text(const Error& error) { return error.to_string(); }

}  // namespace

TEST_CASE("a fresh instance pins its maps, programs and links and says so") {
  const Unloaded after;
  auto datapath = Datapath::open(datapath_options());
  REQUIRE_MESSAGE(datapath, text(datapath.error()));
  const auto found = pins();
  for (const char* pin :
       {"v1/maps/pods", "v1/maps/leases", "v1/maps/frontends", "v1/maps/slots", "v1/progs/pod_ingress",
        "v1/progs/sock4_connect", "v1/progs/sock6_connect", "v1/links/sock4_connect", "v1/links/sock6_connect"})
    CHECK_MESSAGE(found.count(pin) == 1, pin);
  CHECK(found.count("v1/redirect/maps/sockets") == 0);
  auto status = datapath->status();
  REQUIRE(status);
  struct stat cgroup {};
  REQUIRE(stat(cgroup_path().c_str(), &cgroup) == 0);
  CHECK(status->cgroup_id == cgroup.st_ino);
  CHECK(status->directory == directory() / "v1");
  CHECK_FALSE(status->socket_redirect_loaded);
  std::uint64_t memory = 0;
  for (const MapStatus& map : status->maps) memory += map.memory_bytes;
  CHECK(memory > 0);
  for (const ProgramStatus& program : status->programs) {
    const std::string shown = output_of("bpftool prog show id " + std::to_string(program.id));
    CHECK_MESSAGE(shown.find("name " + program.name + " ") != std::string::npos, shown);
    CHECK(program.instructions > 0);
  }
}

TEST_CASE("the directories are the caller's own") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  for (const fs::path& path : {directory().parent_path(), directory(), directory() / "v1"}) {
    struct stat st {};
    REQUIRE(lstat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0700);
  }
}

TEST_CASE("opening again adopts: no program is loaded and no map made") {
  const Unloaded after;
  auto first = Datapath::open(datapath_options());
  REQUIRE(first);
  const auto programs = program_ids(*first);
  const auto maps = map_ids(*first);
  auto second = Datapath::open(datapath_options());
  REQUIRE(second);
  CHECK(program_ids(*second) == programs);
  CHECK(map_ids(*second) == maps);
}

TEST_CASE("an open handle and a second opening cost descriptors only, and give them back") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  const std::size_t before = open_descriptors();
  const std::size_t threads_before = threads();
  for (int i = 0; i < 3; ++i) {
    auto datapath = Datapath::open(datapath_options());
    REQUIRE(datapath);
    CHECK(datapath->status());
  }
  CHECK(open_descriptors() == before);
  CHECK(threads() == threads_before);
}

TEST_CASE("every descriptor is closed on exec") {
  const Unloaded after;
  auto datapath = Datapath::open(datapath_options());
  REQUIRE(datapath);
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = fs::read_symlink(entry.path(), gone).string();
    if (target.find("bpf") == std::string::npos && target.find("patu") == std::string::npos) continue;
    const int fd = std::stoi(entry.path().filename());
    CHECK_MESSAGE((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, target);
  }
}

TEST_CASE("eight processes that open at once share one instance") {
  const Unloaded after;
  auto here = Netns::current();
  REQUIRE(here);
  for (int round = 0; round < 5; ++round) {
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i)
      children.push_back(start_in(*here, false, [] {
        auto datapath = Datapath::open(datapath_options());
        return datapath && datapath->status();
      }));
    for (const pid_t child : children) CHECK(wait_for(child) == 0);
    auto datapath = Datapath::open(datapath_options());
    REQUIRE(datapath);
    CHECK(datapath->instance()->meta());
    CHECK_FALSE(fs::exists(directory() / "staging"));
    REQUIRE(Datapath::unload(datapath_options()));
  }
}

TEST_CASE("processes that load and unload at once never fail and leave nothing") {
  auto here = Netns::current();
  REQUIRE(here);
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i)
    children.push_back(start_in(*here, false, [i] {
      for (int round = 0; round < 15; ++round) {
        if (i % 2 == 0) {
          if (auto datapath = Datapath::open(datapath_options()); !datapath) {
            std::fprintf(stderr, "open: %s\n", text(datapath.error()).c_str());
            return false;
          }
        } else if (auto unloaded = Datapath::unload(datapath_options()); !unloaded) {
          std::fprintf(stderr, "unload: %s\n", text(unloaded.error()).c_str());
          return false;
        }
      }
      return true;
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  REQUIRE(Datapath::unload(datapath_options()));
  CHECK_FALSE(fs::exists(directory()));
}

TEST_CASE("a process killed anywhere in open or unload leaves what the next one mends") {
  auto here = Netns::current();
  REQUIRE(here);
  std::mt19937 random(7);
  int whole = 0;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = start_in(*here, false, [] {
      for (;;) {
        if (!Datapath::open(datapath_options())) return false;
        if (!Datapath::unload(datapath_options())) return false;
      }
    });
    usleep(std::uniform_int_distribution<unsigned>(0, 60'000)(random));
    kill(child, SIGKILL);
    wait_for(child);
    auto datapath = Datapath::open(datapath_options());
    REQUIRE_MESSAGE(datapath, text(datapath.error()));
    CHECK_FALSE(fs::exists(directory() / "staging"));
    CHECK(datapath->status());
    if (round % 2 == 0) {
      REQUIRE(Datapath::unload(datapath_options()));
      CHECK_FALSE(fs::exists(directory()));
      ++whole;
    }
  }
  CHECK(whole == 50);
  REQUIRE(Datapath::unload(datapath_options()));
  CHECK_FALSE(fs::exists(directory().parent_path()));
}

TEST_CASE("another build's programs are replaced in place: links and maps stay") {
  const Unloaded after;
  auto first = Datapath::open(datapath_options());
  REQUIRE(first);
  const auto programs = program_ids(*first);
  const auto maps = map_ids(*first);
  const std::uint32_t link = link_id("v1/links/sock4_connect");
  auto meta = first->instance()->meta();
  REQUIRE(meta);
  meta->build[PATU_COMPONENT_SERVICE] ^= 1;
  REQUIRE(first->instance()->put_meta(*meta));

  auto second = Datapath::open(datapath_options());
  REQUIRE_MESSAGE(second, text(second.error()));
  const auto upgraded = program_ids(*second);
  CHECK(upgraded.at("sock4_connect") != programs.at("sock4_connect"));
  CHECK(upgraded.at("sock6_connect") != programs.at("sock6_connect"));
  CHECK(upgraded.at("pod_ingress") == programs.at("pod_ingress"));
  CHECK(map_ids(*second) == maps);
  CHECK(link_id("v1/links/sock4_connect") == link);
  for (const std::string& pin : pins()) CHECK(pin.find("new_") == std::string::npos);
  const std::string shown = output_of("bpftool link show id " + std::to_string(link));
  CHECK_MESSAGE(shown.find("prog " + std::to_string(upgraded.at("sock4_connect"))) != std::string::npos, shown);
}

TEST_CASE("links whose cgroup was removed are made anew") {
  const Unloaded after;
  DatapathOptions options = datapath_options();
  options.cgroup = cgroup_path() + "/short-lived";
  REQUIRE(mkdir(options.cgroup.c_str(), 0755) == 0);
  REQUIRE(Datapath::open(options));
  REQUIRE(rmdir(options.cgroup.c_str()) == 0);
  // kernel: links are cut when the cgroup's last reference goes, from a worker.
  bool cut = false;
  for (int i = 0; i < 500 && !cut; ++i) {
    auto datapath = Datapath::open(datapath_options());
    cut = datapath.has_value();
    if (!cut) usleep(10'000);
  }
  CHECK(cut);
  auto datapath = Datapath::open(datapath_options());
  REQUIRE_MESSAGE(datapath, text(datapath.error()));
  struct stat cgroup {};
  REQUIRE(stat(cgroup_path().c_str(), &cgroup) == 0);
  auto status = datapath->status();
  REQUIRE(status);
  CHECK(status->cgroup_id == cgroup.st_ino);
}

TEST_CASE("an instance of another cgroup is refused and stays as it is") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  const auto before = pins();
  DatapathOptions other = datapath_options();
  other.cgroup = cgroup_path() + "/other";
  REQUIRE(mkdir(other.cgroup.c_str(), 0755) == 0);
  auto refused = Datapath::open(other);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::invalid_argument);
  CHECK(text(refused.error()).find("attached to the cgroup") != std::string::npos);
  CHECK(pins() == before);
  CHECK(rmdir(other.cgroup.c_str()) == 0);
}

TEST_CASE("an instance is never spread over two cgroups") {
  const Unloaded after;
  auto first = Datapath::open(datapath_options());
  REQUIRE(first);
  DatapathOptions other = datapath_options();
  other.cgroup = cgroup_path() + "/other";
  other.socket_redirect = true;
  REQUIRE(mkdir(other.cgroup.c_str(), 0755) == 0);
  SUBCASE("by adding socket redirection") {}
  SUBCASE("by an upgrade") {
    auto meta = first->instance()->meta();
    REQUIRE(meta);
    meta->build[PATU_COMPONENT_SERVICE] ^= 1;
    REQUIRE(first->instance()->put_meta(*meta));
  }
  auto refused = Datapath::open(other);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::invalid_argument);
  CHECK(pins().count("v1/redirect/links/patu_sockops") == 0);
  CHECK(Datapath::open(datapath_options()));
  CHECK(rmdir(other.cgroup.c_str()) == 0);
}

TEST_CASE("a link's pin that somebody removed is made anew, and does not keep an instance from being unloaded") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  const fs::path pin = directory() / "v1/links/sock4_connect";
  REQUIRE(unlink(pin.c_str()) == 0);
  SUBCASE("opened") {
    auto datapath = Datapath::open(datapath_options());
    REQUIRE_MESSAGE(datapath, text(datapath.error()));
    CHECK(fs::exists(pin));
  }
  SUBCASE("unloaded") {
    CHECK(Datapath::unload(datapath_options()));
    CHECK_FALSE(fs::exists(directory()));
  }
}

TEST_CASE("what a killed process left half-made goes with the next open, also where nothing else is to be done") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  for (const char* name : {"staging", "staging_redirect"}) {
    REQUIRE(mkdir((directory() / name).c_str(), 0700) == 0);
    REQUIRE(mkdir((directory() / name / "links").c_str(), 0700) == 0);
  }
  CHECK(Datapath::open(datapath_options()));
  CHECK_FALSE(fs::exists(directory() / "staging"));
  CHECK_FALSE(fs::exists(directory() / "staging_redirect"));
}

TEST_CASE("unload without force leaves another layout alone") {
  fs::create_directories(directory() / "v9" / "maps");
  fs::permissions(directory().parent_path(), fs::perms::owner_all);
  fs::permissions(directory(), fs::perms::owner_all);
  auto refused = Datapath::unload(datapath_options());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::version_mismatch);
  CHECK(fs::exists(directory() / "v9" / "maps"));
  CHECK(Datapath::unload(datapath_options(), UnloadMode::force));
  CHECK_FALSE(fs::exists(directory().parent_path()));
}

TEST_CASE("a handle whose instance is unloaded says so instead of writing into the void") {
  auto datapath = Datapath::open(datapath_options());
  REQUIRE(datapath);
  REQUIRE(Datapath::unload(datapath_options()));
  auto lock = datapath->instance()->lock_services();
  REQUIRE_FALSE(lock);
  CHECK(lock.error().code() == Errc::not_found);
  CHECK(text(lock.error()).find("unloaded") != std::string::npos);
}

// In a child: only these stay, also for what it would exec.
bool keep_capabilities(std::uint64_t wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int half = 0; half < 2; ++half)
    data[half].effective = data[half].permitted = static_cast<std::uint32_t>(wanted >> (32 * half));
  return syscall(SYS_capset, &header, data) == 0;
}

constexpr std::uint64_t bit(int capability) { return std::uint64_t{1} << capability; }

TEST_CASE("CAP_NET_ADMIN and CAP_BPF suffice to load, and less is refused by name") {
  const Unloaded after;
  auto here = Netns::current();
  REQUIRE(here);
  CHECK(run_in(*here, false, [] {
          if (!keep_capabilities(bit(CAP_NET_ADMIN) | bit(CAP_BPF))) return false;
          auto datapath = Datapath::open(datapath_options());
          if (!datapath) std::fprintf(stderr, "%s\n", text(datapath.error()).c_str());
          return datapath && Datapath::unload(datapath_options());
        }) == 0);
  for (const std::uint64_t wanted : {bit(CAP_NET_ADMIN), bit(CAP_BPF), std::uint64_t{0}})
    CHECK(run_in(*here, false, [&] {
            if (!keep_capabilities(wanted)) return false;
            auto datapath = Datapath::open(datapath_options());
            return !datapath && datapath.error().code() == Errc::permission_denied &&
                   text(datapath.error()).find("CAP_BPF") != std::string::npos;
          }) == 0);
  CHECK_FALSE(fs::exists(directory()));
}

TEST_CASE("pins of another layout are never touched") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  SUBCASE("another version's directory") {
    REQUIRE(Datapath::unload(datapath_options()));
    fs::create_directories(directory() / "v9" / "maps");
    fs::permissions(directory().parent_path(), fs::perms::owner_all);
    fs::permissions(directory(), fs::perms::owner_all);
    auto refused = Datapath::open(datapath_options());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == Errc::version_mismatch);
    CHECK(text(refused.error()).find("v9") != std::string::npos);
    CHECK(fs::exists(directory() / "v9" / "maps"));
    CHECK_FALSE(fs::exists(directory() / "v1"));
  }
  SUBCASE("a map of another shape") {
    const fs::path pin = directory() / "v1/maps/pods";
    REQUIRE(unlink(pin.c_str()) == 0);
    const int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "pods", 16, 8, 16, nullptr);
    REQUIRE(fd >= 0);
    REQUIRE(bpf_obj_pin(fd, pin.c_str()) == 0);
    close(fd);
    auto refused = Datapath::open(datapath_options());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == Errc::version_mismatch);
    CHECK(text(refused.error()).find("pods") != std::string::npos);
  }
}

TEST_CASE("bad options are refused with a text that teaches, and nothing is made") {
  const auto refused_with = [](const DatapathOptions& options, Errc code, const char* what) {
    auto refused = Datapath::open(options);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == code);
    CHECK_MESSAGE(text(refused.error()).find(what) != std::string::npos, text(refused.error()));
  };
  DatapathOptions options = datapath_options();
  for (const char* name : {"", "a/b", "..", "UPPER", "a_b", "abcdefghijklmnopqrstuvwxyz0123456"}) {
    options.instance = name;
    refused_with(options, Errc::invalid_argument, "instance's name");
  }
  options = datapath_options();
  options.bpffs = "/tmp";
  refused_with(options, Errc::invalid_argument, "mount -t bpf");
  options.bpffs = "/nowhere/at/all";
  refused_with(options, Errc::not_found, "/nowhere/at/all");
  options = datapath_options();
  options.cgroup = "/tmp";
  refused_with(options, Errc::invalid_argument, "cgroup2");
  options = datapath_options();
  options.max_pods = 0;
  refused_with(options, Errc::invalid_argument, "upper bound");
  CHECK_FALSE(fs::exists(directory().parent_path()));
}

TEST_CASE("a directory that others could have prepared is refused") {
  const fs::path parent = directory().parent_path();
  SUBCASE("writable by others") {
    REQUIRE(mkdir(parent.c_str(), 0700) == 0);
    REQUIRE(chmod(parent.c_str(), 0777) == 0);
  }
  SUBCASE("another user's") {
    REQUIRE(mkdir(parent.c_str(), 0700) == 0);
    REQUIRE(chown(parent.c_str(), 65534, 65534) == 0);
  }
  SUBCASE("a link to somewhere else") {
    const fs::path elsewhere = fs::path(bpffs_path()) / "elsewhere";
    REQUIRE(mkdir(elsewhere.c_str(), 0700) == 0);
    REQUIRE(symlink(elsewhere.c_str(), parent.c_str()) == 0);
  }
  auto refused = Datapath::open(datapath_options());
  REQUIRE_FALSE(refused);
  CHECK_FALSE(Datapath::unload(datapath_options()));
  CHECK(fs::is_empty(parent));
  fs::remove(parent);
  fs::remove(fs::path(bpffs_path()) / "elsewhere");
}

TEST_CASE("unload removes everything, names it, and succeeds where there is nothing") {
  auto datapath = Datapath::open(datapath_options());
  REQUIRE(datapath);
  const auto before = pins();
  const auto programs = program_ids(*datapath);
  auto report = Datapath::unload(datapath_options());
  REQUIRE_MESSAGE(report, text(report.error()));
  CHECK(report->removed.size() == before.size());
  for (const std::string& path : report->removed) CHECK(before.count(fs::relative(path, directory()).string()) == 1);
  CHECK_FALSE(fs::exists(directory().parent_path()));
  auto again = Datapath::unload(datapath_options());
  REQUIRE(again);
  CHECK(again->removed.empty());
}

TEST_CASE("unload refuses while pods are attached, unless it is forced") {
  auto datapath = Datapath::open(datapath_options());
  REQUIRE(datapath);
  patu_ifname name{{'v', 'e', 't', 'h', 'x'}};
  REQUIRE(datapath->instance()->attachments().insert(name, patu_attachment{}));
  auto refused = Datapath::unload(datapath_options());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::busy);
  CHECK(pins().count("v1/maps/pods") == 1);
  CHECK(Datapath::unload(datapath_options(), UnloadMode::force));
  CHECK_FALSE(fs::exists(directory().parent_path()));
}

TEST_CASE("a caller whose timer fires all the time can load") {
  const Unloaded after;
  struct sigaction action {};
  struct sigaction old {};
  action.sa_handler = [](int) {};
  REQUIRE(sigaction(SIGALRM, &action, &old) == 0);
  const itimerval often{{0, 200}, {0, 200}};
  REQUIRE(setitimer(ITIMER_REAL, &often, nullptr) == 0);
  for (int i = 0; i < 5; ++i) {
    auto datapath = Datapath::open(datapath_options());
    CHECK_MESSAGE(datapath, text(datapath.error()));
    CHECK(Datapath::unload(datapath_options()));
  }
  const itimerval never{};
  REQUIRE(setitimer(ITIMER_REAL, &never, nullptr) == 0);
  REQUIRE(sigaction(SIGALRM, &old, nullptr) == 0);
}

TEST_CASE("socket redirection is added to an instance that runs, and can be switched") {
  const Unloaded after;
  auto plain = Datapath::open(datapath_options());
  REQUIRE(plain);
  const auto maps = map_ids(*plain);
  CHECK(plain->set_socket_redirect(false).error().code() == Errc::unsupported);
  DatapathOptions options = datapath_options();
  options.socket_redirect = true;
  auto datapath = Datapath::open(options);
  REQUIRE_MESSAGE(datapath, text(datapath.error()));
  auto status = datapath->status();
  REQUIRE(status);
  CHECK(status->socket_redirect_loaded);
  CHECK(status->socket_redirect_enabled);
  CHECK(status->redirect_limit_bytes >= 256u << 10);
  CHECK(pins().count("v1/redirect/maps/sockets") == 1);
  CHECK(pins().count("v1/redirect/links/patu_sockops") == 1);
  for (const auto& [name, id] : maps) CHECK(map_ids(*datapath).at(name) == id);
  // The trial that went before left nothing in the shared maps.
  std::size_t pods = 0;
  CHECK(datapath->instance()->pods().visit([&](const patu_addr&, const patu_pod&) -> Result<> {
    ++pods;
    return {};
  }));
  CHECK(pods == 0);
  REQUIRE(datapath->set_socket_redirect(false));
  CHECK_FALSE(datapath->status()->socket_redirect_enabled);
  REQUIRE(datapath->set_socket_redirect(true));
  // A caller that does not ask for it adopts the instance as it is.
  auto third = Datapath::open(datapath_options());
  REQUIRE(third);
  CHECK(third->status()->socket_redirect_loaded);
}

TEST_CASE("without a named cgroup the true root is found, and a part of a hierarchy is refused") {
  // Only refusals are tried: no test attaches to the host's root.
  auto here = Netns::current();
  REQUIRE(here);
  CHECK(run_in(*here, true, [] {
          if (unshare(CLONE_NEWCGROUP | CLONE_NEWNS) != 0) return false;
          if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
          // In the new cgroup namespace the process's own cgroup looks like a root.
          const std::string root = cgroup_path().substr(0, cgroup_path().rfind('/'));
          if (umount2(root.c_str(), MNT_DETACH) != 0 || mount("none", root.c_str(), "cgroup2", 0, nullptr) != 0)
            return false;
          DatapathOptions options = datapath_options();
          options.cgroup.clear();
          auto refused = Datapath::open(options);
          return !refused && refused.error().code() == Errc::invalid_argument;
        }) == 0);
}
