// The cases of Services and EndpointSlices that the API server's lists do not have.
#include "kube_lists.hpp"

using namespace patu;
using namespace patu::test;
using nlohmann::json;

namespace {

constexpr char kFrontend[] = "cluster 10.96.0.1:80 TCP\n";

json conditions(std::initializer_list<std::pair<const char*, bool>> which) {
  json out = json::object();
  for (const auto& [name, value] : which) out[name] = value;
  return out;
}

// The backend that one endpoint of these conditions becomes; empty if none.
std::string backend_of(const json& which) {
  const auto conversion =
      converted({service_json("web"), slice_json("web-1", "web", {endpoint_json("10.0.0.1", which)})});
  CHECK(conversion.not_honoured.empty());
  const std::string all = lines(conversion, "default/web");
  REQUIRE(all.rfind(kFrontend, 0) == 0);
  return all.substr(sizeof kFrontend - 1);
}

json with(json object, const json::json_pointer& where, const json& value) {
  object[where] = value;
  return object;
}

// The service, and the notes, of a Service that is like `web` except for one field.
kube::Conversion changed(const std::string& where, const json& value) {
  return converted({with(service_json("web"), json::json_pointer(where), value)});
}

}  // namespace

TEST_CASE("absent conditions: ready is true, serving is what ready is, terminating is false") {
  const std::string active = "-> 10.0.0.1:8080 active\n";
  CHECK(backend_of(nullptr) == active);
  CHECK(backend_of(json::object()) == active);
  CHECK(backend_of(conditions({{"serving", true}})) == active);
  CHECK(backend_of(conditions({{"ready", false}})).empty());
  CHECK(backend_of(conditions({{"ready", false}, {"terminating", true}})).empty());
  CHECK(backend_of(conditions({{"ready", false}, {"serving", true}, {"terminating", true}})) ==
        "-> 10.0.0.1:8080 terminating\n");
}

TEST_CASE("an endpoint that is neither ready nor terminating and serving is no backend") {
  CHECK(backend_of(conditions({{"ready", false}, {"serving", true}})).empty());
  CHECK(backend_of(conditions({{"ready", false}, {"serving", true}, {"terminating", false}})).empty());
  CHECK(backend_of(conditions({{"ready", false}, {"serving", false}, {"terminating", true}})).empty());
}

TEST_CASE("a terminating endpoint that is ready is active, because only publishNotReadyAddresses makes it so") {
  CHECK(backend_of(conditions({{"ready", true}, {"serving", false}, {"terminating", true}})) ==
        "-> 10.0.0.1:8080 active\n");
}

TEST_CASE("several slices of one service are merged, and an endpoint that stands in two counts once, as its best") {
  const json leaving = conditions({{"ready", false}, {"serving", true}, {"terminating", true}});
  json local = endpoint_json("10.0.0.2", leaving);
  local["nodeName"] = "n1";
  const std::vector<json> items = {
      service_json("web"),
      slice_json("web-1", "web", {endpoint_json("10.0.0.1", leaving), local, endpoint_json("10.0.0.4", leaving)}),
      slice_json("web-2", "web", {endpoint_json("10.0.0.3"), endpoint_json("10.0.0.2"), endpoint_json("10.0.0.1")}),
      slice_json("other-1", "other", {endpoint_json("10.0.0.9")})};
  const auto conversion = converted(items);
  CHECK(lines(conversion, "default/web") ==
        std::string(kFrontend) +
            "-> 10.0.0.1:8080 active\n-> 10.0.0.2:8080 active local\n-> 10.0.0.3:8080 active\n"
            "-> 10.0.0.4:8080 terminating\n");
  CHECK(lines(conversion.notes) == "EndpointSlice of default/other: no such Service in the list\n");
}

TEST_CASE("a slice of the same service's name in another namespace is another service's") {
  json slice = slice_json("web-1", "web", {endpoint_json("10.0.0.1")});
  slice["metadata"]["namespace"] = "other";
  CHECK(lines(converted({service_json("web"), slice}), "default/web") == kFrontend);
}

TEST_CASE("a slice without the label is of no service, and is named") {
  json slice = slice_json("web-1", "web", {endpoint_json("10.0.0.1")});
  slice["metadata"].erase("labels");
  const auto conversion = converted({service_json("web"), slice});
  CHECK(lines(conversion, "default/web") == kFrontend);
  CHECK(lines(conversion.notes) ==
        "EndpointSlice default/web-1: has no label kubernetes.io/service-name: it is of no service\n");
}

