// The key `ipam`: ranges old and new, routes with all that 1.1.0 has, and whose the addresses are.
#include <cstdlib>
#include <fstream>

#include "cni_config.hpp"

using namespace patu;
using namespace patu::test;
using cni::Config;
using cni::IpamKind;

namespace {

// "prefix gateway first last" of each subnet.
std::string text_of(const std::vector<Subnet>& subnets) {
  std::string text;
  for (const Subnet& subnet : subnets) {
    text += (text.empty() ? "" : ", ") + subnet.prefix.to_string();
    for (const auto& address : {subnet.gateway, subnet.first, subnet.last})
      text += " " + (address ? address->to_string() : "-");
  }
  return text;
}

Config with_ipam(const std::string& ipam) {
  cni::Json json = bridge_json();
  json["ipam"] = cni::parse_json(ipam);
  return config_of(json);
}
Refusal refused_ipam(const std::string& ipam) {
  return refusal_of([&] { return with_ipam(ipam); });
}
std::string ranges_of(const std::string& ipam) { return text_of(with_ipam(ipam).network.subnets); }

}  // namespace

TEST_CASE("the type says whose the addresses are") {
  const auto kind = [](const std::string& ipam) { return with_ipam(ipam).ipam.kind; };
  CHECK(kind("null") == IpamKind::none);
  CHECK(kind("{}") == IpamKind::none);
  CHECK(kind(R"({"type": ""})") == IpamKind::none);
  CHECK(kind(R"({"subnet": "10.1.0.0/24"})") == IpamKind::own);
  CHECK(kind(R"({"ranges": [[{"subnet": "10.1.0.0/24"}]]})") == IpamKind::own);
  CHECK(kind(R"({"type": "patu", "subnet": "10.1.0.0/24"})") == IpamKind::own);
  CHECK(kind(R"({"type": "host-local", "subnet": "10.1.0.0/24"})") == IpamKind::own);
  CHECK(kind(R"({"type": "dhcp", "provide": [{"option": "x"}], "daemonSocketPath": "/x"})") == IpamKind::delegated);
  CHECK(with_ipam(R"({"type": "static", "addresses": []})").ipam.type == "static");
  CHECK(refused_ipam(R"({"type": "../evil"})").says("ipam.type: '../evil'"));
}

TEST_CASE("ranges, the old way and the new") {
  CHECK(ranges_of(R"({"type": "host-local", "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20",
                      "gateway": "10.1.0.254"})") == "10.1.0.0/24 10.1.0.254 10.1.0.10 10.1.0.20");
  CHECK(ranges_of(R"({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "10.3.0.0/24", "gateway": "10.3.0.9"}],
                                 [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::100"}]]})") ==
        "10.1.0.0/24 - - -, 10.3.0.0/24 10.3.0.9 - -, fd00:1::/64 - fd00:1::100 -");
  CHECK(ranges_of(R"({"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "fd00:1::/64"}]]})") ==
        "10.1.0.0/24 - - -, fd00:1::/64 - - -");
}

TEST_CASE("the runtime's ranges come first") {
  cni::Json json = bridge_json(R"({"runtimeConfig": {"ipRanges": [[{"subnet": "fd00:1::/64"}]]}})");
  CHECK(text_of(config_of(json).network.subnets) == "fd00:1::/64 - - -, 10.200.0.0/24 - - -");
  json["ipam"] = cni::parse_json(R"({"type": "host-local"})");
  CHECK(text_of(config_of(json).network.subnets) == "fd00:1::/64 - - -");
}

TEST_CASE("ranges that cannot be are refused with code 7") {
  for (const char* ipam :
       {R"({"type": "host-local"})", R"({"type": "host-local", "ranges": []})", R"({"ranges": [[]]})",
        R"({"ranges": [{"subnet": "10.1.0.0/24"}]})", R"({"ranges": [[{}]]})", R"({"ranges": 5})",
        R"({"ranges": [[5]]})", R"({"subnet": "10.1.0.1/24"})", R"({"subnet": "10.1.0.0"})", R"({"subnet": 5})",
        R"({"subnet": "10.1.0.0/24", "rangeStart": "x"})", R"({"subnet": "10.1.0.0/24", "gateway": ["10.1.0.1"]})",
        R"({"type": "host-local", "rangeStart": "10.1.0.5", "ranges": [[{"subnet": "10.1.0.0/24"}]]})",
        R"({"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]})"})
    CHECK_MESSAGE(refused_ipam(ipam).code == 7, ipam);
}

