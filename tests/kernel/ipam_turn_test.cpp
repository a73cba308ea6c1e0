// What a process gets that takes one address and ends, as one after the other does on a node with plugins.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>

#include "bpf/instance.hpp"
#include "killing.hpp"
#include "names.hpp"
#include "patu/patu.hpp"
#include "pool_fixture.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Cursors = RawMap<patu_range, patu_addr>;

// A handle knows no more than a process that has just started.
IpAddress take_once(const PoolFixture& fixture, const Subnet& subnet, const std::string& owner) {
  AddressPool pool = fixture.pool(subnet);
  return acquired(pool, id(owner));
}

Subnet subnet(const char* prefix) { return {*Prefix::parse(prefix)}; }

void give_back(const PoolFixture& fixture, const Subnet& subnet, const std::string& owner) {
  AddressPool pool = fixture.pool(subnet);
  must(pool.release(id(owner)));
}

IpAddress at(unsigned number) {
  return ip(("10.1." + std::to_string(number / 256) + "." + std::to_string(number % 256)).c_str());
}

// Leases in a row, made by name: nobody's turn moves.
void lease_row(AddressPool& pool, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; ++i) (void)must(pool.acquire(id("row-" + std::to_string(i)), at(i)));
}

unsigned calls_of_one(const Subnet& subnet, const std::string& owner) {
  return count_calls(must(Netns::current()), [&] {
    auto datapath = Datapath::adopt(datapath_options());
    auto pool = AddressPool::open(*datapath, subnet);
    return pool && pool->acquire(id(owner));
  });
}

}  // namespace

TEST_CASE("processes that take one address each get the next in turn, also after one was given back") {
  const PoolFixture fixture;
  const Subnet range = subnet("10.1.0.0/24");
  CHECK(take_once(fixture, range, "a") == ip("10.1.0.2"));
  CHECK(take_once(fixture, range, "b") == ip("10.1.0.3"));
  CHECK(take_once(fixture, range, "a") == ip("10.1.0.2"));
  give_back(fixture, range, "a");
  CHECK(take_once(fixture, range, "c") == ip("10.1.0.4"));
  AddressPool stays = fixture.pool(range);
  CHECK(acquired(stays, id("d")) == ip("10.1.0.5"));
  CHECK(acquired(stays, id("e")) == ip("10.1.0.6"));
  CHECK(take_once(fixture, range, "f") == ip("10.1.0.7"));
}

TEST_CASE("at the end of the range the first addresses follow, but for what is leased, reserved or has not rested") {
  const PoolFixture fixture;
  Subnet range = subnet("10.1.0.0/28");
  range.reserved = {ip("10.1.0.5")};
  for (unsigned i = 0; i < 12; ++i) (void)take_once(fixture, range, "pod-" + std::to_string(i));  // all
  for (const char* owner : {"pod-1", "pod-3", "pod-6"}) give_back(fixture, range, owner);         // .3 .6 .9
  age_released(61);
  give_back(fixture, range, "pod-2");  // .4
  CHECK(take_once(fixture, range, "a") == ip("10.1.0.3"));
  CHECK(take_once(fixture, range, "b") == ip("10.1.0.6"));
  CHECK(take_once(fixture, range, "c") == ip("10.1.0.9"));
  CHECK(take_once(fixture, range, "d") == ip("10.1.0.4"));  // there is no other
  auto refused = fixture.pool(range).acquire(id("e"));
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::exhausted, "no free address in 10.1.0.0/28");
  CHECK(Releases("released").size() == 0);
  CHECK(Attachments("attachments").size() == 12);
}

TEST_CASE("one address costs as many system calls with thousands of leases as with none") {
  const PoolFixture fixture(small_datapath(4096));
  const Subnet range = subnet("10.1.0.0/16");
  const unsigned first = calls_of_one(range, "first");
  AddressPool pool = fixture.pool(range);
  for (int i = 0; i < 3000; ++i) (void)acquired(pool, id("pod-" + std::to_string(i)));
  CHECK(calls_of_one(range, "last") == first);
  CHECK(*pool.find(id("last")) == at(3003));
}

TEST_CASE("a row of leases that is in the way is read once, and the next process is past it") {
  const PoolFixture fixture;
  const Subnet range = subnet("10.1.0.0/16");
  AddressPool pool = fixture.pool(range);
  const unsigned short_way = calls_of_one(range, "a");  // .2
  lease_row(pool, 3, 300);
  CHECK(take_once(fixture, range, "b") == at(300));
  CHECK(calls_of_one(range, "c") == short_way);
  CHECK(*pool.find(id("c")) == at(301));
}

TEST_CASE("a row with an address that has rested is read once too") {
  const PoolFixture fixture;
  const Subnet range = subnet("10.1.0.0/16");
  AddressPool pool = fixture.pool(range);
  const unsigned short_way = calls_of_one(range, "a");  // .2
  lease_row(pool, 3, 300);
  must(pool.release(id("row-200")));
  age_released(61);
  CHECK(take_once(fixture, range, "b") == at(200));
  CHECK(calls_of_one(range, "c") == short_way);
  CHECK(*pool.find(id("c")) == at(300));
}

TEST_CASE("reserved addresses cost no tries") {
  const PoolFixture fixture;
  Subnet range = subnet("10.1.0.0/16");
  const unsigned short_way = calls_of_one(range, "a");
  for (unsigned i = 3; i < 500; ++i) range.reserved.push_back(at(i));
  CHECK(calls_of_one(range, "b") == short_way);
  CHECK(*fixture.pool(range).find(id("b")) == at(500));
}

