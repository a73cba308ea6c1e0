// The sandbox keeps its promises: otherwise no other kernel test proves anything.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <net/if.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/unique_fd.hpp"
#include "sandbox.hpp"

namespace patu::test {
namespace {

ino_t inode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

TEST_CASE("the network holds nothing but a loopback interface that is up") {
  CHECK(inode_of("/proc/self/ns/net") != inode_of("/proc/1/ns/net"));
  CHECK(output_of("ls /sys/class/net") == "lo\n");
  CHECK(output_of("ip -br link show up") == output_of("ip -br link"));
}

TEST_CASE("the BPF file system is empty and nobody else's") {
  struct statfs file_system {};
  REQUIRE(::statfs(bpffs_path().c_str(), &file_system) == 0);
  CHECK(file_system.f_type == 0xcafe4a11);
  // Kernels with CONFIG_BPF_PRELOAD put maps.debug and progs.debug there.
  CHECK(output_of("ls -A " + bpffs_path() + " | grep -v '\\.debug$'").empty());
  CHECK(output_of("grep -c ' " + bpffs_path() + " .* shared:' /proc/self/mountinfo") == "0\n");
}

TEST_CASE("a child runs in the namespace and in the cgroup that it was started for") {
  auto netns = Netns::create();
  REQUIRE(netns);
  const ino_t own = inode_of("/proc/self/ns/net");
  CHECK(run_in(*netns, true, [&] {
          std::string line;
          std::ifstream procs(cgroup_path() + "/cgroup.procs");
          return std::getline(procs, line) && line == std::to_string(::getpid()) &&
                 inode_of("/proc/self/ns/net") != own;
        }) == 0);
  CHECK(output_of("cat " + cgroup_path() + "/cgroup.procs").empty());
  CHECK(output_in(*netns, "ip -br link show up").empty());
  CHECK(inode_of("/proc/self/ns/net") == own);
}

TEST_CASE("a child that fails, throws, dies or does not end is told apart from one that succeeds") {
  auto netns = Netns::create();
  REQUIRE(netns);
  CHECK(run_in(*netns, false, [] { return true; }) == 0);
  CHECK(run_in(*netns, false, [] { return false; }) == 1);
  CHECK(run_in(*netns, false, []() -> bool { throw std::runtime_error("thrown on purpose"); }) == 1);
  CHECK(run_in(*netns, false, [] { return ::raise(SIGKILL) == 0; }) == 128 + SIGKILL);
  CHECK(run_in(
            *netns, false, [] { return ::pause() == 0; }, 1) == 128 + SIGALRM);
}

TEST_CASE("a child dies with the test that started it") {
  auto netns = Netns::create();
  REQUIRE(netns);
  // The grandchild holds the only writing end; the read ends when it is dead.
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  CHECK(run_in(*netns, false, [&] { return start_in(*netns, true, [] { return ::pause() == 0; }) > 0; }) == 0);
  writer = UniqueFd();
  char byte = 0;
  CHECK(::read(reader.get(), &byte, 1) == 0);
}

TEST_CASE("descriptors and threads are counted as they are") {
  const std::size_t descriptors_before = open_descriptors();
  {
    const UniqueFd extra(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    CHECK(open_descriptors() == descriptors_before + 1);
  }
  CHECK(open_descriptors() == descriptors_before);
  for (int i = 0; i < 100; ++i) {
    std::size_t seen = 0;
    std::thread([&] { seen = threads(); }).join();
    REQUIRE(seen == 2);
    REQUIRE(threads() == 1);
  }
}

}  // namespace
}  // namespace patu::test
