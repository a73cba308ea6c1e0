// Adopting what is loaded: as it is, whatever build made it, and without a trace.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/unique_fd.hpp"
#include "datapath_fixture.hpp"
#include "instance.hpp"
#include "killing.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// What only loading looks at.
DatapathOptions looking_options() {
  DatapathOptions options = datapath_options();
  options.cgroup = "/nowhere";
  options.socket_redirect = true;
  options.max_pods = 0;
  return options;
}

void refused_with(const DatapathOptions& options, Errc code, const char* what) {
  auto refused = Datapath::adopt(options);
  REQUIRE_FALSE(refused);
  check_error(refused.error(), code, what);
}

}  // namespace

TEST_CASE("where nothing is loaded nothing is found, and nothing is made") {
  refused_with(looking_options(), Errc::not_found, "adopt data path: instance test is not loaded");
  CHECK_FALSE(fs::exists(directory().parent_path()));
  const InstanceFixture other(datapath_options("other"));
  refused_with(looking_options(), Errc::not_found, "instance test is not loaded");
  CHECK_FALSE(fs::exists(directory()));
  SUBCASE("a directory that waits for its first load") { fs::create_directory(directory()); }
  SUBCASE("a load that was killed") { fs::create_directories(directory() / "staging" / "maps"); }
  if (fs::exists(directory())) {
    fs::permissions(directory(), fs::perms::owner_all);
    refused_with(looking_options(), Errc::not_found, "instance test is not loaded");
    CHECK(Datapath::unload(datapath_options()));
  }
}

TEST_CASE("what is loaded is adopted as it is, twice, whatever the options that only loading looks at") {
  const InstanceFixture loaded;
  const auto programs = program_ids(loaded.datapath);
  const auto maps = map_ids(loaded.datapath);
  const auto before = pins();
  for (int i = 0; i < 2; ++i) {
    const Datapath adopted = must(Datapath::adopt(looking_options()));
    CHECK(program_ids(adopted) == programs);
    CHECK(map_ids(adopted) == maps);
    CHECK(must(must(ServiceTable::open(adopted)).list()).empty());
    CHECK_FALSE(must(adopted.status()).socket_redirect_loaded);
  }
  CHECK(pins() == before);
}

TEST_CASE("programs of another build are adopted and stay") {
  const InstanceFixture loaded;
  const auto programs = program_ids(loaded.datapath);
  auto meta = must(loaded.datapath.instance()->meta());
  for (auto& build : meta.build) build ^= 1;
  must(loaded.datapath.instance()->put_meta(meta));
  const Datapath adopted = must(Datapath::adopt(looking_options()));
  CHECK(program_ids(adopted) == programs);
  const auto after = must(adopted.instance()->meta());
  CHECK(std::equal(std::begin(after.build), std::end(after.build), std::begin(meta.build)));
}

TEST_CASE("a handle that was adopted does what one that was opened does") {
  const InstanceFixture loaded;
  const Datapath adopted = must(Datapath::adopt(looking_options()));
  AddressPool pool = must(AddressPool::open(adopted, {*Prefix::parse("10.1.0.0/24")}));
  CHECK(must(pool.acquire(id("a"))) == ip("10.1.0.2"));
  CHECK(must(must(AddressPool::open(loaded.datapath, pool.subnet())).find(id("a"))) == ip("10.1.0.2"));
  must(pool.release(id("a")));
}

TEST_CASE("who holds the instance's lock does not keep anybody from looking, and what he has not finished stays") {
  const InstanceFixture loaded;
  const fs::path half = directory() / "staging" / "links";
  fs::create_directories(half);
  const UniqueFd held(open(directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(flock(held.get(), LOCK_EX) == 0);
  CHECK(Datapath::adopt(looking_options()));
  CHECK(fs::exists(half));
}

TEST_CASE("what is no instance of this layout is refused and stays") {
  SUBCASE("another version's directory") {
    fs::create_directories(directory() / "v9" / "maps");
    fs::permissions(directory().parent_path(), fs::perms::owner_all);
    fs::permissions(directory(), fs::perms::owner_all);
    refused_with(looking_options(), Errc::version_mismatch, "layout v9 is pinned there");
    CHECK(fs::exists(directory() / "v9" / "maps"));
    must(Datapath::unload(datapath_options(), UnloadMode::force));
  }
  SUBCASE("no bpffs, no such path, no name") {
    DatapathOptions options = looking_options();
    options.bpffs = "/tmp";
    refused_with(options, Errc::invalid_argument, "mount -t bpf");
    options.bpffs = "/nowhere/at/all";
    refused_with(options, Errc::not_found, "/nowhere/at/all");
    options = datapath_options("../test");
    refused_with(options, Errc::invalid_argument, "instance's name");
  }
  SUBCASE("a map that is gone") {
    const InstanceFixture loaded;
    REQUIRE(unlink((directory() / "v1/maps/meta").c_str()) == 0);
    const auto before = pins();
    refused_with(looking_options(), Errc::protocol, "map meta is missing");
    CHECK(pins() == before);
  }
}

TEST_CASE("a directory that others could have prepared is not looked into") {
  const InstanceFixture loaded;
  for (const fs::path& path : {directory().parent_path(), directory(), directory() / "v1"}) {
    REQUIRE(chmod(path.c_str(), 0777) == 0);
    refused_with(looking_options(), Errc::permission_denied, "can be written by others");
    REQUIRE(chmod(path.c_str(), 0700) == 0);
    REQUIRE(chown(path.c_str(), 65534, 65534) == 0);
    refused_with(looking_options(), Errc::permission_denied, "belongs to user 65534");
    REQUIRE(chown(path.c_str(), 0, 0) == 0);
  }
  CHECK(Datapath::adopt(looking_options()));
}

TEST_CASE("adopting costs descriptors only, and gives them back") {
  const InstanceFixture loaded;
  const std::size_t descriptors = open_descriptors();
  const std::size_t running = threads();
  CHECK(must(Datapath::adopt(looking_options())).status());
  refused_with(datapath_options("absent"), Errc::not_found, "absent");
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == running);
}

TEST_CASE("a process that is killed while it adopts leaves everything as it was") {
  const InstanceFixture loaded;
  const Netns here = must(Netns::current());
  const auto before = pins();
  unsigned call = 0;
  while (kill_before(here, call, [] { return Datapath::adopt(looking_options()).has_value(); })) ++call;
  CHECK(call > 10);
  CHECK(pins() == before);
}

TEST_CASE("while others load and unload there is an instance, or there is none") {
  const Unloaded after;
  const Netns here = must(Netns::current());
  const pid_t others = start_in(here, false, [] {
    for (int round = 0; round < 30; ++round)
      if (!Datapath::open(datapath_options()) || !Datapath::unload(datapath_options())) return false;
    return true;
  });
  int status = 0;
  while (waitpid(others, &status, WNOHANG) == 0) {
    auto adopted = Datapath::adopt(looking_options());
    if (!adopted) CHECK_MESSAGE(adopted.error().code() == Errc::not_found, text(adopted.error()));
  }
  CHECK(status == 0);
}
