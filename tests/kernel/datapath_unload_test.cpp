// Unloading, processes at once, and dying in the middle.
#include <signal.h>
#include <sys/stat.h>

#include <random>

#include "datapath_fixture.hpp"

using namespace patu;
using namespace patu::test;

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
