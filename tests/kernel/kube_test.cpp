// patu-kube as a person runs it: lists of a real API server go in, and clients of the services are served.
#include <filesystem>
#include <fstream>

#include "bpf/instance.hpp"
#include "instance.hpp"
#include "kube_fixture.hpp"
#include "kube_lists.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;
using nlohmann::json;

namespace {

constexpr char kList[] = PATU_KUBE_DATA "/services-1.32.json";
constexpr char kTerminating[] = PATU_KUBE_DATA "/services-1.32-terminating.json";

std::string text_of(std::vector<Service> services) {
  std::string text;
  for (Service& service : services) {
    std::sort(service.frontends.begin(), service.frontends.end());
    std::sort(service.backends.begin(), service.backends.end());
    text += service.name + "\n" + lines(service);
  }
  return text;
}

// What a list should lead to.
std::string expected(const char* name) {
  return text_of(kube::convert(objects_of(kube_data(name)), {.node = "n1"}).services);
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string names_of(const std::vector<Service>& services) {
  std::string text;
  for (const Service& service : services) text += (text.empty() ? "" : " ") + service.name;
  return text;
}

}  // namespace

TEST_CASE("a list of an API server is in the kernel as it was converted, and what is not honoured is named") {
  const Kube kube;
  const KubeRun run = kube.apply(kList);
  CHECK(run.status == 3);
  CHECK(has(run.out, "14 added, 0 changed, 0 removed, 0 unchanged, 0 refused\n"));
  CHECK(has(run.out, "1 headless, 1 ExternalName"));
  CHECK(run.err ==
        "not honoured:\n"
        "  EndpointSlice default/manual-fqdn: addressType FQDN: patu translates to addresses, not to names\n"
        "  Service default/sctp port 9999/SCTP: patu translates TCP and UDP only\n");
  CHECK(text_of(Kube::table()) == expected("services-1.32.json"));
  CHECK(has(kube.apply(kList).out, "0 added, 0 changed, 0 removed, 14 unchanged, 0 refused\n"));
}

TEST_CASE("clients reach the pods of a service by its cluster address, in both families, and its node port") {
  const Kube kube;
  const KubePods pods;
  REQUIRE(kube.apply(kList).status == 3);
  CHECK(reached("10.96.5.13:80") == "10.200.0.2 10.200.0.4 10.200.0.5");
  CHECK(reached("[fd00:96::3912]:8080") == "fd00:200::2 fd00:200::4 fd00:200::5");
  CHECK(reached("192.0.2.200:443") == "10.200.0.2 10.200.0.4 10.200.0.5");
  CHECK(reached("10.199.0.1:30080") == "10.200.0.2 10.200.0.4 10.200.0.5");
  CHECK(reached("10.96.7.220:80").find(' ') == std::string::npos);  // sticky
  CHECK(reached("10.96.96.32:80") == "ECONNREFUSED");               // empty
  CHECK(reached("10.96.5.13:81") == "ECONNREFUSED");                // not a port of web
  CHECK(output_of("ip address replace 10.199.0.2/32 dev lo 2>&1").empty());
  REQUIRE(kube.apply(kTerminating).status == 3);
  CHECK(reach("10.199.0.2:30080").rfind("10.200.0.", 0) == 0);  // the node's new address
  CHECK(reached("10.96.5.13:80") == "10.200.0.4 10.200.0.5 10.200.0.7");
}

TEST_CASE("a dry run shows each difference and writes nothing, and applying then changes just that") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const KubeRun dry = kube.apply(kTerminating, "--dry-run");
  CHECK(dry.status == 3);
  CHECK(has(dry.out,
            "~ default/web:http\n    - backend 10.200.0.2:80 active,local\n"
            "    + backend 10.200.0.2:80 terminating,local\n    + backend 10.200.0.7:80 active,local\n"));
  CHECK(has(dry.out, "would be 0 added, 9 changed, 0 removed, 5 unchanged, 0 refused\n"));
  CHECK(text_of(Kube::table()) == expected("services-1.32.json"));
  CHECK(has(kube.apply(kTerminating).out, "0 added, 9 changed, 0 removed, 5 unchanged, 0 refused\n"));
  CHECK(text_of(Kube::table()) == expected("services-1.32-terminating.json"));
}

