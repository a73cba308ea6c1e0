// ADD: what a pod has afterwards, what is refused, and that a refused one leaves nothing and can be tried again at once.
#include "cni_lab.hpp"
#include "network_fixture.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
using cni::Json;

namespace {

std::string mac_of(const std::string& where, const std::string& name) {
  return output_of("ip " + where + " -br link show dev " + name + " | awk '{ printf \"%s\", $3 }'");
}

// A plugin that is a shell script in CNI_PATH.
void write_plugin(const std::string& name, const std::string& script) {
  CHECK(output_of("mkdir -p /run/plugins && cat >/run/plugins/" + name +
                  " <<'END'\n#!/bin/sh\ncat >/dev/null\necho $CNI_COMMAND >>/run/plugins/log\n" + script +
                  "\nEND\nchmod +x /run/plugins/" + name + "; rm -f /run/plugins/log")
            .empty());
}
std::string plugin_log() { return output_of("tr '\\n' ' ' </run/plugins/log"); }

}  // namespace

TEST_CASE("a pod gets an interface with addresses and routes, and the result tells what is there") {
  CniLab lab;
  lab.pod("a");
  const Json result = lab.add("a");
  CHECK(addresses_in("a") == "10.200.0.2/24 fd00:200::2/64");
  CHECK(output_of("ip -n a route show default").find("via 10.200.0.1 dev eth0") != std::string::npos);
  CHECK(output_of("ip -n a -6 route show default").find("via fd00:200::1 dev eth0") != std::string::npos);
  REQUIRE(result["interfaces"].size() == 3);
  CHECK(result["interfaces"][0]["name"] == "patux");
  CHECK(result["interfaces"][0]["mac"] == mac_of("", "patux"));
  CHECK(result["interfaces"][1]["mac"] == mac_of("", result["interfaces"][1]["name"].get<std::string>() + " "));
  CHECK(result["interfaces"][2]["mac"] == mac_of("-n a", "eth0"));
  CHECK(result["interfaces"][2]["sandbox"] == "/run/netns/a");
  CHECK(result["ips"][0].dump() == R"({"interface":2,"address":"10.200.0.2/24","gateway":"10.200.0.1"})");
  CHECK(result["ips"][1].dump() == R"({"interface":2,"address":"fd00:200::2/64","gateway":"fd00:200::1"})");
  CHECK(result["routes"].dump() == R"([{"dst":"0.0.0.0/0","gw":"10.200.0.1"},{"dst":"::/0","gw":"fd00:200::1"}])");
  CHECK(output_of("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding") == "1\n1\n");
  CHECK(output_of("ip -n a -br link show lo").find("UNKNOWN") != std::string::npos);  // up
  CHECK(count_of(ruleset(), "masquerade") == 2);
  lab.pod("b");
  lab.add("b");
  CHECK(count_of(ruleset(), "masquerade") == 2);  // never one for a pod
}

TEST_CASE("every version gets its result") {
  CniLab lab;
  for (const char* version : {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}) {
    const std::string name = "v" + std::string(version);
    lab.pod(name);
    const Json result = lab.add(name, R"({"cniVersion": ")" + std::string(version) + "\"}");
    CHECK(result["cniVersion"] == version);
    CHECK(result.contains("ip4") == (std::string(version) < "0.3.0"));
    CHECK(result.contains("interfaces") == (std::string(version) >= "0.3.0"));
  }
}

TEST_CASE("the old patu's configuration works") {
  CniLab lab;
  lab.pod("a");
  const Json result =
      lab.add("a", R"({"cniVersion": "0.3.1", "name": "patu-network", "type": "patu", "hairpinMode": true,
      "isGateway": true, "ipMasq": null, "ipam": {"ranges": [[{"subnet": "10.200.0.0/24"}]], "routes": [{"dst": "10.200.0.0/16"}]}})");
  CHECK(addresses_in("a") == "10.200.0.2/24");
  CHECK(output_of("ip -n a route show 10.200.0.0/16").find("via 10.200.0.1") != std::string::npos);
  CHECK(result["ips"][0]["version"] == "4");
  CHECK(output_of("bridge -d link show dev " + result["interfaces"][1]["name"].get<std::string>()).find("hairpin on") !=
        std::string::npos);
  CHECK(ruleset().empty());
}

