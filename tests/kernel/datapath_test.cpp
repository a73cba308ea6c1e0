// Loading, adopting and upgrading the programs of an instance.
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "datapath_fixture.hpp"

using namespace patu;
using namespace patu::test;

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
