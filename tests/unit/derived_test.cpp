// What is derived from an attachment's id and addresses, and the record in an interface's alias.
#include <doctest/doctest.h>

#include <set>

#include "bpf/instance.hpp"
#include "names.hpp"
#include "network/record.hpp"

using namespace patu;
using namespace patu::network;

namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }
AttachmentId id(const std::string& container, const char* ifname = "eth0") {
  return *AttachmentId::parse(container, ifname);
}

constexpr std::uint32_t kTag = 0xdeadbeef;

Record record() {
  Record out{id("web-1"), 0xcafe};
  out.v4 = ip("10.200.0.5");
  out.v6 = ip("fd00:200::5");
  out.mac = *MacAddress::parse("0a:58:0a:c8:00:05");
  out.flags = PATU_POD_REDIRECT;
  out.netns_cookie = 0x1234;
  return out;
}

}  // namespace

TEST_CASE("a host interface name is fixed for ever: other processes, of other builds, must find it") {
  CHECK(host_ifname(id("web-1")).view() == "vethiugeymxdypc");
  CHECK(host_ifname(id("web-2")).view() == "vethpdc2scdc3lq");
}

TEST_CASE("host interface names fit, and differ between ids and between interfaces of one container") {
  std::set<IfName> names;
  for (int i = 0; i < 5000; ++i) {
    names.insert(host_ifname(id("web-" + std::to_string(i))));
    names.insert(host_ifname(id("web-" + std::to_string(i), "eth1")));
  }
  CHECK(names.size() == 10000);
  for (const IfName& name : names) CHECK(name.view().size() == 15);
}

TEST_CASE("attachments spread over all shards") {
  std::set<std::uint32_t> shards;
  for (int i = 0; i < 500; ++i) shards.insert(shard_of(host_ifname(id("web-" + std::to_string(i)))));
  CHECK(shards.size() == bpf::Instance::kShards);
  CHECK(*shards.rbegin() == bpf::Instance::kShards - 1);
}

TEST_CASE("a MAC follows from the IPv4 address, whatever the IPv6 one") {
  CHECK(derived_mac(ip("10.200.0.5"), {}).to_string() == "0a:58:0a:c8:00:05");
  CHECK(derived_mac(ip("10.200.0.5"), ip("fd00::77")).to_string() == "0a:58:0a:c8:00:05");
}

TEST_CASE("MACs of IPv6 addresses differ within a prefix, and between prefixes with the same hosts") {
  std::set<MacAddress> macs;
  for (int i = 1; i < 1000; ++i) {
    const std::string host = std::to_string(i);
    macs.insert(derived_mac({}, ip(("fd00:1::" + host).c_str())));
    macs.insert(derived_mac({}, ip(("fd00:2::" + host).c_str())));
  }
  CHECK(macs.size() == 2 * 999);
  for (const MacAddress& mac : macs) CHECK_FALSE(mac.is_multicast());
}

TEST_CASE("the host's end has a MAC that no pod gets from an address") {
  const MacAddress mac = host_mac(host_ifname(id("web-1")));
  CHECK(mac.bytes()[0] == 0xfe);
  CHECK_FALSE(mac.is_multicast());
  CHECK(mac != host_mac(host_ifname(id("web-2"))));
}

TEST_CASE("keys are the addresses' bytes and back") {
  CHECK(to_address(address_key(ip("10.0.0.1"))) == ip("10.0.0.1"));
  CHECK(to_address(address_key(ip("fd00::1"))) == ip("fd00::1"));
  const patu_ifname key = index_key(host_ifname(id("web-1")));
  CHECK(std::string(reinterpret_cast<const char*>(key.bytes)) == "vethiugeymxdypc");
}

