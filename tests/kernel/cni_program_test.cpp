// The program as a runtime executes it, many of it at once, under each of its names; and the same as a library.
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "cni_lab.hpp"
#include "network_fixture.hpp"
#include "patu/patu_cni.h"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
using cni::Json;

namespace {

std::string program() {
  const char* path = std::getenv("PATU_CNI");
  REQUIRE_MESSAGE(path != nullptr, "PATU_CNI names no patu-cni");
  return path;
}

// What a shell prints that executes it with a configuration as the standard input, and "exit N" behind.
std::string execute(const std::string& environment, const Json& config, const std::string& name = "patu-cni") {
  std::ofstream("/run/config.json") << config.dump();
  CHECK(output_of("mkdir -p /run/bin; ln -sf " + program() + " /run/bin/" + name + " 2>&1").empty());
  return output_of("env -i PATH=$PATH CNI_IFNAME=eth0 CNI_PATH=/run/bin " + environment + " /run/bin/" + name +
                   " </run/config.json 2>/run/errors; printf 'exit %d' $?");
}

std::string for_pod(const std::string& command, const std::string& pod) {
  return "CNI_COMMAND=" + command + " CNI_CONTAINERID=" + pod + " CNI_NETNS=/run/netns/" + pod;
}

// Calls the library with an environment; the output.
struct Called {
  std::int32_t status = 0;
  std::string output;
};
Called call_library(const char* role, const std::vector<std::string>& environment, const std::string& input) {
  std::vector<const char*> entries;
  for (const std::string& entry : environment) entries.push_back(entry.c_str());
  entries.push_back(nullptr);
  char* output = nullptr;
  std::size_t length = 0;
  Called called{.status = patu_cni_exec(role, entries.data(), input.data(), input.size(), &output, &length),
                .output = {}};
  if (output != nullptr) called.output.assign(output, length);
  patu_cni_free(output);
  return called;
}

}  // namespace

TEST_CASE("executed, it reads standard input, prints one answer, and nothing but what it changed on standard error") {
  CniLab lab;
  lab.pod("a");
  CHECK(output_of("sysctl -qw net.ipv4.ip_forward=0 2>&1").empty());
  const std::string added = execute(for_pod("ADD", "a"), lab.config());
  CHECK(added.find("\"10.200.0.2/24\"") != std::string::npos);
  CHECK(added.find("exit 0") == added.size() - 6);
  CHECK(output_of("cat /run/errors").find("turned on net.ipv4.ip_forward\n") == 0);
  const std::string again = execute(for_pod("ADD", "a"), lab.config());
  CHECK(Json::parse(again.substr(0, again.rfind("exit")))["code"] == 103);
  CHECK(again.find("exit 1") == again.size() - 6);
  CHECK(output_of("cat /run/errors").empty());
  CHECK(execute(for_pod("DEL", "a"), lab.config()) == "exit 0");
  CHECK(is_clean());
}

TEST_CASE("errors are on standard output, with the code that the specification has for them") {
  const CniLab lab;
  const auto code = [&](const std::string& environment, const Json& config) {
    const std::string text = execute(environment, config);
    CHECK(text.find("exit 1") == text.size() - 6);
    return Json::parse(text.substr(0, text.rfind("exit")))["code"].get<unsigned>();
  };
  CHECK(code("CNI_COMMAND=FOO", lab.config()) == 4);
  CHECK(code("CNI_COMMAND=ADD", lab.config()) == 4);
  CHECK(code(for_pod("ADD", "a"), Json("text")) == 7);
  CHECK(code(for_pod("ADD", "a"), lab.config(R"({"name": null})")) == 7);
  CHECK(code(for_pod("ADD", "a"), lab.config(R"({"cniVersion": "9.9.9"})")) == 1);
  CHECK(code(for_pod("ADD", "a"), lab.config(R"({"vlan": 1})")) == 2);
  CHECK(code(for_pod("ADD", "a"), lab.config()) == 8);
  CHECK(output_of("head -c 2000000 /dev/zero | " + for_pod("ADD", "a") + " CNI_IFNAME=eth0 " + program())
            .find("\"code\": 6") != std::string::npos);
  CHECK(output_of("echo '{' | " + for_pod("DEL", "a") + " CNI_IFNAME=eth0 " + program()).find("\"code\": 6") !=
        std::string::npos);
}