TEST_CASE("the same ADD again is refused and changes nothing, and so is one into an interface of that name") {
  CniLab lab;
  lab.pod("a");
  lab.add("a");
  const Census before = Census::take();
  CHECK(lab.call("ADD", "a").code == 103);
  CHECK(Census::take() == before);
  CHECK(addresses_in("a") == "10.200.0.2/24 fd00:200::2/64");
  // What plugins behind it have changed does not make it another pod, and stays.
  CHECK(output_of("ip -n a link set eth0 mtu 1400; ip -n a route del default 2>&1").empty());
  CHECK(lab.call("ADD", "a").code == 103);
  CHECK(output_of("ip -n a link show dev eth0").find("mtu 1400") != std::string::npos);
  CHECK(output_of("ip -n a route show default").empty());
  lab.pod("b");
  CHECK(output_of("ip -n b link add eth0 type veth peer name other 2>&1").empty());
  CHECK(lab.call("ADD", "b").code == 103);
  CHECK(Census::take() == before);
  CHECK(output_of("ip -n b -br link show dev other").find("other@eth0") == 0);
}

TEST_CASE("where no address is left nothing stays, and the next try has success as soon as one is free") {
  CniLab lab;
  const std::string one = R"({"ipam": {"ranges": [[{"subnet": "10.200.0.0/30"}]]}})";
  lab.pod("a");
  lab.pod("b");
  lab.add("a", one);
  const Census before = Census::take();
  const Answer full = lab.call("ADD", "b", one);
  CHECK(full.code == 100);
  CHECK(Census::take() == before);
  CHECK(addresses_in("b").empty());
  CHECK(output_of("ip -n b -br link show dev eth0 2>/dev/null").empty());
  CHECK(lab.call("DEL", "a", one).is_done());
  CHECK(lab.add("b", one)["ips"][0]["address"] == "10.200.0.2/30");
}

TEST_CASE("an address can be asked for, if it is of a range and nobody has it") {
  CniLab lab;
  for (const char* name : {"a", "b", "c"}) lab.pod(name);
  const auto asking = [](const std::string& address) {
    return R"({"runtimeConfig": {"mac": "02:00:00:00:00:07", "ips": [")" + address + "\"]}}";
  };
  const Json result = lab.add("a", asking("10.200.0.7/24"));
  CHECK(result["ips"][0]["address"] == "10.200.0.7/24");
  CHECK(mac_of("-n a", "eth0") == "02:00:00:00:00:07");
  CHECK(lab.call("ADD", "b", asking("10.200.0.7")).code == 101);
  CHECK(lab.call("ADD", "b", asking("10.201.0.7")).code == 102);
  CHECK(lab.call("ADD", "b", asking("10.200.0.1")).code == 7);  // the gateway's
  CHECK(output_of("mkdir /run/leases/pods && printf 'old\\r\\neth0' >/run/leases/pods/10.200.0.9").empty());
  CHECK(lab.call("ADD", "b", asking("10.200.0.9")).code == 101);
  CHECK(lab.call("ADD", "b", "{}", {"CNI_ARGS=IP=10.200.0.8"}).json["ips"][0]["address"] == "10.200.0.8/24");
}

TEST_CASE("addresses that host-local has given to pods before a switch are not given again") {
  CniLab lab;
  CHECK(output_of("mkdir /run/leases/pods && printf 'old\\r\\neth0' >/run/leases/pods/10.200.0.2").empty());
  lab.pod("a");
  CHECK(lab.add("a")["ips"][0]["address"] == "10.200.0.3/24");
}

TEST_CASE("a range that host-local has filled is full, and nothing worse") {
  CniLab lab;
  CHECK(output_of("mkdir /run/leases/pods && printf 'old\\r\\neth0' >/run/leases/pods/10.210.0.2").empty());
  lab.pod("a");
  const std::string one = R"({"ipam": {"ranges": [[{"subnet": "10.210.0.0/30"}]]}})";
  const std::string two = R"({"ipam": {"ranges": [[{"subnet": "10.210.0.0/30"}, {"subnet": "10.211.0.0/30"}]]}})";
  for (const char* role : {"host-local", "bridge"}) {
    CAPTURE(role);
    lab.role = role;
    CHECK(lab.call("ADD", "a", one).code == 100);
    CHECK(lab.call("STATUS", "", one).code == 50);
    CHECK(lab.add("a", two)["ips"][0]["address"] == "10.211.0.2/30");
    CHECK(lab.call("DEL", "a", two).is_done());
  }
}

