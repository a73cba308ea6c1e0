// Leases in a pinned map: who gets which address, and what is refused.
#include <doctest/doctest.h>

#include <ctime>
#include <map>
#include <set>

#include "names.hpp"
#include "patu/patu.hpp"
#include "pool_fixture.hpp"

using namespace patu;
using namespace patu::test;

namespace {

std::uint64_t boot_time_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

TEST_CASE("addresses come in order, one for each owner, and the map says whose they are") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  CHECK(acquired(pool, id("a")) == ip("10.1.0.2"));
  CHECK(acquired(pool, id("b")) == ip("10.1.0.3"));
  CHECK(acquired(pool, id("a")) == ip("10.1.0.2"));
  std::map<IpAddress, std::string> owners;
  for (const auto& [address, lease] : Leases("leases").all()) {
    owners[to_address(address)] = std::string(reinterpret_cast<const char*>(lease.container_id)) + "/" +
                                  reinterpret_cast<const char*>(lease.ifname);
    CHECK(lease.acquired_ns <= boot_time_ns());
    CHECK(lease.acquired_ns + 60'000'000'000u > boot_time_ns());
  }
  CHECK(owners == std::map<IpAddress, std::string>{{ip("10.1.0.2"), "a/eth0"}, {ip("10.1.0.3"), "b/eth0"}});
}

TEST_CASE("an id of the greatest length is kept whole") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  const AttachmentId longest =
      *AttachmentId::parse(std::string(AttachmentId::kMaxContainerIdLength, 'z'), "fifteen-letters");
  const AttachmentId shorter =
      *AttachmentId::parse(std::string(AttachmentId::kMaxContainerIdLength - 1, 'z'), "fifteen-letters");
  const IpAddress address = acquired(pool, longest);
  CHECK(acquired(pool, shorter) != address);
  auto leases = pool.list();
  REQUIRE(leases);
  REQUIRE(leases->size() == 2);
  CHECK(leases->front().owner == longest);
  CHECK(leases->back().owner == shorter);
  CHECK(*pool.find(longest) == address);
}

TEST_CASE("releasing works, works twice, and works for an owner that never had anything") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  (void)acquired(pool, id("a"));
  CHECK(pool.release(id("a")));
  CHECK(pool.release(id("a")));
  CHECK(pool.release(id("never")));
  CHECK(*pool.find(id("a")) == std::nullopt);
  check_no_leases();
  CHECK(Releases("released").size() == 1);
}

TEST_CASE("an address that was just released is the last to be given again") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/29");
  (void)acquired(pool, id("a"));
  CHECK(pool.release(id("a")));
  CHECK(acquired(pool, id("b")) == ip("10.1.0.3"));
  CHECK(acquired(pool, id("c")) == ip("10.1.0.4"));
  CHECK(pool.release(id("b")));
  CHECK(acquired(pool, id("d")) == ip("10.1.0.5"));
  CHECK(acquired(pool, id("e")) == ip("10.1.0.6"));
  CHECK(acquired(pool, id("f")) == ip("10.1.0.2"));
  CHECK(acquired(pool, id("g")) == ip("10.1.0.3"));
  CHECK(Releases("released").size() == 0);
}

TEST_CASE("in a process that stays, an address that has rested comes before those that were never used") {
  const PoolFixture fixture;
  {
    AddressPool pool = fixture.pool("10.1.0.0/24");
    for (const char* name : {"a", "b", "c"}) (void)acquired(pool, id(name));
    CHECK(pool.release(id("b")));
    CHECK(pool.release(id("a")));
  }
  age_released(61);
  AddressPool pool = fixture.pool("10.1.0.0/24");
  CHECK(acquired(pool, id("first")) == ip("10.1.0.5"));
  CHECK(acquired(pool, id("d")) == ip("10.1.0.3"));
  CHECK(acquired(pool, id("e")) == ip("10.1.0.2"));
  CHECK(acquired(pool, id("f")) == ip("10.1.0.6"));
}