TEST_CASE("routes have all that version 1.1.0 has") {
  const Config config = with_ipam(R"({"subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.9"},
      {"dst": "192.0.2.0/24", "mtu": 1400, "advmss": 1360, "priority": 77, "table": 100, "scope": 253}]})");
  const std::vector<Route>& routes = config.network.routes;
  REQUIRE(routes.size() == 2);
  CHECK(routes[0] == Route{.destination = *Prefix::parse("0.0.0.0/0"), .gateway = *IpAddress::parse("10.1.0.9")});
  CHECK(routes[1] == Route{.destination = *Prefix::parse("192.0.2.0/24"),
                           .mtu = 1400,
                           .advmss = 1360,
                           .priority = 77,
                           .table = 100,
                           .scope = std::uint8_t{253}});
  for (const char* route : {"{}", R"({"dst": "x"})", R"({"dst": "10.0.0.1/8"})", R"({"dst": "10.0.0.0/8", "gw": 5})",
                            R"({"dst": "10.0.0.0/8", "scope": 256})", R"({"dst": "10.0.0.0/8", "mtu": -1})"})
    CHECK_MESSAGE(refused_ipam(R"({"subnet": "10.1.0.0/24", "routes": [)" + std::string(route) + "]}").code == 7,
                  route);
}

TEST_CASE("host-local's directory is looked into unless the addresses were never its") {
  const auto data_dir = [](const std::string& ipam) { return with_ipam(ipam).ipam.data_dir; };
  CHECK(data_dir(R"({"type": "host-local", "subnet": "10.1.0.0/24"})") == "/var/lib/cni/networks");
  CHECK(data_dir(R"({"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": "/run/ipam"})") == "/run/ipam");
  CHECK(data_dir(R"({"type": "patu", "subnet": "10.1.0.0/24", "dataDir": "/run/ipam"})").empty());
}

TEST_CASE("an IPAM plugin looks at what is its own, and leaves the rest of another plugin's configuration alone") {
  const cni::Json json = cni::parse_json(R"({"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth0",
      "mode": "bridge", "bpffs": "/run/bpf", "ipam": {"type": "my-ipam", "subnet": "10.1.0.0/24"}})");
  const Config config = cni::read_ipam_config(json, {}, cni::Reading::strict);
  CHECK(config.ipam.kind == IpamKind::own);
  CHECK(text_of(config.network.subnets) == "10.1.0.0/24 - - -");
  CHECK(config.datapath.bpffs == "/run/bpf");
  const cni::Json none = cni::parse_json(R"({"name": "lan", "type": "macvlan"})");
  CHECK(refusal_of([&] { return cni::read_ipam_config(none, {}, cni::Reading::strict); }).code == 7);
}

TEST_CASE("a resolv.conf says what there is to say of DNS") {
  char path[] = "/tmp/patu-resolv-XXXXXX";
  const int file = ::mkstemp(path);
  REQUIRE(file >= 0);
  std::ofstream(path) << "# comment\nnameserver 10.0.0.1\n\tnameserver\t10.0.0.2 \n;x y\ndomain example\n"
                         "search a b\nsearch c\noptions ndots:5 rotate\nunknown x\nnameserver\n";
  CHECK(cni::read_resolv_conf(path) ==
        cni::Dns{{"10.0.0.1", "10.0.0.2"}, "example", {"a", "b", "c"}, {"ndots:5", "rotate"}});
  std::ofstream(path) << std::string(70000, '#');
  CHECK(refusal_of([&] { return cni::read_resolv_conf(path); }).says("longer than 64 KiB"));
  ::close(file);
  ::unlink(path);
  const Refusal missing = refusal_of([&] { return cni::read_resolv_conf(path); });
  CHECK(missing.code == 5);
  CHECK(missing.says("ipam.resolvConf: open /tmp/patu-resolv-"));
}