TEST_CASE("an input that cannot be read is code 5") {
  CHECK(output_of(for_pod("ADD", "a") + " CNI_IFNAME=eth0 " + program() + " </run").find("\"code\": 5") !=
        std::string::npos);
}

TEST_CASE("VERSION names all versions, and without a command it says what it is, on standard error") {
  const std::string version = execute("CNI_COMMAND=VERSION", cni::parse_json(R"({"cniVersion": "0.4.0"})"));
  CHECK(Json::parse(version.substr(0, version.rfind("exit"))).dump() ==
        R"({"cniVersion":"0.4.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]})");
  CHECK(execute("", {}, "bridge") == "exit 0");
  CHECK(output_of("cat /run/errors").find("CNI plugin bridge of patu") == 0);
  CHECK(output_of(program() + " --help").find("usage: ") == 0);
  CHECK(output_of(program() + " --version").find("CNI plugin patu-cni of patu") == 0);
}

TEST_CASE("called loopback it sets lo up and down again") {
  CniLab lab;
  lab.pod("a");
  const Json config = cni::parse_json(R"({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"})");
  const std::string added = execute(for_pod("ADD", "a"), config, "loopback");
  CHECK(added.find("\"127.0.0.1/8\"") != std::string::npos);
  CHECK(output_of("ip -n a -o link show lo").find("LOOPBACK,UP") != std::string::npos);
  CHECK(execute(for_pod("CHECK", "a"), config, "loopback") == "exit 0");
  CHECK(execute(for_pod("DEL", "a"), config, "loopback") == "exit 0");
  CHECK(execute(for_pod("CHECK", "a"), config, "loopback").find("\"code\": 105") != std::string::npos);
  CHECK(execute("CNI_COMMAND=DEL CNI_CONTAINERID=a CNI_NETNS=", config, "loopback") == "exit 0");
}

