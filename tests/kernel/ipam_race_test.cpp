// Leases in a pinned map: many handles and processes at once, and killed ones.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "names.hpp"
#include "patu/patu.hpp"
#include "pool_fixture.hpp"

using namespace patu;
using namespace patu::test;

TEST_CASE("what another handle releases is not given out at once by this one") {
  const PoolFixture fixture;
  AddressPool mine = fixture.pool("10.1.0.0/24");
  AddressPool other = fixture.pool("10.1.0.0/24");
  CHECK(acquired(mine, id("a")) == ip("10.1.0.2"));
  CHECK(acquired(other, id("b")) == ip("10.1.0.3"));
  CHECK(other.release(id("b")));
  CHECK(acquired(mine, id("c")) == ip("10.1.0.4"));
}

TEST_CASE("a full pool says so, changes nothing, and gives what another handle has released since") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/30");
  CHECK(acquired(pool, id("a")) == ip("10.1.0.2"));
  auto refused = pool.acquire(id("b"));
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::exhausted, "acquire an address for b/eth0: no free address in 10.1.0.0/30");
  CHECK(Leases("leases").size() == 1);
  CHECK(Attachments("attachments").size() == 1);
  AddressPool other = fixture.pool("10.1.0.0/30");
  CHECK(other.release(id("a")));
  CHECK(acquired(pool, id("b")) == ip("10.1.0.2"));
}

TEST_CASE("a record that promises an address of somebody else does not count") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  (void)acquired(pool, id("a"));
  // As left by a process that was killed before it lost the race for the address.
  const Attachments attachments("attachments");
  patu_attachment record{};
  record.v4 = address_key(ip("10.1.0.2"));
  attachments.put(index_key(host_ifname(id("b"))), record);
  CHECK(*pool.find(id("b")) == std::nullopt);
  CHECK(pool.release(id("b")));
  CHECK(attachments.size() == 1);
  attachments.put(index_key(host_ifname(id("b"))), record);
  CHECK(acquired(pool, id("b")) == ip("10.1.0.3"));
  CHECK(*pool.find(id("a")) == ip("10.1.0.2"));
}

TEST_CASE("eight processes that take and give back at once never share an address and lose none") {
  const PoolFixture fixture;
  const Netns here = std::move(*Netns::current());
  constexpr int kProcesses = 8;
  constexpr int kRounds = 50;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p)
    children.push_back(start_in(here, false, [&, p] {
      auto datapath = Datapath::open(datapath_options());
      if (!datapath) return false;
      auto pool = AddressPool::open(*datapath, {*Prefix::parse("10.1.0.0/22")});
      if (!pool) return false;
      for (int i = 0; i < kRounds; ++i) {
        if (!pool->acquire(id("keep-" + std::to_string(p) + "-" + std::to_string(i)))) return false;
        const AttachmentId brief = id("brief-" + std::to_string(p) + "-" + std::to_string(i));
        if (!pool->acquire(brief) || !pool->release(brief)) return false;
      }
      return true;
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  AddressPool pool = fixture.pool("10.1.0.0/22");
  auto leases = pool.list();
  REQUIRE(leases);
  CHECK(leases->size() == kProcesses * kRounds);
  std::set<std::string> owners;
  for (const Lease& lease : *leases) {
    owners.insert(lease.owner.container_id());
    CHECK(*pool.find(lease.owner) == lease.address);
  }
  CHECK(owners.size() == kProcesses * kRounds);
  CHECK(Leases("leases").size() == kProcesses * kRounds);
  CHECK(Attachments("attachments").size() == kProcesses * kRounds);
}

TEST_CASE("processes that want the same owner at once get one address between them") {
  const PoolFixture fixture;
  const Netns here = std::move(*Netns::current());
  std::vector<pid_t> children;
  for (int p = 0; p < 8; ++p)
    children.push_back(start_in(here, false, [&] {
      auto datapath = Datapath::open(datapath_options());
      if (!datapath) return false;
      auto v4 = AddressPool::open(*datapath, {*Prefix::parse("10.1.0.0/24")});
      auto v6 = AddressPool::open(*datapath, {*Prefix::parse("fd00:1::/64")});
      for (int i = 0; i < 50; ++i)
        if (!v4->acquire(id("shared-" + std::to_string(i))) || !v6->acquire(id("shared-" + std::to_string(i))))
          return false;
      return true;
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  CHECK(Leases("leases").size() == 100);
  CHECK(Attachments("attachments").size() == 50);
}

TEST_CASE("a killed process leaves no lease that its owner cannot find") {
  const PoolFixture fixture;
  const Netns here = std::move(*Netns::current());
  unsigned seed = 7;
  for (int round = 0; round < 100; ++round) {
    const pid_t child = start_in(here, false, [&] {
      auto datapath = Datapath::open(datapath_options());
      auto pool = AddressPool::open(*datapath, {*Prefix::parse("10.1.0.0/24")});
      for (;;)
        for (int i = 0; i < 20; ++i) {
          const AttachmentId owner = id("pod-" + std::to_string(i));
          (void)((::rand() & 1) != 0 ? pool->release(owner) : pool->acquire(owner).map([](const IpAddress&) {}));
        }
      return true;
    });
    ::usleep(1000 + static_cast<unsigned>(::rand_r(&seed)) % 4000);
    ::kill(child, SIGKILL);
    CHECK(wait_for(child) == 128 + SIGKILL);
  }
  AddressPool pool = fixture.pool("10.1.0.0/24");
  auto leases = pool.list();
  REQUIRE(leases);
  for (const Lease& lease : *leases) {
    CHECK(*pool.find(lease.owner) == lease.address);
    CHECK(pool.release(lease.owner));
  }
  CHECK(Leases("leases").size() == 0);
}

TEST_CASE("a pool leaves no descriptor and no thread") {
  const PoolFixture fixture;
  const std::size_t descriptors = open_descriptors();
  const std::size_t running = threads();
  {
    AddressPool pool = fixture.pool("10.1.0.0/24");
    for (int i = 0; i < 10; ++i) (void)acquired(pool, id("pod-" + std::to_string(i)));
    for (int i = 0; i < 10; ++i) CHECK(pool.release(id("pod-" + std::to_string(i))));
    CHECK(open_descriptors() == descriptors);
  }
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == running);
}
