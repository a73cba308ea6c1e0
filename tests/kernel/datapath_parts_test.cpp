// An instance of which a part is gone: maps are opened when they are needed, and links are mended.
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "datapath_fixture.hpp"
#include "instance.hpp"
#include "killing.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr const char* kLinks[] = {"sock4_connect",   "sock6_connect",  "sock4_sendmsg",     "sock6_sendmsg",
                                  "sock4_recvmsg",   "sock6_recvmsg",  "sock4_getpeername", "sock6_getpeername",
                                  "sock4_post_bind", "sock6_post_bind"};

bool is_attached(const std::string& link) {
  const UniqueFd fd(bpf_obj_get((directory() / "v1/links" / link).c_str()));
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  return fd && bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0 && info.cgroup.cgroup_id != 0;
}

void detach(const std::string& link) {
  const UniqueFd fd(bpf_obj_get((directory() / "v1/links" / link).c_str()));
  REQUIRE(bpf_link_detach(fd.get()) == 0);
}

bool all_attached() { return std::all_of(std::begin(kLinks), std::end(kLinks), is_attached); }

}  // namespace

TEST_CASE("a map is opened once, by whichever thread needs it first") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  for (int round = 0; round < 20; ++round) {
    const Datapath datapath = must(Datapath::adopt(datapath_options()));
    const std::size_t before = open_descriptors();
    int seen[8]{};
    std::vector<std::thread> running;
    for (int& fd : seen) running.emplace_back([&] { fd = datapath.instance()->map_fd(bpf::MapId::exempt); });
    for (std::thread& thread : running) thread.join();
    for (const int fd : seen) CHECK(fd == seen[0]);
    CHECK(open_descriptors() == before + 1);
  }
}

TEST_CASE("a map that is missing is named by whoever needs it, and unload by force removes the rest") {
  const Unloaded after;
  REQUIRE(Datapath::open(datapath_options()));
  REQUIRE(unlink((directory() / "v1/maps/exempt").c_str()) == 0);
  const Datapath datapath = must(Datapath::open(datapath_options()));
  for (int i = 0; i < 2; ++i) {
    auto refused = datapath.instance()->exempt().lookup(1);
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::protocol, "map exempt is missing; unload the instance by force");
  }
  CHECK(datapath.instance()->meta());
  CHECK(datapath.status().error().code() == Errc::protocol);
  CHECK(Datapath::unload(datapath_options()).error().code() == Errc::protocol);
  CHECK(Datapath::unload(datapath_options(), UnloadMode::force));
  CHECK_FALSE(fs::exists(directory()));
}

TEST_CASE("a handle whose instance was unloaded keeps the maps that it has, and says why it gets no other") {
  const Datapath datapath = must(Datapath::open(datapath_options()));
  CHECK(datapath.instance()->pods().lookup({}));
  REQUIRE(Datapath::unload(datapath_options()));
  CHECK(datapath.instance()->pods().lookup({}));
  SUBCASE("gone") {}
  SUBCASE("and loaded again") { REQUIRE(Datapath::open(datapath_options())); }
  const Unloaded after;
  auto refused = datapath.instance()->leases().lookup({});
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::not_found, "map leases: the instance was unloaded");
}

TEST_CASE("links that an unload had detached when it was killed are attached again") {
  const InstanceFixture loaded;
  for (std::size_t count = 1; count <= std::size(kLinks); ++count) {
    for (std::size_t i = 0; i < count; ++i) detach(kLinks[i]);
    CHECK_FALSE(is_attached(kLinks[0]));
    CHECK(Datapath::open(datapath_options()));
    CHECK(all_attached());
  }
}

TEST_CASE("each link's pin that somebody removed is made anew") {
  const InstanceFixture loaded;
  for (const char* link : kLinks) {
    REQUIRE(unlink((directory() / "v1/links" / link).c_str()) == 0);
    CHECK(Datapath::open(datapath_options()));
    CHECK(all_attached());
  }
}

TEST_CASE("a process that is killed while it mends links leaves the first one for last") {
  const InstanceFixture loaded;
  const Netns here = must(Netns::current());
  // The work is done by a thread, whose system calls nobody counts: so until it was killed half-way a few times.
  unsigned half = 0;
  for (unsigned microseconds = 0; half < 3; microseconds = (microseconds + 37) % 20'000) {
    for (const char* link : kLinks)
      if (is_attached(link)) detach(link);
    (void)kill_after(here, microseconds, [] { return Datapath::open(datapath_options()).has_value(); });
    const auto attached = std::count_if(std::begin(kLinks), std::end(kLinks), is_attached);
    if (attached != 0 && attached != std::ssize(kLinks)) ++half;
    CHECK(is_attached(kLinks[0]) == (attached == std::ssize(kLinks)));
    CHECK(Datapath::open(datapath_options()));
    CHECK(all_attached());
  }
}
