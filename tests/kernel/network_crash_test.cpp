// Many processes at once, and processes that are killed anywhere: no address is lost or given twice, nothing stays behind.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <set>

#include "base/unique_fd.hpp"
#include "network_fixture.hpp"
#include "patu/patu.hpp"

using namespace patu;
using namespace patu::test;

namespace {

struct Opened {
  Datapath datapath;
  Network network;
};

// In a child, where a failed REQUIRE would be the parent's.
std::optional<Opened> open_in_child() {
  auto datapath = Datapath::open(datapath_options());
  if (!datapath) return std::nullopt;
  auto network = Network::open(*datapath, network_options("patu0", "10.200.0.0/20"));
  if (!network) return std::nullopt;
  return Opened{std::move(*datapath), std::move(*network)};
}

struct Fixture : NetworkFixture {
  Fixture() : NetworkFixture(network_options("patu0", "10.200.0.0/20")) {}

  // Interfaces, leases and entries are those of the attachments that are listed, and each is complete.
  void check_consistent(const Census& empty, const std::vector<Netns>& pods) {
    const auto listed = must(network.list());
    Census wanted = empty;
    wanted.interfaces += listed.size();
    wanted.leases += 2 * listed.size();
    wanted.attachments += listed.size();
    wanted.pods += 3 * listed.size();
    CHECK(to_string(Census::take()) == to_string(wanted));
    std::set<IpAddress> addresses;
    for (const Attachment& one : listed) {
      for (const InterfaceAddress& address : one.addresses) addresses.insert(address.address);
      const std::size_t number = std::stoul(one.id.container_id().substr(4));
      const auto deviations = must(network.check(one.id, &pods[number]));
      for (const Deviation& deviation : deviations) FAIL_CHECK(deviation.id.to_string() << ": " << deviation.what);
    }
    CHECK(addresses.size() == 2 * listed.size());
  }
};

AttachmentId pod_id(std::size_t number) { return id("pod-" + std::to_string(number)); }

bool say(const Error& error) {
  (void)std::fprintf(stderr, "child: %s\n", error.to_string().c_str());
  return false;
}

}  // namespace

TEST_CASE("eight processes that attach fifty pods each get fifty addresses of each family each") {
  Fixture fixture;
  constexpr std::size_t kProcesses = 8;
  constexpr std::size_t kEach = 50;
  const auto pods = make_pods(kProcesses * kEach);
  const Census empty = Census::take();
  std::vector<pid_t> children;
  for (std::size_t p = 0; p < kProcesses; ++p)
    children.push_back(start_in(
        here(), false,
        [&, p] {
          auto opened = open_in_child();
          if (!opened) return false;
          for (std::size_t i = p * kEach; i < (p + 1) * kEach; ++i)
            if (auto attached = opened->network.attach({pod_id(i), &pods[i]}); !attached) return say(attached.error());
          return true;
        },
        300));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  CHECK(must(fixture.network.list()).size() == kProcesses * kEach);
  fixture.check_consistent(empty, pods);
}

TEST_CASE("processes that attach the same pod at once make one attachment between them") {
  Fixture fixture;
  const auto pods = make_pods(10);
  const Census empty = Census::take();
  std::vector<pid_t> children;
  for (int p = 0; p < 6; ++p)
    children.push_back(start_in(here(), false, [&] {
      auto opened = open_in_child();
      if (!opened) return false;
      for (std::size_t i = 0; i < pods.size(); ++i)
        if (auto attached = opened->network.attach({pod_id(i), &pods[i]}); !attached) return say(attached.error());
      return true;
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  CHECK(must(fixture.network.list()).size() == pods.size());
  fixture.check_consistent(empty, pods);
}

TEST_CASE("processes that attach, detach, check and reconcile the same pods at once leave them consistent") {
  Fixture fixture;
  const auto pods = make_pods(6);
  const Census empty = Census::take();
  std::vector<pid_t> children;
  for (unsigned p = 0; p < 6; ++p)
    children.push_back(start_in(here(), false, [&, p] {
      auto opened = open_in_child();
      if (!opened) return false;
      Network& network = opened->network;
      std::minstd_rand random(p + 1);
      for (int round = 0; round < 30; ++round) {
        const std::size_t i = random() % pods.size();
        switch (random() % 5) {
          case 0:
          case 1:
            if (auto done = network.attach({pod_id(i), &pods[i]}); !done) return say(done.error());
            break;
          case 2:
            if (auto done = network.detach(pod_id(i)); !done) return say(done.error());
            break;
          case 3:
            if (auto done = network.check(); !done) return say(done.error());
            break;
          default:
            // Every attachment is complete whenever the locks are free: there is never anything to repair.
            auto done = network.reconcile();
            if (!done) return say(done.error());
            if (!done->detached.empty() || !done->released.empty() || !done->repaired.empty()) return false;
        }
      }
      return true;
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  fixture.check_consistent(empty, pods);
}

TEST_CASE("a process killed at any moment leaves what the next reconcile, attach or detach puts right") {
  Fixture fixture;
  constexpr int kRounds = 240;
  const auto pods = make_pods(8);
  const Census empty = Census::take();
  std::minstd_rand random(42);
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    UniqueFd ready(ends[0]);
    UniqueFd tell(ends[1]);
    const pid_t child = start_in(here(), false, [&] {
      auto opened = open_in_child();
      if (!opened || ::write(tell.get(), "", 1) != 1) return false;
      std::minstd_rand choice(static_cast<unsigned>(round));
      for (;;) {
        const std::size_t i = choice() % pods.size();
        const std::vector some{pod_id(i), pod_id((i + 1) % pods.size()), pod_id((i + 2) % pods.size())};
        const std::vector<PodSpec> specs{
            {some[0], &pods[i]}, {some[1], &pods[(i + 1) % pods.size()]}, {some[2], &pods[(i + 2) % pods.size()]}};
        if (choice() % 4 != 0 && !opened->network.attach(specs)) return false;
        if (choice() % 2 == 0 && !opened->network.detach(some[1])) return false;
        if (choice() % 2 == 0 && !opened->network.detach(some)) return false;
      }
    });
    char byte = 0;
    REQUIRE(::read(ready.get(), &byte, 1) == 1);
    ::usleep(static_cast<useconds_t>(random() % 25000));
    ::kill(child, SIGKILL);
    CHECK(wait_for(child) == 128 + SIGKILL);
    ready = UniqueFd();
    tell = UniqueFd();
    switch (round % 3) {
      case 0: must(fixture.network.reconcile()); break;
      case 1:
        for (std::size_t i = 0; i < pods.size(); ++i) must(fixture.network.attach({pod_id(i), &pods[i]}));
        break;
      default:
        for (std::size_t i = 0; i < pods.size(); ++i) must(fixture.network.detach(pod_id(i)));
        CHECK(must(fixture.network.list()).empty());
    }
    fixture.check_consistent(empty, pods);
  }
}