TEST_CASE("two ranges of one prefix, and the two families, have their own turn") {
  const PoolFixture fixture;
  Subnet low = subnet("10.1.0.0/24");
  low.last = ip("10.1.0.99");
  Subnet high = subnet("10.1.0.0/24");
  high.first = ip("10.1.0.100");
  const Subnet v6 = subnet("fd00:1::/64");
  CHECK(take_once(fixture, low, "a") == ip("10.1.0.2"));
  CHECK(take_once(fixture, high, "b") == ip("10.1.0.100"));
  CHECK(take_once(fixture, v6, "a") == ip("fd00:1::2"));
  CHECK(take_once(fixture, low, "c") == ip("10.1.0.3"));
  CHECK(take_once(fixture, high, "d") == ip("10.1.0.101"));
  CHECK(take_once(fixture, v6, "b") == ip("fd00:1::3"));
}

TEST_CASE("a turn that is nonsense, or stands at what others have taken, costs tries and nothing else") {
  const PoolFixture fixture;
  const Subnet range = subnet("10.1.0.0/24");
  CHECK(take_once(fixture, range, "a") == ip("10.1.0.2"));
  const Cursors cursors("cursors");
  REQUIRE(cursors.size() == 1);
  const patu_range key = cursors.all().front().first;
  for (const char* wrong : {"::", "10.0.0.1", "10.2.0.1", "fd00::9", "10.1.0.2", "10.1.0.1"}) {
    cursors.put(key, address_key(ip(wrong)));
    const auto taken = static_cast<unsigned>(Leases("leases").size());
    CHECK(take_once(fixture, range, "pod-" + std::to_string(taken)) == at(2 + taken));
  }
}

TEST_CASE("ranges that nobody uses any more give way") {
  const PoolFixture fixture;
  const Cursors cursors("cursors");
  patu_range key{};
  int err = 0;
  for (unsigned i = 0; i < 4096 && err == 0; ++i) {
    std::memcpy(key.first.bytes, &i, sizeof i);
    err = ::bpf_map_update_elem(cursors.fd(), &key, &key.first, BPF_ANY);
  }
  REQUIRE(err == -E2BIG);
  CHECK(take_once(fixture, subnet("10.1.0.0/24"), "a") == ip("10.1.0.2"));
  CHECK(cursors.size() == 1);
  CHECK(take_once(fixture, subnet("10.1.0.0/24"), "b") == ip("10.1.0.3"));
}

TEST_CASE("sixteen processes at once that take one address each leave no gap") {
  const PoolFixture fixture;
  const Netns here = must(Netns::current());
  std::vector<pid_t> children;
  for (int p = 0; p < 16; ++p)
    children.push_back(start_in(here, false, [p] {
      for (int i = 0; i < 20; ++i) {
        auto datapath = Datapath::open(datapath_options());
        auto pool = AddressPool::open(*datapath, {*Prefix::parse("10.1.0.0/16")});
        if (!pool || !pool->acquire(id("pod-" + std::to_string(p) + "-" + std::to_string(i)))) return false;
      }
      return true;
    }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  const auto leases = must(fixture.pool("10.1.0.0/16").list());
  REQUIRE(leases.size() == 320);
  CHECK(leases.front().address == at(2));
  CHECK(leases.back().address == at(321));
}

TEST_CASE("a process that is killed anywhere while it takes an address keeps nobody from the next") {
  const PoolFixture fixture;
  const Netns here = must(Netns::current());
  const Subnet range = subnet("10.1.0.0/24");
  unsigned call = 0;
  const auto body = [&] {
    auto datapath = Datapath::adopt(datapath_options());
    auto pool = AddressPool::open(*datapath, range);
    return pool && pool->acquire(id("victim"));
  };
  for (bool killed = true; killed; ++call) {
    killed = kill_before(here, call, body);
    AddressPool pool = fixture.pool(range);
    const auto held = must(pool.find(id("victim")));
    CHECK(Leases("leases").size() == (held ? 1 : 0));
    const IpAddress address = acquired(pool, id("victim"));
    CHECK(held.value_or(address) == address);
    must(pool.release(id("victim")));
    check_no_leases();
    Releases("released").clear();
  }
  CHECK(call > 20);
}

TEST_CASE("an instance of a build that did not keep turns serves whoever adopts it, and opening it begins to") {
  const PoolFixture fixture;
  const Subnet range = subnet("10.1.0.0/24");
  CHECK(take_once(fixture, range, "a") == ip("10.1.0.2"));
  const std::string pin = bpffs_path() + "/patu/test/v1/maps/cursors";
  REQUIRE(::unlink(pin.c_str()) == 0);
  auto meta = must(fixture.datapath.instance()->meta());
  meta.build[PATU_COMPONENT_POD] ^= 1;
  must(fixture.datapath.instance()->put_meta(meta));
  {
    const Datapath adopted = must(Datapath::adopt(fixture.options));
    AddressPool pool = must(AddressPool::open(adopted, range));
    CHECK(acquired(pool, id("b")) == ip("10.1.0.3"));
    CHECK(acquired(pool, id("c")) == ip("10.1.0.4"));
    CHECK(adopted.status());
    CHECK(::access(pin.c_str(), F_OK) != 0);
  }
  const Datapath upgraded = must(Datapath::open(fixture.options));
  CHECK(::access(pin.c_str(), F_OK) == 0);
  AddressPool pool = must(AddressPool::open(upgraded, range));
  CHECK(*pool.find(id("a")) == ip("10.1.0.2"));
  CHECK(acquired(pool, id("d")) == ip("10.1.0.5"));
  CHECK(Cursors("cursors").size() == 1);
}