TEST_CASE("list shows what is there as a table and as JSON, and can be asked for some by name") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const KubeRun all = kube.run("list");
  CHECK(all.status == 0);
  CHECK(has(all.out, "NAME"));
  for (const Service& service : Kube::table()) CHECK_MESSAGE(has(all.out, "\n" + service.name + " "), service.name);
  const json dns = json::parse(kube.run("list -o json default/dns").out);
  REQUIRE(dns.size() == 2);
  CHECK(dns[0]["name"] == "default/dns:dns");
  CHECK(dns[0]["frontends"][0]["endpoint"] == "10.96.215.224:53");
  CHECK(dns[0]["frontends"][0]["protocol"] == "UDP");
  CHECK(dns[0]["backends"].size() == 3);
  CHECK(dns[1]["name"] == "default/dns:dns-tcp");
  const KubeRun missing = kube.run("list default/none");
  CHECK(missing.status == 3);
  CHECK(missing.err == "default/none: no such service\n");
}

TEST_CASE("only apply loads: without an instance there is no service, and it says why") {
  const Kube kube;
  const KubeRun none = kube.run("list");
  CHECK(none.status == 0);
  CHECK(has(none.out, "NAME"));
  CHECK(std::count(none.out.begin(), none.out.end(), '\n') == 1);
  CHECK(has(none.err, "patu-kube: adopt data path: instance test is not loaded"));
  CHECK(json::parse(kube.run("list -o json").out) == json::array());
  CHECK(kube.run("list default/web").status == 3);
  const KubeRun dry = kube.apply(kList, "--dry-run");
  CHECK(has(dry.out, "+ default/web:http\n"));
  CHECK(has(dry.out, "would be 14 added, 0 changed, 0 removed, 0 unchanged, 0 refused\n"));
  CHECK(has(dry.err, "instance test is not loaded"));
  CHECK(has(kube.run("delete --all --dry-run").out, "would be 0 added, 0 changed, 0 removed"));
  CHECK(has(kube.run("delete --all").out, "0 added, 0 changed, 0 removed"));
  CHECK(kube.run("delete default/web").status == 3);
  CHECK(has(kube.run("explain 10.96.5.13:80").out, "10.96.5.13:80/TCP is untouched"));
  CHECK_FALSE(std::filesystem::exists(bpffs_path() + "/patu"));
  CHECK(kube.run("--bpffs /nowhere list").status == 1);
  CHECK(kube.run("--bpffs /run list").status == 1);
}

TEST_CASE("list takes an instance as it is: by whatever build, and in whatever cgroup") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const Datapath datapath = must(Datapath::adopt(datapath_options()));
  auto meta = must(datapath.instance()->meta());
  meta.build[PATU_COMPONENT_SERVICE] ^= 1;
  must(datapath.instance()->put_meta(meta));
  const KubeRun all = kube.run("list --cgroup /nowhere");
  CHECK_MESSAGE(all.status == 0, all.err);
  for (const Service& service : must(must(ServiceTable::open(datapath)).list()))
    CHECK_MESSAGE(has(all.out, "\n" + service.name + " "), service.name);
  CHECK(must(datapath.instance()->meta()).build[PATU_COMPONENT_SERVICE] == meta.build[PATU_COMPONENT_SERVICE]);
}

TEST_CASE("explain says what becomes of a connection, and why") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const KubeRun web = kube.run("explain 10.96.5.13 80");
  CHECK(web.status == 0);
  CHECK(has(web.out, "10.96.5.13:80/TCP is translated"));
  CHECK(has(web.out, "service    default/web:http\n"));
  CHECK(has(web.out, "candidate  10.200.0.2:80 active,local\n"));
  CHECK(json::parse(kube.run("-o json explain 10.96.215.224:53/udp").out)["service"] == "default/dns:dns");
  CHECK(has(kube.run("explain 10.96.96.32:80").out, "10.96.96.32:80/TCP is refused"));
  CHECK(has(kube.run("explain 10.96.5.13 80 UDP").out, "10.96.5.13:80/UDP is refused"));
  CHECK(has(kube.run("explain [2001:db8::1]:80").out, "[2001:db8::1]:80/TCP is untouched"));
  CHECK(kube.run("explain --netns /proc/self/ns/net 10.96.5.13 80").status == 0);
  CHECK(kube.run("explain --netns /proc/self/ns/mnt 10.96.5.13 80").status == 1);
}

TEST_CASE("a list comes by standard input too, and services that are not in it are removed") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  std::ofstream("/run/list.json") << json{
      {"kind", "List"}, {"items", {service_json("one"), slice_json("one-1", "one", {endpoint_json("10.200.0.9")})}}};
  const KubeRun run = kube.run("apply -f - -o json", "cat /run/list.json | ");
  CHECK(run.status == 0);
  CHECK(run.err.empty());
  const json report = json::parse(run.out);
  CHECK(report["added"] == json::array({"default/one"}));
  CHECK(report["removed"].size() == 14);
  CHECK(names_of(Kube::table()) == "default/one");
}