TEST_CASE("as host-local a failed ADD gives back what it has leased itself, and no more") {
  CniLab lab;
  lab.role = "host-local";
  lab.add("a", R"({"ipam": {"ranges": [[{"subnet": "fd00:210::/64"}]]}})");
  const std::string both = R"({"ipam": {"ranges": [[{"subnet": "10.210.0.0/24"}], [{"subnet": "fd00:210::/64"}]]},
                               "runtimeConfig": {"ips": [")";
  CHECK(lab.call("ADD", "a", both + R"(fd00:210::9"]}})").code == 101);
  CHECK(Census::take().leases == 1);
  const Answer twice = lab.call("ADD", "b", both + R"(10.210.0.5", "10.210.0.6"]}})");
  CHECK(twice.code == 7);
  CHECK(twice.text.find("10.210.0.5 and 10.210.0.6 are of one family") != std::string::npos);
}

TEST_CASE("as host-local a requested address is of a range and nobody's, and the same ADD again gets the same") {
  CniLab lab;
  lab.role = "host-local";
  const auto asking = [](const std::string& address) { return R"({"runtimeConfig": {"ips": [")" + address + "\"]}}"; };
  CHECK(output_of("mkdir /run/leases/pods && printf 'old\\r\\neth0' >/run/leases/pods/10.200.0.9").empty());
  CHECK(lab.call("ADD", "a", asking("10.200.0.9")).code == 101);
  CHECK(lab.call("ADD", "a", asking("10.201.0.7")).code == 102);
  const std::string ranges = R"("ipam": {"ranges": [[{"subnet": "10.210.0.0/30"}, {"subnet": "10.211.0.0/30"}]]})";
  const auto address = [&](const char* pod) { return lab.add(pod, "{" + ranges + "}")["ips"][0]["address"]; };
  CHECK(address("a") == "10.210.0.2/30");
  CHECK(address("b") == "10.211.0.2/30");
  CHECK(address("b") == "10.211.0.2/30");
  CHECK(lab.call("ADD", "b", "{" + ranges + R"(, "runtimeConfig": {"ips": ["10.210.0.2"]}})").code == 101);
  CHECK(Census::take().leases == 2);  // b's is not taken from it
}

TEST_CASE("a namespace that is the plugin's own, or none, is refused with code 8") {
  CniLab lab;
  for (const char* netns : {"CNI_NETNS=/proc/self/ns/net", "CNI_NETNS=/run/netns/none", "CNI_NETNS=/proc/self/ns/mnt"})
    CHECK_MESSAGE(lab.call("ADD", "a", "{}", {netns}).code == 8, netns);
  CHECK(output_of("ip -br link show dev patux 2>/dev/null").empty());  // before the first change
}

TEST_CASE("a key that is refused is refused before the first change") {
  CniLab lab;
  lab.pod("a");
  const Answer refused = lab.call("ADD", "a", R"({"vlan": 5})");
  CHECK(refused.code == 2);
  CHECK(refused.json["msg"] == "vlan: 5 is not supported: patu has no VLANs");
  CHECK(refused.json["cniVersion"] == "1.1.0");
  CHECK(output_of("ip -br link show dev patux 2>/dev/null").empty());
}

TEST_CASE("without ipam a pod is on the bridge and has no address") {
  CniLab lab;
  lab.pod("a");
  const Json result = lab.add("a", R"({"ipam": null, "isDefaultGateway": null, "ipMasq": null})");
  CHECK_FALSE(result.contains("ips"));
  CHECK(addresses_in("a").empty());
  CHECK(output_of("ip -n a -br link show dev eth0").find("UP") != std::string::npos);
  CHECK(lab.check("a", result, R"({"ipam": null, "isDefaultGateway": null, "ipMasq": null})").text.empty());
  CHECK(lab.call("DEL", "a", R"({"ipam": null})").is_done());
  CHECK(is_clean());
}

TEST_CASE("what came before in a chain is handed on, with the pod's interface behind it") {
  CniLab lab;
  lab.pod("a");
  const Json result = lab.add("a", R"({"prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "x"}],
      "ips": [{"address": "192.0.2.9/24", "interface": 0}], "routes": [{"dst": "192.0.2.0/24"}], "dns": {"domain": "d"}}})");
  CHECK(result["interfaces"].size() == 4);
  CHECK(result["ips"][0]["address"] == "192.0.2.9/24");
  CHECK(result["ips"][1]["interface"] == 3);
  CHECK(result["routes"].size() == 3);
  CHECK(result["dns"]["domain"] == "d");
}

