// What comes of each Service in the two lists that an API server of Kubernetes 1.32 printed.
#include "kube_lists.hpp"

using namespace patu;
using namespace patu::test;

namespace {

kube::Conversion list(const char* name) { return kube::convert(objects_of(kube_data(name)), {.node = "n1"}); }

const kube::Conversion& before() {
  static const kube::Conversion conversion = list("services-1.32.json");
  return conversion;
}

// Five seconds after pod 10.200.0.2 of `web` was deleted, and 10.200.0.7 has come for it.
const kube::Conversion& after() {
  static const kube::Conversion conversion = list("services-1.32-terminating.json");
  return conversion;
}

std::string pods_before(const std::string& port) {
  return "-> 10.200.0.2:" + port + " active local\n-> 10.200.0.4:" + port + " active local\n-> 10.200.0.5:" + port +
         " active local\n";
}

std::string pods_after(const std::string& port) {
  return "-> 10.200.0.2:" + port + " terminating local\n-> 10.200.0.4:" + port +
         " active local\n-> 10.200.0.5:" + port + " active local\n-> 10.200.0.7:" + port + " active local\n";
}

// For a service of the pods of `web`.
void check_web(const std::string& service, const std::string& frontends, const std::string& port,
               const std::string& more = {}) {
  CHECK(lines(before(), service) == frontends + pods_before(port) + more);
  CHECK(lines(after(), service) == frontends + pods_after(port) + more);
}

// For one that the pod's deletion does not concern.
void check_same(const std::string& service, const std::string& expected) {
  CHECK(lines(before(), service) == expected);
  CHECK(lines(after(), service) == expected);
}

}  // namespace

TEST_CASE("every port of a Service that has an address becomes a service, and nothing else does") {
  const std::string expected =
      "default/dns:dns default/dns:dns-tcp default/eager default/empty default/external default/kubernetes:https "
      "default/lb default/manual:db default/nodeport:a default/nodeport:b default/notready default/sticky "
      "default/web-dual:http default/web:http";
  CHECK(names(before()) == expected);
  CHECK(names(after()) == expected);
}

TEST_CASE("ExternalName and headless Services are skipped and counted") {
  for (const auto* conversion : {&before(), &after()}) {
    CHECK(conversion->external_names == 1);
    CHECK(conversion->headless == 1);
  }
}

TEST_CASE("web: a Service with a named target port has the number that its slice gives") {
  check_web("default/web:http", "cluster 10.96.5.13:80 TCP\n", "80");
}

TEST_CASE("dns: UDP and TCP on port 53 are two services, each with the slice's port of its name") {
  check_web("default/dns:dns", "cluster 10.96.215.224:53 UDP\n", "5353");
  check_web("default/dns:dns-tcp", "cluster 10.96.215.224:53 TCP\n", "5353");
}

TEST_CASE("web-dual: both addresses are frontends, and each family has its own slice") {
  const std::string frontends = "cluster [fd00:96::3912]:8080 TCP\ncluster 10.96.126.171:8080 TCP\n";
  CHECK(lines(before(), "default/web-dual:http") ==
        frontends + pods_before("80") +
            "-> [fd00:200::2]:80 active local\n-> [fd00:200::4]:80 active local\n-> [fd00:200::5]:80 active local\n");
  CHECK(lines(after(), "default/web-dual:http") ==
        frontends + pods_after("80") +
            "-> [fd00:200::2]:80 terminating local\n-> [fd00:200::4]:80 active local\n"
            "-> [fd00:200::5]:80 active local\n-> [fd00:200::7]:80 active local\n");
}

TEST_CASE("sticky: affinity ClientIP keeps its timeout") {
  check_web("default/sticky", "cluster 10.96.7.220:80 TCP\n", "80", "affinity 300\n");
}