TEST_CASE("ports are matched by name and protocol") {
  json service = service_json("web");
  service["spec"]["ports"] = R"([{"name": "a", "port": 80}, {"name": "b", "port": 81},
                                 {"name": "c", "port": 82, "protocol": "UDP"}])"_json;
  json slice = slice_json("web-1", "web", {endpoint_json("10.0.0.1")});
  slice["ports"] = R"([{"name": "b", "port": 1}, {"name": "a", "port": 2}, {"name": "c", "port": 3}])"_json;
  const auto conversion = converted({service, slice});
  CHECK(lines(conversion, "default/web:a") == "cluster 10.96.0.1:80 TCP\n-> 10.0.0.1:2 active\n");
  CHECK(lines(conversion, "default/web:b") == "cluster 10.96.0.1:81 TCP\n-> 10.0.0.1:1 active\n");
  CHECK(lines(conversion, "default/web:c") == "cluster 10.96.0.1:82 UDP\n");
}

TEST_CASE("a slice's port without a number is the Service's targetPort if that is one, and is named if it is not") {
  json slice = slice_json("web-1", "web", {endpoint_json("10.0.0.1")});
  slice["ports"] = R"([{"name": ""}])"_json;
  const auto target = [&](const json& port) {
    return converted({with(service_json("web"), "/spec/ports/0/targetPort"_json_pointer, port), slice});
  };
  CHECK(lines(target(9000), "default/web") == std::string(kFrontend) + "-> 10.0.0.1:9000 active\n");
  CHECK(lines(converted({service_json("web"), slice}), "default/web") ==
        std::string(kFrontend) + "-> 10.0.0.1:80 active\n");
  CHECK(lines(target("http"), "default/web") == kFrontend);
  CHECK(lines(target("http").not_honoured) ==
        "EndpointSlice default/web-1: its port '' has no number, and the Service's targetPort is a name\n");
}

TEST_CASE("a SCTP port is named, and the Service's other ports are honoured") {
  json service = service_json("web");
  service["spec"]["ports"] = R"([{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "SCTP"}])"_json;
  const auto conversion = converted({service});
  CHECK(names(conversion) == "default/web:a");
  CHECK(lines(conversion.not_honoured) == "Service default/web port 80/SCTP: patu translates TCP and UDP only\n");
}

TEST_CASE("an FQDN slice is named, and the service's other slices count") {
  json fqdn = slice_json("web-fqdn", "web", {endpoint_json("db.example.org")});
  fqdn["addressType"] = "FQDN";
  const auto conversion =
      converted({service_json("web"), fqdn, slice_json("web-1", "web", {endpoint_json("10.0.0.1")})});
  CHECK(lines(conversion, "default/web") == std::string(kFrontend) + "-> 10.0.0.1:8080 active\n");
  CHECK(lines(conversion.not_honoured) ==
        "EndpointSlice default/web-fqdn: addressType FQDN: patu translates to addresses, not to names\n");
  CHECK(conversion.keep.empty());
}

TEST_CASE("session affinity without a timeout has three hours") {
  const auto conversion = changed("/spec/sessionAffinity", "ClientIP");
  CHECK(lines(conversion, "default/web") == std::string(kFrontend) + "affinity 10800\n");
}

TEST_CASE("a Service without an address yet is noted; old objects have clusterIP alone") {
  const auto conversion = changed("/spec/clusterIPs", nullptr);
  CHECK(names(conversion).empty());
  CHECK(lines(conversion.notes) == "Service default/web: has no cluster address yet\n");
  json old = service_json("web");
  old["spec"] = R"({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]})"_json;
  CHECK(lines(converted({old}), "default/web") == "cluster 10.96.0.7:80 TCP\n");
}

TEST_CASE("a load balancer with ipMode Proxy or a host name gives no frontend; the first is noted") {
  json service = service_json("web");
  service["status"]["loadBalancer"]["ingress"] = R"([
    {"ip": "192.0.2.1", "ipMode": "Proxy"}, {"ip": "192.0.2.2", "ipMode": "VIP"}, {"ip": "192.0.2.3"},
    {"hostname": "lb.example.org"}])"_json;
  const auto conversion = converted({service});
  CHECK(lines(conversion, "default/web") ==
        std::string(kFrontend) + "load_balancer 192.0.2.2:80 TCP\nload_balancer 192.0.2.3:80 TCP\n");
  CHECK(lines(conversion.notes) ==
        "Service default/web: 192.0.2.1 is not translated: ipMode Proxy wants traffic to reach the load balancer\n");
}

TEST_CASE("a LoadBalancer without node ports has none") {
  json service = service_json("web");
  service["spec"]["type"] = "LoadBalancer";
  service["spec"]["allocateLoadBalancerNodePorts"] = false;
  CHECK(lines(converted({service}), "default/web") == kFrontend);
}

