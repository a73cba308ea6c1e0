// What an ADD answers, in the shape of each version, and back.
#include "cni_config.hpp"
#include "result.hpp"

using namespace patu;
using namespace patu::test;

using cni::Version;

namespace {

InterfaceAddress address(const char* text, std::uint32_t length) { return {*IpAddress::parse(text), length}; }

cni::Result dual_stack() {
  cni::Result result;
  result.interfaces = {{.name = "cni0", .mac = "02:00:00:00:00:01", .mtu = 1500},
                       {.name = "veth1", .mac = "02:00:00:00:00:02", .mtu = 1500},
                       {.name = "eth0", .mac = "02:00:00:00:00:03", .sandbox = "/run/netns/a", .mtu = 1500}};
  result.addresses = {{address("10.1.0.2", 24), *IpAddress::parse("10.1.0.1"), 2},
                      {address("fd00:1::2", 64), *IpAddress::parse("fd00:1::1"), 2}};
  result.routes = {{.destination = *Prefix::parse("0.0.0.0/0"), .gateway = *IpAddress::parse("10.1.0.1")},
                   {.destination = *Prefix::parse("fd00::/8"),
                    .mtu = 1400,
                    .advmss = 1340,
                    .priority = 7,
                    .table = 100,
                    .scope = std::uint8_t{0}}};
  result.dns = {{"10.0.0.1"}, "example", {"a", "b"}, {"ndots:5"}};
  return result;
}

std::string shape_of(Version version) { return cni::to_json(dual_stack(), version).dump(); }

constexpr char kDns[] =
    R"("dns":{"nameservers":["10.0.0.1"],"domain":"example","search":["a","b"],"options":["ndots:5"]}})";

cni::Result round_trip(Version version) {
  return cni::read_result(cni::to_json(dual_stack(), version), "prevResult", cni::Reading::strict);
}

}  // namespace

TEST_CASE("before 0.3.0 there is one address of each family, and no interface") {
  const std::string rest =
      R"("ip4":{"ip":"10.1.0.2/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"}]},)"
      R"("ip6":{"ip":"fd00:1::2/64","gateway":"fd00:1::1","routes":[{"dst":"fd00::/8"}]},)";
  CHECK(shape_of(Version::v0_1_0) == R"({"cniVersion":"0.1.0",)" + rest + kDns);
  CHECK(shape_of(Version::v0_2_0) == R"({"cniVersion":"0.2.0",)" + rest + kDns);
}

TEST_CASE("from 0.3.0 on there are interfaces, and until 1.0.0 an address says its family") {
  const std::string interfaces =
      R"("interfaces":[{"name":"cni0","mac":"02:00:00:00:00:01"},{"name":"veth1","mac":"02:00:00:00:00:02"},)"
      R"({"name":"eth0","mac":"02:00:00:00:00:03","sandbox":"/run/netns/a"}],)";
  const std::string routes = R"("routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"},{"dst":"fd00::/8"}],)";
  for (const Version version : {Version::v0_3_0, Version::v0_3_1, Version::v0_4_0})
    CHECK(shape_of(version) ==
          R"({"cniVersion":")" + std::string(cni::to_string(version)) + "\"," + interfaces +
              R"("ips":[{"version":"4","interface":2,"address":"10.1.0.2/24","gateway":"10.1.0.1"},)"
              R"({"version":"6","interface":2,"address":"fd00:1::2/64","gateway":"fd00:1::1"}],)" +
              routes + kDns);
  CHECK(shape_of(Version::v1_0_0) == R"({"cniVersion":"1.0.0",)" + interfaces +
                                         R"("ips":[{"interface":2,"address":"10.1.0.2/24","gateway":"10.1.0.1"},)"
                                         R"({"interface":2,"address":"fd00:1::2/64","gateway":"fd00:1::1"}],)" +
                                         routes + kDns);
}

TEST_CASE("1.1.0 adds the MTU of interfaces and what routes have") {
  CHECK(shape_of(Version::v1_1_0) ==
        R"({"cniVersion":"1.1.0","interfaces":[{"name":"cni0","mac":"02:00:00:00:00:01","mtu":1500},)"
        R"({"name":"veth1","mac":"02:00:00:00:00:02","mtu":1500},)"
        R"({"name":"eth0","mac":"02:00:00:00:00:03","sandbox":"/run/netns/a","mtu":1500}],)"
        R"("ips":[{"interface":2,"address":"10.1.0.2/24","gateway":"10.1.0.1"},)"
        R"({"interface":2,"address":"fd00:1::2/64","gateway":"fd00:1::1"}],)"
        R"("routes":[{"dst":"0.0.0.0/0","gw":"10.1.0.1"},)"
        R"({"dst":"fd00::/8","mtu":1400,"advmss":1340,"priority":7,"table":100,"scope":0}],)" +
            std::string(kDns));
}

TEST_CASE("a result without addresses has neither ips nor routes, and always dns") {
  cni::Result result;
  result.interfaces = {{.name = "lo", .sandbox = "/run/netns/a"}};
  CHECK(cni::to_json(result, Version::v1_0_0).dump() ==
        R"({"cniVersion":"1.0.0","interfaces":[{"name":"lo","sandbox":"/run/netns/a"}],"dns":{}})");
  CHECK(cni::to_json({}, Version::v0_2_0).dump() == R"({"cniVersion":"0.2.0","dns":{}})");
}

TEST_CASE("a result of any version is read back, as far as the version can tell it") {
  CHECK(round_trip(Version::v1_1_0) == dual_stack());
  for (const Version version : {Version::v0_3_0, Version::v0_4_0, Version::v1_0_0}) {
    const cni::Result read = round_trip(version);
    CHECK(read.addresses == dual_stack().addresses);
    CHECK(read.interfaces.size() == 3);
    CHECK(read.interfaces[2].sandbox == "/run/netns/a");
    CHECK(read.routes.size() == 2);
    CHECK(read.dns == dual_stack().dns);
  }
  const cni::Result old = round_trip(Version::v0_2_0);
  REQUIRE(old.addresses.size() == 2);
  CHECK(old.addresses[1].address == address("fd00:1::2", 64));
  CHECK(old.addresses[0].gateway->to_string() == "10.1.0.1");
  CHECK(old.routes.size() == 2);
}

TEST_CASE("a result that cannot be is refused by the place, and read around where nothing hangs on it") {
  for (const char* text :
       {R"({"ips": 5})", R"({"ips": [{}]})", R"({"ips": [{"address": "10.1.0.2"}]})",
        R"({"ips": [{"address": "10.1.0.2/33"}]})", R"({"ips": [{"address": "10.1.0.2/"}]})",
        R"({"ips": [{"address": "10.1.0.2/+4"}]})", R"({"ips": [{"address": "fd00::2/129"}]})",
        R"({"ips": [{"address": "10.1.0.2/24", "interface": -1}]})", R"({"interfaces": [5]})",
        R"({"routes": [{"gw": "10.1.0.1"}]})", R"({"dns": 5})", R"({"ip4": {"gateway": "10.1.0.1"}})"}) {
    const cni::Json json = cni::parse_json(text);
    const Refusal refusal = refusal_of([&] { return cni::read_result(json, "prevResult", cni::Reading::strict); });
    CHECK_MESSAGE(refusal.code == 7, text);
    CHECK_MESSAGE(refusal.says("prevResult."), refusal.text);
    CHECK(refusal_of([&] { return cni::read_result(json, "prevResult", cni::Reading::lenient); }).code == 0);
  }
}