TEST_CASE("called host-local it gives addresses to another plugin's interfaces") {
  CniLab lab;
  const Json config = lab.config(R"({"type": "macvlan", "master": "eth0", "vlan": 5, "ipam":
      {"ranges": [[{"subnet": "10.210.0.0/30"}], [{"subnet": "fd00:210::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]}})");
  const std::string added = execute(for_pod("ADD", "a"), config, "host-local");
  Json result = Json::parse(added.substr(0, added.rfind("exit")));
  CHECK(result.dump() ==
        R"({"cniVersion":"1.1.0","ips":[{"address":"10.210.0.2/30","gateway":"10.210.0.1"},)"
        R"({"address":"fd00:210::2/64","gateway":"fd00:210::1"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{}})");
  CHECK(execute(for_pod("CHECK", "a"), config, "host-local") == "exit 0");
  CHECK(execute(for_pod("CHECK", "b"), config, "host-local").find("\"code\": 105") != std::string::npos);
  CHECK(execute(for_pod("ADD", "b"), config, "host-local").find("\"code\": 100") != std::string::npos);
  CHECK(Census::take().leases == 2);  // of b's nothing has stayed
  CHECK(execute("CNI_COMMAND=STATUS", config, "host-local").find("\"code\": 50") != std::string::npos);
  CHECK(execute(for_pod("DEL", "a"), config, "host-local") == "exit 0");
  CHECK(execute(for_pod("DEL", "a"), config, "host-local") == "exit 0");
  CHECK(execute("CNI_COMMAND=STATUS", config, "host-local") == "exit 0");
  (void)execute(for_pod("ADD", "b"), config, "host-local");
  Json none = config;
  none["cni.dev/valid-attachments"] = Json::array();
  CHECK(execute("CNI_COMMAND=GC", none, "host-local") == "exit 0");
  CHECK(Census::take().leases == 0);
}

TEST_CASE("32 of it at once attach 32 pods with 32 addresses, and detach them, mixed, with nothing left") {
  CniLab lab;
  std::ofstream("/run/config.json") << lab.config().dump();
  for (int i = 0; i < 32; ++i) lab.pod("p" + std::to_string(i));
  const std::string call = "call() { CNI_COMMAND=$1 CNI_CONTAINERID=p$2 CNI_NETNS=/run/netns/p$2 CNI_IFNAME=eth0 " +
                           program() +
                           " </run/config.json >/run/out$2 2>/dev/null || echo $1 $2: $(cat /run/out$2); }; ";
  const std::string all = "for i in $(seq 0 31); do call ADD $i & done; wait; ";
  CHECK(output_of(call + all) == "");
  CHECK(Census::take().attachments == 32);
  CHECK(output_of("for i in $(seq 0 31); do ip -n p$i -4 -o address show dev eth0; done | awk '{ print $4 }' | sort -u "
                  "| wc -l") == "32\n");
  CHECK(count_of(ruleset(), "masquerade") == 2);
  // Half of them go and come again while the others go.
  CHECK(output_of(call + "for i in $(seq 0 2 31); do (call DEL $i; call ADD $i; call DEL $i) & done; "
                         "for i in $(seq 1 2 31); do call DEL $i & done; wait") == "");
  CHECK(is_clean());
}

TEST_CASE("the library answers as the program does, and leaves the caller's process as it was") {
  CniLab lab;
  const std::string path = lab.pod("a");
  const auto environment = [&](const std::string& command) {
    return std::vector<std::string>{"CNI_COMMAND=" + command, "CNI_CONTAINERID=a", "CNI_NETNS=" + path,
                                    "CNI_IFNAME=eth0"};
  };
  const Netns before = here();
  const std::size_t descriptors = open_descriptors();
  const std::string config = lab.config().dump();
  const Called added = call_library("patu", environment("ADD"), config);
  CHECK(added.status == 0);
  CHECK(Json::parse(added.output)["ips"][0]["address"] == "10.200.0.2/24");
  const Called again = call_library("/opt/cni/bin/bridge", environment("ADD"), config);
  CHECK(again.status == 1);
  CHECK(Json::parse(again.output)["code"] == 103);
  CHECK(call_library("patu", environment("DEL"), config).output.empty());
  CHECK(call_library("patu", {}, config).status == 1);
  CHECK(here().same_as(before));
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == 1);
  CHECK(is_clean());
}

TEST_CASE("the library refuses NULL where none is allowed") {
  char* output = nullptr;
  std::size_t length = 0;
  const char* none[] = {nullptr};
  CHECK(patu_cni_exec(nullptr, none, "", 0, &output, &length) == -1);
  CHECK(patu_cni_exec("patu", nullptr, "", 0, &output, &length) == -1);
  CHECK(patu_cni_exec("patu", none, nullptr, 1, &output, &length) == -1);
  CHECK(patu_cni_exec("patu", none, "", 0, nullptr, &length) == -1);
  CHECK(patu_cni_exec("patu", none, "", 0, &output, nullptr) == -1);
  CHECK(output == nullptr);
  CHECK(patu_cni_exec("patu", none, nullptr, 0, &output, &length) == 1);  // no CNI_COMMAND
  CHECK(length == std::string(output).size());
  patu_cni_free(output);
  patu_cni_free(nullptr);
}

TEST_CASE("libcni, in Go, calls the library instead of executing the program") {
  const char* host = std::getenv("PATU_CNI_GO");
  if (host == nullptr) {
    MESSAGE("skipped: no go, or no golang-github-appc-cni-dev");
    return;
  }
  CniLab lab;
  lab.pod("a");
  Json list = cni::parse_json(R"({"cniVersion": "1.0.0", "name": "pods", "plugins": []})");
  Json plugin = lab.config();
  for (const char* key : {"cniVersion", "name"}) plugin.erase(key);
  list["plugins"].push_back(plugin);
  std::ofstream("/run/pods.conflist") << list.dump();
  const std::string text = output_of("TMPDIR=/run " + std::string(host) + " /run/pods.conflist a /run/netns/a 2>&1");
  CHECK_MESSAGE(text.find("\"10.200.0.2/24\"") != std::string::npos, text);
  CHECK(addresses_in("a").empty());  // detached again
  CHECK(is_clean());
  const std::string refused =
      output_of("TMPDIR=/run " + std::string(host) + " /run/pods.conflist a /run/netns/none 2>&1");
  CHECK_MESSAGE(refused.find("failed (add): CNI_NETNS: ") != std::string::npos, refused);
}