TEST_CASE("node ports are on the addresses of every family that the Service has") {
  json service = service_json("web");
  service["spec"]["clusterIPs"] = R"(["10.96.0.1", "fd00:96::1"])"_json;
  service["spec"]["ports"][0]["nodePort"] = 30080;
  CHECK(
      lines(converted({service}), "default/web") ==
      "cluster 10.96.0.1:80 TCP\ncluster [fd00:96::1]:80 TCP\nnode_port 0.0.0.0:30080 TCP\nnode_port [::]:30080 TCP\n");
}

TEST_CASE("addresses of a family that the Service has not are neither frontends nor backends") {
  json service = service_json("web");
  service["spec"]["externalIPs"] = R"(["2001:db8::1"])"_json;
  service["status"]["loadBalancer"]["ingress"] = R"([{"ip": "2001:db8::2"}])"_json;
  json slice = slice_json("web-1", "web", {endpoint_json("fd00::1")});
  slice["addressType"] = "IPv6";
  const auto conversion = converted({service, slice});
  CHECK(lines(conversion, "default/web") == kFrontend);
  const std::string why = " is not translated: the Service has no cluster address of that family\n";
  CHECK(lines(conversion.notes) == "Service default/web: 2001:db8::1" + why + "Service default/web: 2001:db8::2" + why);
}

TEST_CASE("an address that is external and a load balancer's is one frontend, the one with fewer conditions") {
  json service = service_json("web");
  service["spec"]["externalIPs"] = R"(["192.0.2.1", "10.96.0.1"])"_json;
  service["status"]["loadBalancer"]["ingress"] = R"([{"ip": "192.0.2.1"}])"_json;
  CHECK(lines(converted({service}), "default/web") == std::string(kFrontend) + "load_balancer 192.0.2.1:80 TCP\n");
}

TEST_CASE("trafficDistribution and topology hints are noted once for a Service") {
  const std::string expected =
      "Service default/web: trafficDistribution and topology hints are not followed: every backend gets its share\n";
  CHECK(lines(changed("/spec/trafficDistribution", "PreferClose").notes) == expected);
  json endpoint = endpoint_json("10.0.0.1");
  endpoint["hints"] = R"({"forZones": [{"name": "zone-a"}]})"_json;
  CHECK(lines(converted({service_json("web"), slice_json("web-1", "web", {endpoint, endpoint})}).notes) == expected);
}

TEST_CASE("a Service that is there twice, and a port name that is there twice, are named; the first one counts") {
  const auto twice = converted({service_json("web"), service_json("web", "10.96.0.2")});
  CHECK(lines(twice, "default/web") == kFrontend);
  CHECK(names(twice) == "default/web");
  CHECK(lines(twice.not_honoured) == "Service default/web: is in the list twice; the first one counts\n");
  const auto ports = changed("/spec/ports", R"([{"port": 80}, {"port": 81}])"_json);
  CHECK(lines(ports, "default/web") == kFrontend);
  CHECK(lines(ports.not_honoured) ==
        "Service default/web port 81/TCP: another port of the Service has the same name\n");
}

TEST_CASE("a Service or a slice that cannot be read keeps its service as it is, and the others are converted") {
  json broken = service_json("broken");
  broken["spec"]["ports"][0]["port"] = 70000;
  json slice = slice_json("half-1", "half", {endpoint_json("10.0.0.1"), endpoint_json("10.0.0.256")});
  const auto conversion = converted({broken, service_json("half"), slice, service_json("web")});
  CHECK(names(conversion) == "default/web");
  CHECK(conversion.keep == std::set<std::string>{"default/broken", "default/half"});
  CHECK(lines(conversion.not_honoured) ==
        "EndpointSlice default/half-1: endpoints[1].addresses[0]: is not an IP address; service default/half stays as "
        "it is\n"
        "Service default/broken: spec.ports[0].port: is not a number from 1 to 65535; service default/broken stays as "
        "it is\n");
}

TEST_CASE("other kinds are named once, with how many there are") {
  const json pod = {{"apiVersion", "v1"}, {"kind", "Pod"}};
  const json knative = {{"apiVersion", "serving.knative.dev/v1"}, {"kind", "Service"}};
  CHECK(lines(converted({pod, knative, pod}).notes) ==
        "1 of kind serving.knative.dev/v1 Service: not a Service or EndpointSlice of a version that patu-kube reads\n"
        "2 of kind v1 Pod: not a Service or EndpointSlice of a version that patu-kube reads\n");
}

TEST_CASE("a name is of its Service, and not of one whose name it begins with") {
  CHECK(kube::is_of("default/web:http", "default/web"));
  CHECK(kube::is_of("default/web:http", "default/web:http"));
  CHECK(kube::is_of("default/web", "default/web"));
  CHECK_FALSE(kube::is_of("default/web-dual:http", "default/web"));
  CHECK_FALSE(kube::is_of("default/web:http2", "default/web:http"));
  CHECK_FALSE(kube::is_of("default/web", "default/web:http"));
}