TEST_CASE("a full map of leases is named, and nothing is left of the attempt") {
  const PoolFixture fixture(small_datapath(4));
  AddressPool pool = fixture.pool("10.1.0.0/24");
  std::set<std::string> owners;
  for (int i = 0; i < 64; ++i) {
    auto address = pool.acquire(id("pod-" + std::to_string(i)));
    if (address) {
      owners.insert("pod-" + std::to_string(i));
      continue;
    }
    check_error(address.error(), Errc::exhausted, "is full (DatapathOptions::max_pods)");
  }
  CHECK(owners.size() >= 4);
  CHECK(owners.size() < 64);
  CHECK(Leases("leases").size() == owners.size());
  CHECK(Attachments("attachments").size() == owners.size());
  for (const std::string& owner : owners) CHECK(pool.release(id(owner)));
  check_no_leases();
}

TEST_CASE("a map of released addresses that is full makes room by forgetting the oldest") {
  const PoolFixture fixture(small_datapath(4));
  AddressPool pool = fixture.pool("10.1.0.0/24");
  for (int i = 0; i < 100; ++i) {
    const AttachmentId owner = id("pod-" + std::to_string(i));
    (void)acquired(pool, owner);
    auto released = pool.release(owner);
    REQUIRE_MESSAGE(released, released.error().to_string());
  }
  check_no_leases();
  std::set<IpAddress> rest;
  for (const auto& [address, at] : Releases("released").all()) rest.insert(to_address(address));
  CHECK(rest.size() >= 2);
  CHECK(rest.contains(ip("10.1.0.101")));
  CHECK_FALSE(rest.contains(ip("10.1.0.2")));
}

TEST_CASE("an address can be asked for, also a reserved one, and again") {
  const PoolFixture fixture;
  Subnet subnet{*Prefix::parse("10.1.0.0/24")};
  subnet.reserved = {ip("10.1.0.2"), ip("10.1.0.3")};
  AddressPool pool = fixture.pool(subnet);
  CHECK(acquired(pool, id("a")) == ip("10.1.0.4"));
  for (int i = 0; i < 2; ++i) {
    auto address = pool.acquire(id("b"), ip("10.1.0.3"));
    REQUIRE_MESSAGE(address, address.error().to_string());
    CHECK(*address == ip("10.1.0.3"));
  }
  CHECK(acquired(pool, id("b")) == ip("10.1.0.3"));
  CHECK(pool.release(id("b")));
  CHECK(acquired(pool, id("c")) == ip("10.1.0.5"));
}

TEST_CASE("a range of which every address is reserved is full, and each can be asked for") {
  const PoolFixture fixture;
  Subnet subnet{*Prefix::parse("10.1.0.0/29")};
  for (const char* text : {"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"})
    subnet.reserved.push_back(ip(text));
  AddressPool pool = fixture.pool(subnet);
  for (int i = 0; i < 2; ++i) {
    const auto none = pool.acquire(id("a"));
    REQUIRE_FALSE(none);
    CHECK(none.error().code() == Errc::exhausted);
  }
  CHECK(pool.usage()->free == 0);
  CHECK(*pool.acquire(id("a"), ip("10.1.0.6")) == ip("10.1.0.6"));
}

TEST_CASE("an address that was just released can be asked for at once") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  CHECK(pool.acquire(id("a"), ip("10.1.0.77")));
  CHECK(pool.release(id("a")));
  CHECK(Releases("released").size() == 1);
  CHECK(pool.acquire(id("b"), ip("10.1.0.77")));
  CHECK(Releases("released").size() == 0);
}

TEST_CASE("what cannot be had by name is refused and changes nothing") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  CHECK(acquired(pool, id("a")) == ip("10.1.0.2"));
  const auto refuse = [&](const char* owner, const char* address, Errc code, const char* text) {
    auto refused = pool.acquire(id(owner), ip(address));
    REQUIRE_FALSE(refused);
    check_error(refused.error(), code, text);
    CHECK(Leases("leases").size() == 1);
    CHECK(Attachments("attachments").size() == 1);
  };
  refuse("b", "10.1.0.2", Errc::already_exists, "acquire 10.1.0.2 for b/eth0: address 10.1.0.2 is somebody else's");
  refuse("a", "10.1.0.9", Errc::already_exists, "a/eth0 has 10.1.0.2 already");
  refuse("b", "10.1.0.1", Errc::invalid_argument, "10.1.0.1 is the gateway's");
  refuse("b", "10.1.0.0", Errc::invalid_argument, "10.1.0.0 is no host");
  refuse("b", "10.1.0.255", Errc::invalid_argument, "10.1.0.255 is no host");
  refuse("b", "10.2.0.9", Errc::invalid_argument, "10.2.0.9 is outside of 10.1.0.0/24");
  refuse("b", "fd00::9", Errc::invalid_argument, "fd00::9 is outside of 10.1.0.0/24");
}