TEST_CASE("another IPAM plugin is asked for addresses, and told where they are not needed after all") {
  CniLab lab;
  lab.pod("a");
  write_plugin("other", R"([ $CNI_COMMAND = ADD ] && echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.205.0.9/24",
    "gateway": "10.205.0.254"}], "routes": [{"dst": "192.0.2.0/24"}], "dns": {"domain": "d"}}'; exit 0)");
  const std::string other = R"({"ipam": {"type": "other", "ranges": null, "dataDir": null}})";
  const Json result = lab.add("a", other);
  CHECK(result["ips"][0].dump() == R"({"interface":2,"address":"10.205.0.9/24","gateway":"10.205.0.254"})");
  CHECK(result["dns"]["domain"] == "d");
  CHECK(addresses_in("a") == "10.205.0.9/24");
  CHECK(output_of("ip -n a route show 192.0.2.0/24").find("via 10.205.0.254") != std::string::npos);
  CHECK(lab.check("a", result, other).text.empty());
  CHECK(lab.call("STATUS", "a", other).is_done());
  CHECK(lab.call("ADD", "a", other).code == 103);  // and the other plugin is not told to give the pod's address back
  CHECK(lab.call("DEL", "a", other).is_done());
  CHECK(plugin_log() == "ADD CHECK STATUS DEL ");
  CHECK(is_clean());
  CHECK(output_of("rm /run/plugins/log; ip -n a link add eth0 type veth peer name other 2>&1").empty());
  CHECK(lab.call("ADD", "a", other).code == 103);
  CHECK(plugin_log() == "ADD DEL ");
  CHECK(is_clean());
  write_plugin("other", R"(echo '{"code": 11, "msg": "later"}'; exit 1)");
  const Answer later = lab.call("ADD", "a", other);
  CHECK(later.code == 11);
  CHECK(plugin_log() == "ADD DEL ");
}

TEST_CASE("where another IPAM plugin names no gateway and the bridge is none, none is made up") {
  CniLab lab;
  lab.pod("a");
  write_plugin("other", R"([ $CNI_COMMAND = ADD ] && echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.205.0.1/24"},
    {"address": "fd00:205::9/64"}], "routes": [{"dst": "192.0.2.0/24"}, {"dst": "2001:db8::/32"},
    {"dst": "198.51.100.0/24", "gw": "10.205.0.7"}]}'; exit 0)");
  const std::string keys = R"({"cniVersion": "1.0.0", "isDefaultGateway": false, "ipam": {"type": "other",
      "ranges": null, "dataDir": null}})";
  const Json result = lab.add("a", keys);
  CHECK(result["ips"].dump() ==
        R"([{"interface":2,"address":"10.205.0.1/24"},{"interface":2,"address":"fd00:205::9/64"}])");
  CHECK(addresses_in("a") == "10.205.0.1/24 fd00:205::9/64");
  const std::string routes = output_of("ip -n a route show; ip -n a -6 route show 2001:db8::/32");
  CHECK_MESSAGE(routes.find("192.0.2.0/24 dev eth0") != std::string::npos, routes);
  CHECK_MESSAGE(routes.find("2001:db8::/32 dev eth0") != std::string::npos, routes);
  CHECK_MESSAGE(routes.find("198.51.100.0/24 via 10.205.0.7") != std::string::npos, routes);
  CHECK(lab.check("a", result, keys).text.empty());
  CHECK(lab.call("DEL", "a", keys).is_done());
  CHECK(is_clean());
}

TEST_CASE("what the configuration asks for is there") {
  CniLab lab;
  lab.pod("a");
  const Json result = lab.add("a", R"({"mtu": 1400, "portIsolation": true, "promiscMode": true, "services": "off",
      "ipam": {"ranges": [[{"subnet": "10.200.0.0/24", "rangeStart": "10.200.0.20", "gateway": "10.200.0.254"}]],
               "routes": [{"dst": "192.0.2.0/24", "mtu": 1300, "priority": 7, "table": 100}]}})");
  CHECK(result["ips"][0]["address"] == "10.200.0.20/24");
  CHECK(result["ips"][0]["gateway"] == "10.200.0.254");
  CHECK(result["interfaces"][2]["mtu"] == 1400);
  CHECK(output_of("ip -n a link show dev eth0").find("mtu 1400") != std::string::npos);
  CHECK(output_of("ip link show dev patux").find("PROMISC") != std::string::npos);
  CHECK(output_of("ip -4 address show dev patux").find("10.200.0.254/24") != std::string::npos);
  const std::string port = result["interfaces"][1]["name"].get<std::string>();
  CHECK(output_of("bridge -d link show dev " + port).find("isolated on") != std::string::npos);
  const std::string route = output_of("ip -n a route show table 100");
  CHECK_MESSAGE(route.find("192.0.2.0/24 via 10.200.0.254 dev eth0") != std::string::npos, route);
  CHECK_MESSAGE(route.find("metric 7 mtu 1300") != std::string::npos, route);
  CHECK(result["routes"][0].dump() == R"({"dst":"192.0.2.0/24","mtu":1300,"priority":7,"table":100})");
}