TEST_CASE("nodeport: node ports are frontends on every address of the Service's family") {
  check_web("default/nodeport:a", "cluster 10.96.105.215:80 TCP\nnode_port 0.0.0.0:30080 TCP\n", "80");
  check_web("default/nodeport:b", "cluster 10.96.105.215:53 UDP\nnode_port 0.0.0.0:30053 UDP\n", "5353");
}

TEST_CASE("lb: a load balancer's address is a frontend beside the cluster address and the node port") {
  check_web("default/lb",
            "cluster 10.96.181.191:443 TCP\nload_balancer 192.0.2.200:443 TCP\nnode_port 0.0.0.0:31618 TCP\n", "80");
}

TEST_CASE("external: an external address is a frontend, and internalTrafficPolicy Local is kept") {
  check_web("default/external", "cluster 10.96.255.62:80 TCP\nexternal 198.51.100.7:80 TCP\n", "80",
            "internal local\n");
}

TEST_CASE("empty: a selector that matches nothing leaves a service without backends, which refuses") {
  check_same("default/empty", "cluster 10.96.96.32:80 TCP\n");
}

TEST_CASE("notready: pods that are not ready are no backends") {
  check_same("default/notready", "cluster 10.96.146.92:80 TCP\n");
}

TEST_CASE("eager: publishNotReadyAddresses makes the same pods backends") {
  check_same("default/eager",
             "cluster 10.96.196.214:80 TCP\n-> 10.200.0.3:80 active local\n-> 10.200.0.6:80 active local\n");
}

TEST_CASE("manual: slices made by hand count, also with empty conditions, and no node is not this one") {
  check_same("default/manual:db",
             "cluster 10.96.164.46:5432 TCP\n-> 203.0.113.10:5432 active\n-> 203.0.113.11:5432 active\n");
}

TEST_CASE("kubernetes: the API server's own slice has no serving and terminating conditions") {
  check_same("default/kubernetes:https", "cluster 10.96.0.1:443 TCP\n-> 192.168.77.1:6443 active\n");
}

TEST_CASE("SCTP and the FQDN slice are named with the reason, and nothing else is refused") {
  const std::string expected =
      "EndpointSlice default/manual-fqdn: addressType FQDN: patu translates to addresses, not to names\n"
      "Service default/sctp port 9999/SCTP: patu translates TCP and UDP only\n";
  CHECK(lines(before().not_honoured) == expected);
  CHECK(lines(after().not_honoured) == expected);
  CHECK(before().keep.empty());
}

TEST_CASE("what concerns traffic from outside the node is noted once for each Service, and nothing else is noted") {
  const std::string outside = ": concerns traffic from outside the node, which patu does not handle yet\n";
  const std::string expected =
      "Service default/lb: externalTrafficPolicy Local, loadBalancerSourceRanges, healthCheckNodePort" + outside +
      "Service default/nodeport: externalTrafficPolicy Local" + outside;
  CHECK(lines(before().notes) == expected);
  CHECK(lines(after().notes) == expected);
}

TEST_CASE("on another node the same pods are not local, and Local without any local one is noted") {
  const auto conversion = kube::convert(objects_of(kube_data("services-1.32.json")), {.node = "n2"});
  CHECK(lines(conversion, "default/web:http") ==
        "cluster 10.96.5.13:80 TCP\n-> 10.200.0.2:80 active\n-> 10.200.0.4:80 active\n-> 10.200.0.5:80 active\n");
  CHECK(lines(conversion.notes).find("Node n2: no endpoint is on it") != std::string::npos);
}

TEST_CASE("node ports on loopback and reserved node ports are options") {
  const auto conversion = kube::convert(objects_of(kube_data("services-1.32.json")),
                                        {.node = "n1", .node_ports_on_loopback = true, .reserve_node_ports = true});
  CHECK(lines(conversion, "default/nodeport:a") ==
        "cluster 10.96.105.215:80 TCP\nnode_port 0.0.0.0:30080 TCP loopback reserved\n" + pods_before("80"));
}
