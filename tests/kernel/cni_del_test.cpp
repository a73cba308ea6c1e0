// DEL and GC: whatever state things are in, nothing of the attachment is left, and nothing of another one goes.
#include "cni_lab.hpp"
#include "network_fixture.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
using cni::Json;

namespace {

std::string keeping(const std::string& container) {
  return R"({"cni.dev/valid-attachments": [{"containerID": ")" + container + R"(", "ifname": "eth0"}]})";
}

constexpr char kSecond[] = R"({"name": "second", "ipam": {"ranges": [[{"subnet": "fd00:201::/64"}]]}})";

}  // namespace

TEST_CASE("a DEL takes everything, twice is a success, and so is one for what never was") {
  CniLab lab;
  lab.pod("a");
  CHECK(lab.call("DEL", "a").is_done());  // and makes nothing
  CHECK(output_of("find " + bpffs_path() + " -path '*/patu/*' -type f").empty());
  CHECK(output_of("ip -br link show dev patux 2>/dev/null").empty());
  lab.add("a");
  for (int i = 0; i < 2; ++i) {
    const Answer done = lab.call("DEL", "a");
    CHECK(done.is_done());
    CHECK(done.text.empty());
    CHECK(addresses_in("a").empty());
    CHECK(is_clean());
  }
}

TEST_CASE("a DEL works without a namespace, and after it has gone") {
  CniLab lab;
  for (const char* name : {"a", "b"}) lab.pod(name);
  lab.add("a");
  lab.add("b");
  CHECK(lab.call("DEL", "a", "{}", {"CNI_NETNS="}).is_done());
  CHECK(addresses_in("a").empty());
  CHECK(output_of("ip netns del b").empty());
  CHECK(lab.call("DEL", "b").is_done());
  CHECK(is_clean());
}

TEST_CASE("a DEL with a configuration that an ADD refuses takes everything all the same") {
  CniLab lab;
  lab.pod("a");
  lab.add("a");
  CHECK(lab.call("DEL", "a", R"({"vlan": 5, "mtu": "x", "runtimeConfig": {"portMappings": [{"hostPort": 80}]}})")
            .is_done());
  CHECK(is_clean());
}

TEST_CASE("a DEL and a GC with ranges, an instance or a plugin that cannot be take what is there") {
  CniLab lab;
  lab.pod("a");
  const std::string list = R"("cni.dev/valid-attachments": [], )";
  for (const char* command : {"DEL", "GC"})
    for (const char* ipam : {R"({"ranges": [[{"subnet": "10.200.0.0/24", "rangeStart": "10.9.0.1"}]]})",
                             R"({"ranges": [[{"subnet": "10.200.0.0/31"}]]})",
                             R"({"ranges": [[{"subnet": "10.200.0.0/24", "gateway": "10.9.0.1"}]]})",
                             R"({"ranges": [[{"subnet": "10.200.0.0/24"}, {"subnet": "10.200.0.0/25"}]]})",
                             R"({"type": "no/plugin"})", R"({"type": ".."})"}) {
      const std::string wrong = "{" + list + "\"ipam\": " + ipam + "}";
      CHECK_MESSAGE(lab.call("ADD", "a", wrong).code == 7, ipam);
      lab.add("a");
      const Answer done = lab.call(command, "a", wrong);
      CHECK_MESSAGE(done.is_done(), done.text);
      CHECK(is_clean());
    }
  const std::string nowhere = "{" + list + R"("instance": "no name"})";
  CHECK(lab.call("ADD", "a", nowhere).code == 7);
  for (const char* role : {"patu-cni", "host-local"})
    for (const char* command : {"DEL", "GC"}) CHECK(lab.call_as(role, command, "a", lab.config(nowhere)).text.empty());
}

TEST_CASE("as host-local a lease goes with a range that cannot be any more") {
  CniLab lab;
  lab.role = "host-local";
  const std::string wrong = R"({"cni.dev/valid-attachments": [],
      "ipam": {"ranges": [[{"subnet": "10.200.0.0/24", "gateway": "10.9.0.1"}, {"subnet": "10.201.0.0/32"}],
                          [{"subnet": "fd00:200::/64"}]]}})";
  for (const char* command : {"DEL", "GC"}) {
    lab.add("a");
    CHECK(Census::take().leases == 2);
    CHECK(lab.call("ADD", "b", wrong).code == 7);
    CHECK(lab.call(command, "a", wrong).text.empty());
    CHECK(Census::take().leases == 0);
  }
}

TEST_CASE("a DEL after the instance was unloaded takes the interface that is left, if the pod is known to be it") {
  CniLab lab;
  lab.pod("a");
  const Json previous = lab.add("a");
  REQUIRE(Datapath::unload(datapath_options(), UnloadMode::force));
  Json config = lab.config();
  config["prevResult"] = previous;
  CHECK(lab.call_as("patu", "DEL", "a", config).is_done());
  CHECK(addresses_in("a").empty());
  CHECK(output_of("ip -o link show type veth").empty());
}

