// CHECK and STATUS: what is wrong is told exactly, what a chain may change is not wrong, and nothing is changed.
#include "cni_lab.hpp"
#include "network_fixture.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
using cni::Json;

namespace {

struct Checked {
  CniLab lab;
  Json previous;

  Checked() {
    lab.pod("a");
    previous = lab.add("a");
  }
  // What a CHECK says after a command in the node's namespace.
  std::string after(const std::string& command) {
    CHECK(output_of(command + " 2>&1").empty());
    const Answer answer = lab.check("a", previous);
    CHECK(answer.code == 105);
    return answer.text;
  }
};

void check_has(const std::string& text, std::string_view part) {
  CHECK_MESSAGE(text.find(part) != std::string::npos, text);
}

}  // namespace

TEST_CASE("a CHECK right after the ADD finds nothing, and prints nothing") {
  Checked checked;
  const Answer answer = checked.lab.check("a", checked.previous);
  CHECK(answer.is_done());
  CHECK(answer.text.empty());
}

TEST_CASE("a CHECK says what has gone in the pod, on the node and in the firewall") {
  Checked checked;
  check_has(checked.after("ip -n a address del 10.200.0.2/24 dev eth0"), "has not 10.200.0.2/24");
  check_has(checked.after("sysctl -qw net.ipv4.ip_forward=0"), "net.ipv4.ip_forward");
  check_has(checked.after("nft flush ruleset"), "patu-test");
  check_has(checked.after("ip link set patux type bridge; ip link del patux"), "bridge patux is gone");
  check_has(checked.after("ip -n a link del eth0"), "is gone");
}

TEST_CASE("a CHECK compares with what the ADD has answered") {
  Checked checked;
  const auto with = [&](const char* pointer, const Json& value) {
    Json changed = checked.previous;
    changed[Json::json_pointer(pointer)] = value;
    return checked.lab.check("a", changed).text;
  };
  check_has(with("/ips/0/address", "10.200.0.9/24"), "the pod has 10.200.0.2/24, which prevResult has not");
  check_has(with("/interfaces/0/mac", "02:00:00:00:00:01"), "patux has MAC");
  check_has(with("/interfaces/1/mac", "02:00:00:00:00:01"), " has MAC fe:");
  check_has(with("/interfaces/2/name", "eth7"), "prevResult has no interface eth0");
}

TEST_CASE("a CHECK leaves alone what plugins behind it in the chain change") {
  Checked checked;
  CHECK(output_of("ip -n a address add 192.0.2.9/24 dev eth0; ip -n a link set eth0 mtu 1400; "
                  "ip -n a route add 198.51.100.0/24 via 10.200.0.1; tc qdisc add dev " +
                  checked.previous["interfaces"][1]["name"].get<std::string>() +
                  " root tbf rate 1mbit burst 10k latency 1ms 2>&1")
            .empty());
  Json previous = checked.previous;
  previous["ips"].push_back({{"address", "192.0.2.9/24"}, {"interface", 2}});
  previous["interfaces"].push_back({{"name", "ifb0"}, {"mac", "02:00:00:00:00:09"}});
  CHECK(checked.lab.check("a", previous).text.empty());
  CHECK(output_of("ip -n a route del default; ip -n a -6 route del default").empty());
  CHECK(checked.lab.check("a", previous).code == 105);
  previous.erase("routes");
  CHECK(checked.lab.check("a", previous).text.empty());
}

TEST_CASE("a CHECK for what was never attached, without prevResult, or in an old version has a code of its own") {
  Checked checked;
  checked.lab.pod("b");
  CHECK(checked.lab.check("b", checked.previous).code == 3);
  CHECK(checked.lab.call("CHECK", "a").code == 7);
  CHECK(checked.lab.check("a", checked.previous, R"({"cniVersion": "0.3.1"})").code == 1);
  CHECK(checked.lab.check("a", checked.previous, R"({"cniVersion": "0.4.0"})").is_done());
  CHECK(checked.lab.check("a", checked.previous, R"({"cniVersion": "1.0.0"})").is_done());
  REQUIRE(Datapath::unload(datapath_options(), UnloadMode::force));
  check_has(checked.lab.check("a", checked.previous).text, "is not loaded");
}

TEST_CASE("a CHECK of results of older versions") {
  CniLab lab;
  for (const char* version : {"0.4.0", "1.0.0"}) {
    const std::string name = "v" + std::string(version);
    const std::string keys = R"({"cniVersion": ")" + std::string(version) + "\"}";
    lab.pod(name);
    CHECK(lab.check(name, lab.add(name, keys), keys).text.empty());
  }
}

TEST_CASE("a STATUS before the first pod has nothing to complain of, and makes nothing") {
  const CniLab lab;
  CHECK(lab.call("STATUS", "").text.empty());
  CHECK(output_of("find " + bpffs_path() + " -path '*/patu/*' -type f").empty());
  CHECK(lab.call("STATUS", "", R"({"cniVersion": "1.0.0"})").code == 1);
  CHECK(lab.call("STATUS", "", R"({"vlan": 1})").code == 2);
  CHECK(lab.call("STATUS", "", R"({"bpffs": "/run/none"})").code == 50);
}

TEST_CASE("a STATUS is 50 when no address is left, and not while a sweep would free one") {
  CniLab lab;
  const std::string one = R"({"ipam": {"ranges": [[{"subnet": "10.200.0.0/30"}], [{"subnet": "fd00:200::/64"}]]}})";
  lab.pod("a");
  lab.pod("b");
  lab.add("a", one);
  const Answer full = lab.call("STATUS", "", one);
  CHECK(full.code == 50);
  CHECK(full.says("10.200.0.0/30"));
  CHECK(lab.call("STATUS", "").is_done());
  // The interface goes with its namespace, the lease stays until somebody needs it.
  CHECK(output_of("ip -n a link del eth0 2>&1").empty());
  CHECK(lab.call("STATUS", "", one).is_done());
  lab.add("b", one);
}

TEST_CASE("a STATUS is 50 when the instance has no room for another pod, and not while a sweep would make some") {
  CniLab lab;
  const std::string few = R"({"maxPods": 2})";
  for (const char* name : {"a", "b", "c"}) lab.pod(name);
  lab.add("a", few);
  CHECK(lab.call("STATUS", "", few).text.empty());
  lab.add("b", few);
  CHECK(lab.call("ADD", "c", few).code == 100);
  const Answer full = lab.call("STATUS", "", few);
  CHECK(full.code == 50);
  CHECK(full.says("2 pods (maxPods)"));
  CHECK(output_of("ip -n a link del eth0 2>&1").empty());
  CHECK(lab.call("STATUS", "", few).text.empty());
  lab.add("c", few);
}

TEST_CASE("a STATUS is 51 when the data path is gone and pods are attached") {
  CniLab lab;
  lab.pod("a");
  lab.add("a");
  CHECK(lab.call("STATUS", "").is_done());
  REQUIRE(Datapath::unload(datapath_options(), UnloadMode::force));
  const Answer gone = lab.call("STATUS", "");
  CHECK(gone.code == 51);
  CHECK(gone.says("instance 'test' is not loaded"));
  CHECK(output_of("ip -n a link del eth0 2>&1").empty());
  CHECK(lab.call("STATUS", "").is_done());
}