TEST_CASE("an empty list, and one without any slice, is refused without --allow-empty") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const std::string before = text_of(Kube::table());
  const KubeRun empty = kube.apply_items({});
  CHECK(empty.status == 1);
  CHECK(has(empty.err, "the list has no service"));
  const KubeRun no_slices = kube.apply_items({service_json("web")});
  CHECK(no_slices.status == 1);
  CHECK(has(no_slices.err, "no EndpointSlice"));
  CHECK(text_of(Kube::table()) == before);
  CHECK(kube.apply_items({service_json("web")}, "--allow-empty").status == 0);
  CHECK(names_of(Kube::table()) == "default/web");
  CHECK(kube.apply_items({}, "--allow-empty").status == 0);
  CHECK(names_of(Kube::table()).empty());
}

TEST_CASE("a service about which something cannot be read stays as it was, and the others change") {
  const Kube kube;
  const json slice = slice_json("web-1", "web", {endpoint_json("10.200.0.2")});
  REQUIRE(kube.apply_items({service_json("web"), service_json("other", "10.96.0.2"), slice}).status == 0);
  json broken = service_json("web", "10.96.0.3");
  broken["spec"]["ports"][0]["port"] = "eighty";
  const KubeRun run = kube.apply_items({broken, service_json("new", "10.96.0.4"), slice});
  CHECK(run.status == 3);
  CHECK(has(run.err, "Service default/web: spec.ports[0].port: is not a number from 1 to 65535"));
  CHECK(text_of(Kube::table()) ==
        "default/new\ncluster 10.96.0.4:80 TCP\ndefault/web\ncluster 10.96.0.1:80 TCP\n-> 10.200.0.2:8080 active\n");
}

TEST_CASE("a service that cannot be is refused by name, and the others go in") {
  const Kube kube;
  const KubeRun run = kube.apply_items({service_json("one"), service_json("loop", "127.0.0.1"),
                                        slice_json("one-1", "one", {endpoint_json("10.200.0.2")})});
  CHECK(run.status == 3);
  CHECK(has(run.out, "1 added, 0 changed, 0 removed, 0 unchanged, 1 refused\n"));
  CHECK(has(run.err, "service default/loop: "));
  CHECK(names_of(Kube::table()) == "default/one");
}

TEST_CASE("delete takes the ports of a Service, one port, or all, and says what it did not find") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const std::string before = text_of(Kube::table());
  const KubeRun dry = kube.run("delete --dry-run default/dns");
  CHECK(dry.status == 0);
  CHECK(has(dry.out, "- default/dns:dns\n- default/dns:dns-tcp\nwould be 0 added, 0 changed, 2 removed, 12 unchanged"));
  CHECK(text_of(Kube::table()) == before);
  CHECK(kube.run("delete default/dns default/nodeport:a").status == 0);
  CHECK(Kube::table().size() == 11);
  const KubeRun missing = kube.run("delete default/web default/dns");
  CHECK(missing.status == 3);
  CHECK(has(missing.err, "default/dns: no such service"));
  CHECK(Kube::table().size() == 10);
  CHECK(has(kube.run("delete --all --dry-run").out, "would be 0 added, 0 changed, 10 removed"));
  CHECK(Kube::table().size() == 10);
  CHECK(kube.run("delete --all").status == 0);
  CHECK(Kube::table().empty());
}

TEST_CASE("what fails and what is misused have exit statuses of their own, and change nothing") {
  const Kube kube;
  REQUIRE(kube.apply(kList).status == 3);
  const std::string before = text_of(Kube::table());
  CHECK(kube.run("apply").status == 2);
  CHECK(kube.run("nonsense").status == 2);
  CHECK(kube.run("apply -f /run/no-such-file").status == 1);
  CHECK(kube.run("apply -f /run").status == 1);
  const KubeRun cut = kube.run("apply -f -", "head -c 5000 " + std::string(kList) + " | ");
  CHECK(cut.status == 1);
  CHECK(has(cut.err, "patu-kube: standard input: byte 5000: parse error"));
  CHECK(kube.run("--bpffs /run list").status == 1);
  CHECK(kube.run("list >/dev/full").status == 1);
  CHECK(kube.run("--help").status == 0);
  CHECK(text_of(Kube::table()) == before);
}