TEST_CASE("a DEL in the plugin's own namespace is refused, and deletes nothing there") {
  CniLab lab;
  CHECK(output_of("ip link add eth0 type veth peer name other 2>&1").empty());
  CHECK(lab.call("DEL", "a", "{}", {"CNI_NETNS=/proc/self/ns/net"}).code == 8);
  Json config = lab.config(R"({"prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/x"}]}})");
  CHECK(lab.call_as("patu", "DEL", "a", config, {"CNI_NETNS=/proc/self/ns/net", "CNI_NETNS_OVERRIDE=1"}).is_done());
  CHECK(output_of("ip link del eth0 2>&1").empty());
}

TEST_CASE("a pod that the reference plugins made before a switch goes with its lease") {
  CniLab lab;
  lab.pod("old");
  CHECK(output_of(
            "ip link add veth1 type veth peer name eth0 netns old 2>&1; mkdir /run/leases/pods; "
            "printf 'old\\r\\neth0' >/run/leases/pods/10.200.0.2; printf 'b\\r\\neth0' >/run/leases/pods/10.200.0.3")
            .empty());
  CHECK(lab.call("DEL", "old").is_done());
  CHECK(output_of("ip -o link show type veth").empty());
  CHECK(output_of("ls -I lock /run/leases/pods") == "10.200.0.3\n");
}

TEST_CASE("a DEL that follows a refused ADD does not take the interface that was in its way") {
  CniLab lab;
  lab.pod("a");
  CHECK(output_of("ip -n a link add eth0 type veth peer name other 2>&1").empty());
  CHECK(lab.call("ADD", "a").code == 103);
  CHECK(lab.call("DEL", "a").is_done());
  CHECK(output_of("ip -n a -br link show dev other").find("other@eth0") == 0);
  CHECK(is_clean());
}

TEST_CASE("masquerading ends with the last pod, however it went") {
  CniLab lab;
  for (const char* name : {"a", "b"}) lab.pod(name);
  lab.add("a");
  lab.add("b");
  CHECK(lab.call("DEL", "a").is_done());
  CHECK(count_of(ruleset(), "masquerade") == 2);
  CHECK(lab.call("DEL", "b", "{}", {"CNI_NETNS="}).is_done());
  CHECK(ruleset().empty());
}

TEST_CASE("masquerading that was switched off in the configuration goes with the last pod, and not before") {
  CniLab lab;
  for (const char* name : {"a", "b"}) lab.pod(name);
  const std::string off = R"({"ipMasq": false, "cni.dev/valid-attachments": []})";
  for (const char* command : {"DEL", "GC"}) {
    lab.add("a");
    // A pod that was promised the masquerading keeps it.
    lab.add("b", off);
    CHECK(lab.call("DEL", "b", off).is_done());
    CHECK(count_of(ruleset(), "masquerade") == 2);
    CHECK(lab.call(command, "a", off).is_done());
    CHECK(is_clean());
    CHECK(lab.call(command, "a", off).text.empty());
  }
}

TEST_CASE("networks on one bridge leave each other's pods alone") {
  CniLab lab;
  for (const char* name : {"a", "b"}) lab.pod(name);
  lab.add("a");
  lab.add("b", kSecond);
  CHECK(lab.call("DEL", "a", kSecond).is_done());
  CHECK(addresses_in("a") == "10.200.0.2/24 fd00:200::2/64");
  Json all = lab.config(kSecond);
  all["cni.dev/valid-attachments"] = Json::array();
  CHECK(lab.call_as("patu", "GC", "", all).is_done());
  CHECK(addresses_in("b").empty());
  CHECK(addresses_in("a") == "10.200.0.2/24 fd00:200::2/64");
}

TEST_CASE("a GC collects what is not listed, in both spellings, and without a list it says so and collects nothing") {
  CniLab lab;
  for (const char* name : {"a", "b", "c"}) {
    lab.pod(name);
    lab.add(name);
  }
  const Answer refused = lab.call("GC", "");
  CHECK(refused.code == 7);
  CHECK(refused.says("cni.dev/valid-attachments"));
  CHECK(Census::take().attachments == 3);
  CHECK(lab.call("GC", "", R"({"cni.dev/valid-attachments": "all"})").code == 7);
  CHECK(Census::take().attachments == 3);
  CHECK(lab.call("GC", "", R"({"cni.dev/attachments": [{"containerID": "a", "ifname": "eth0"},
                               {"containerID": "b", "ifname": "eth0"}]})")
            .text.empty());
  CHECK(addresses_in("c").empty());
  CHECK(output_of("ip netns del a; mkdir /run/leases/pods; printf 'old\\r\\neth0' >/run/leases/pods/10.200.0.9; "
                  ": >/run/leases/pods/10.200.0.8")
            .empty());
  CHECK(lab.call("GC", "", keeping("b")).is_done());
  CHECK(Census::take().attachments == 1);
  CHECK(Census::take().leases == 2);
  CHECK(output_of("ls -I lock /run/leases/pods").empty());
  CHECK(addresses_in("b") == "10.200.0.3/24 fd00:200::3/64");
  CHECK(lab.call("GC", "", R"({"cni.dev/valid-attachments": []})").is_done());
  CHECK(is_clean());
  CHECK(lab.call("GC", "", R"({"cniVersion": "1.0.0", "cni.dev/valid-attachments": []})").code == 1);
}
