// What Datapath refuses: bad options, directories of others, other layouts and cgroups, too few capabilities.
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "datapath_fixture.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// In a child: only these stay, also for what it would exec.
bool keep_capabilities(std::uint64_t wanted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int half = 0; half < 2; ++half)
    data[half].effective = data[half].permitted = static_cast<std::uint32_t>(wanted >> (32 * half));
  return syscall(SYS_capset, &header, data) == 0;
}

constexpr std::uint64_t bit(int capability) { return std::uint64_t{1} << capability; }

}  // namespace

TEST_CASE("the directories are the caller's own") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  for (const fs::path& path : {directory().parent_path(), directory(), directory() / "v1"}) {
    struct stat st {};
    REQUIRE(lstat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 07777) == 0700);
  }
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
    // Found when it is needed, by whoever needs it.
    auto datapath = Datapath::open(datapath_options());
    REQUIRE(datapath);
    auto refused = datapath->instance()->pods().lookup({});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == Errc::version_mismatch);
    CHECK(text(refused.error()).find("map pods has not the shape of layout version 1") != std::string::npos);
    CHECK(datapath->status().error().code() == Errc::version_mismatch);
    CHECK(Datapath::unload(datapath_options()).error().code() == Errc::version_mismatch);
    CHECK(fs::exists(pin));
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

TEST_CASE(
    "cilium #16078, #16259, #20607: where no cgroup is named, a part of the hierarchy is not taken for its root") {
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