TEST_CASE("a record survives the way through an alias") {
  const std::string alias = format_alias(kTag, record());
  CHECK(alias == "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234");
  CHECK(parse_alias(kTag, alias) == record());
  for (const bool v4 : {false, true}) {
    Record one = record();
    (v4 ? one.v6 : one.v4).reset();
    CHECK(parse_alias(kTag, format_alias(kTag, one)) == one);
    (v4 ? one.v4 : one.v6).reset();
    CHECK(parse_alias(kTag, format_alias(kTag, one)) == one);
  }
}

TEST_CASE("the longest record fits into an alias") {
  Record longest{id(std::string(AttachmentId::kMaxContainerIdLength, 'x'), "fifteen-letters"), UINT32_MAX};
  longest.v4 = ip("255.255.255.254");
  longest.v6 = ip("1111:2222:3333:4444:5555:6666:7777:8888");
  longest.mac = *MacAddress::parse("fe:ff:ff:ff:ff:ff");
  longest.flags = 0xffff;
  longest.netns_cookie = UINT64_MAX;
  const std::string alias = format_alias(UINT32_MAX, longest);
  CHECK(alias.size() == kMaxAliasLength);
  CHECK(parse_alias(UINT32_MAX, alias) == longest);
}

TEST_CASE("an alias that is not exactly this instance's record is nobody's") {
  const std::string alias = format_alias(kTag, record());
  CHECK_FALSE(parse_alias(kTag + 1, alias));
  CHECK_FALSE(parse_alias(kTag, ""));
  CHECK_FALSE(parse_alias(kTag, "uplink to the office"));
  for (std::size_t size = 0; size < alias.size() - 4; ++size) CHECK_FALSE(parse_alias(kTag, alias.substr(0, size)));
  CHECK_FALSE(parse_alias(kTag, alias + " "));
  CHECK_FALSE(parse_alias(kTag, alias + " more"));
  CHECK_FALSE(parse_alias(kTag, " " + alias));
  REQUIRE(parse_alias(
      kTag, "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234"));
  for (const char* text :
       {"patu1 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu3 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu2 deadbeef - web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu2 deadbeef 1cafecafe0 web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web/1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 fd00:200::5 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 0ac80005 fd000200000000000000000000000005 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd00:200::5 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 10.200.0.5 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd0002000000000000000000000000050 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd00020000000000000000000000000g 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 00000000000000000000ffff0ac80005 0a580ac80005 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac800 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac8000g 1 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 10000 1234",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 11234567812345678",
        "patu2 deadbeef cafe web-1 eth0 10.200.0.5 fd000200000000000000000000000005 0a580ac80005 1 -1",
        "patu2 deadbeef web-1 eth0 10.200.0.5 - 0a580ac80005 1 1234"})
    CHECK_MESSAGE(!parse_alias(kTag, text), text);
}

TEST_CASE("networks of different names have different tags") {
  CHECK(network_tag("patu0") == network_tag(std::string("patu0")));
  CHECK(network_tag("patu0") != network_tag("patu1"));
  CHECK(network_tag("") != network_tag(std::string_view("\0", 1)));
}

TEST_CASE("a pod without addresses has a MAC that follows from its id, and is no other's") {
  std::set<MacAddress> macs;
  for (int i = 0; i < 1000; ++i) {
    macs.insert(id_mac(id("web-" + std::to_string(i))));
    macs.insert(id_mac(id("web-" + std::to_string(i), "eth1")));
    macs.insert(host_mac(host_ifname(id("web-" + std::to_string(i)))));
  }
  CHECK(macs.size() == 3000);
  CHECK(id_mac(id("web-1")) == id_mac(id("web-1")));
  CHECK(id_mac(id("web-1")).bytes()[0] == 0x0e);
}

TEST_CASE("instances of different names have different tags, wherever their file system is mounted") {
  CHECK(instance_tag("/sys/fs/bpf/patu/a/v1") == instance_tag("/run/bpf/patu/a/v2"));
  CHECK(instance_tag("/sys/fs/bpf/patu/a/v1") != instance_tag("/sys/fs/bpf/patu/b/v1"));
}