TEST_CASE("a subnet without a usable address is refused") {
  const PoolFixture fixture;
  auto pool = AddressPool::open(fixture.datapath, {*Prefix::parse("10.1.0.0/31")});
  REQUIRE_FALSE(pool);
  check_error(pool.error(), Errc::invalid_argument, "open address pool: subnet 10.1.0.0/31 has no room");
}

TEST_CASE("an owner has one address of each family, and a second pool of a family is refused it") {
  const PoolFixture fixture;
  AddressPool v4 = fixture.pool("10.1.0.0/24");
  AddressPool v6 = fixture.pool("fd00:1::/64");
  AddressPool elsewhere = fixture.pool("10.9.0.0/24");
  CHECK(acquired(v4, id("a")) == ip("10.1.0.2"));
  CHECK(acquired(v6, id("a")) == ip("fd00:1::2"));
  auto refused = elsewhere.acquire(id("a"));
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::already_exists, "a/eth0 has 10.1.0.2, which is not of 10.9.0.0/24");
  CHECK(*elsewhere.find(id("a")) == std::nullopt);
  CHECK(elsewhere.release(id("a")));
  CHECK(*v4.find(id("a")) == ip("10.1.0.2"));
  CHECK(v4.release(id("a")));
  CHECK(*v6.find(id("a")) == ip("fd00:1::2"));
  CHECK(v6.release(id("a")));
  check_no_leases();
}

TEST_CASE("a list has the leases of its own pool, by address") {
  const PoolFixture fixture;
  AddressPool pool = fixture.pool("10.1.0.0/24");
  AddressPool other = fixture.pool("fd00:1::/64");
  CHECK(pool.acquire(id("b"), ip("10.1.0.9")));
  (void)acquired(pool, id("a"));
  (void)acquired(other, id("a"));
  auto leases = pool.list();
  REQUIRE(leases);
  REQUIRE(leases->size() == 2);
  CHECK(leases->front().address == ip("10.1.0.2"));
  CHECK(leases->front().owner == id("a"));
  CHECK(leases->back().address == ip("10.1.0.9"));
  CHECK(leases->back().acquired.count() > 0);
}

TEST_CASE("the usage counts what can be handed out, and tells the reserved from the rest") {
  const PoolFixture fixture;
  Subnet subnet{*Prefix::parse("10.1.0.0/24")};
  subnet.first = ip("10.1.0.10");
  subnet.last = ip("10.1.0.13");
  subnet.reserved = {ip("10.1.0.12"), ip("10.1.0.77")};
  AddressPool pool = fixture.pool(subnet);
  AddressPool other = fixture.pool("fd00:1::/64");
  const auto check_usage = [&](std::uint64_t leased, std::uint64_t free) {
    const PoolUsage usage = must(pool.usage());
    CHECK(usage.capacity == 3);
    CHECK(usage.leased == leased);
    CHECK(usage.free == free);
  };
  check_usage(0, 3);
  (void)acquired(other, id("a"));
  (void)must(pool.acquire(id("named"), ip("10.1.0.99")));  // neither of the range nor reserved
  check_usage(0, 3);
  (void)must(pool.acquire(id("r1"), ip("10.1.0.12")));
  (void)must(pool.acquire(id("r2"), ip("10.1.0.77")));
  check_usage(2, 3);
  for (const char* name : {"a", "b", "c"}) (void)acquired(pool, id(name));
  check_usage(5, 0);
  CHECK(pool.acquire(id("d")).error().code() == Errc::exhausted);
  CHECK(pool.release(id("b")));
  check_usage(4, 1);
  CHECK(must(other.usage()).leased == 1);
}

TEST_CASE("the usage of many leases counts each once") {
  const PoolFixture fixture(small_datapath(2048));
  AddressPool pool = fixture.pool("10.1.0.0/20");
  for (int i = 0; i < 2000; ++i) (void)must(pool.acquire(id("pod-" + std::to_string(i))));
  const PoolUsage usage = must(pool.usage());
  CHECK(usage.capacity == 4093);
  CHECK(usage.leased == 2000);
  CHECK(usage.free == 2093);
}
