// Lists that are not what they should be: each is refused, or the object in it named, with the place.
#include <fcntl.h>

#include "kube_lists.hpp"

using namespace patu;
using namespace patu::test;
using nlohmann::json;

namespace {

std::string refusal(const std::string& text, const kube::ReadLimits& limits = {}) {
  const auto objects = read_text(text, limits);
  REQUIRE_FALSE(objects);
  CHECK(objects.error().code() == Errc::invalid_argument);
  return objects.error().to_string();
}

bool says(const std::string& text, std::string_view part) {
  CAPTURE(text);
  return text.find(part) != std::string::npos;
}

// What is said of `web` when one field of it, named as a JSON pointer, has this value.
std::string unreadable(const std::string& field, const json& value) {
  json service = service_json("web");
  service[json::json_pointer(field)] = value;
  const kube::Objects objects = listed({service});
  REQUIRE(objects.unreadable.size() == 1);
  CHECK(objects.services.empty());
  return objects.unreadable[0].object + ": " + objects.unreadable[0].reason;
}

}  // namespace

TEST_CASE("what is not JSON is refused with the byte") {
  CHECK(says(refusal(""), "byte 0: "));
  CHECK(says(refusal("{\"kind\": \"List\", nonsense"), "byte 19: parse error"));
  const std::string whole = kube_data("services-1.32.json");
  CHECK(says(refusal(whole.substr(0, whole.size() / 2)), "byte " + std::to_string(whole.size() / 2) + ": parse error"));
  CHECK(says(refusal(whole + whole), "byte "));
  CHECK(says(refusal("{\"kind\": \"\xff\"}"), "byte "));
}

TEST_CASE("a list that is too long is refused, at exactly the limit it is not") {
  const std::string text = json{{"kind", "List"}, {"items", json::array()}}.dump();
  CHECK(read_text(text, {.bytes = text.size()}));
  CHECK(
      says(refusal(text, {.bytes = text.size() - 1}), "is longer than " + std::to_string(text.size() - 1) + " bytes"));
}

TEST_CASE("a hundred thousand arrays inside each other are refused before they are taken in") {
  CHECK(says(refusal(std::string(100000, '[')), "is deeper than 64"));
  CHECK(says(refusal("{\"kind\":\"List\",\"items\":[{\"spec\":" + std::string(100000, '[')), "is deeper than 64"));
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  CHECK(says(refusal(objects), "is deeper than 64"));
}

TEST_CASE("depth counts objects and arrays, at exactly the limit it is accepted") {
  const auto nested = [](std::size_t depth) {
    // The List, its items and the object are three.
    return "{\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"a\":" +
           std::string(depth - 3, '[') + std::string(depth - 3, ']') + "}]}";
  };
  CHECK(read_text(nested(64)));
  CHECK(says(refusal(nested(65)), "is deeper than 64"));
}

TEST_CASE("a directory is an error of reading") {
  const int fd = ::open("/", O_RDONLY | O_CLOEXEC);
  const auto objects = kube::read_objects(fd);
  ::close(fd);
  REQUIRE_FALSE(objects);
  CHECK(objects.error().os_error() == EISDIR);
}

TEST_CASE("JSON that is no list of objects is refused") {
  CHECK(says(refusal("[]"), "not a Kubernetes object"));
  CHECK(says(refusal("3"), "not a Kubernetes object"));
  CHECK(says(refusal("{\"kind\": \"List\", \"items\": {\"a\": {}}}"), "items is not an array"));
  CHECK(says(refusal("{\"kind\": \"Pod\", \"apiVersion\": \"v1\"}"), "neither a List nor a Service or EndpointSlice"));
  CHECK(says(refusal("{\"kind\": \"Pod\", \"apiVersion\": \"v1\", \"items\": [{}]}"), "its kind is not List"));
}

TEST_CASE("one Service, and one EndpointSlice, is accepted without a list") {
  CHECK(objects_of(service_json("web").dump()).services.size() == 1);
  CHECK(objects_of(slice_json("web-1", "web", {}).dump()).slices.size() == 1);
}

TEST_CASE("an empty list is an empty list") {
  for (const json& items : {json(nullptr), json::array()}) {
    const auto objects = objects_of(json{{"kind", "List"}, {"items", items}}.dump());
    CHECK(objects.services.empty());
    CHECK(objects.unreadable.empty());
  }
}

TEST_CASE("what is no object in the list, or has no kind, is named with its place; the others are read") {
  const kube::Objects objects =
      listed({1, "text", nullptr, json::array({json::object()}), json::object(), service_json("web"), true});
  CHECK(objects.services.size() == 1);
  REQUIRE(objects.unreadable.size() == 6);
  CHECK(objects.unreadable[0].object == "items[0]");
  CHECK(objects.unreadable[3].object == "items[3]");
  CHECK(objects.unreadable[4].reason == "has no kind and apiVersion");
  CHECK(objects.unreadable[5].object == "items[6]");
}

TEST_CASE("each wrong field of a Service is named") {
  CHECK(unreadable("/spec", 1) == "Service default/web: spec: is not an object");
  CHECK(unreadable("/spec/ports", "80") == "Service default/web: spec.ports: is not an array");
  CHECK(unreadable("/spec/ports/0", nullptr) == "Service default/web: spec.ports[0]: is null");
  const std::string not_a_port = ": is not a number from 1 to 65535";
  for (const json& port : {json(0), json(-1), json(65536), json(80.0), json("80"), json(UINT64_MAX), json(true)})
    CHECK(unreadable("/spec/ports/0/port", port) == "Service default/web: spec.ports[0].port" + not_a_port);
  CHECK(unreadable("/spec/ports/0/port", nullptr) == "Service default/web: spec.ports[0].port: is missing");
  CHECK(unreadable("/spec/ports/0/targetPort", 65536) == "Service default/web: spec.ports[0].targetPort" + not_a_port);
  CHECK(says(unreadable("/spec/ports/0/nodePort", 65536), "nodePort: is not a number from 0 to 65535"));
  CHECK(says(unreadable("/spec/ports/0/protocol", "ICMP"), "protocol: is not TCP, UDP or SCTP"));
  CHECK(says(unreadable("/spec/ports/0/name", "a\nb"), "name: is not a port's name"));
  CHECK(says(unreadable("/spec/clusterIPs/0", "10.96.0.256"), "spec.clusterIPs[0]: is not an IP address"));
  CHECK(says(unreadable("/spec/externalIPs", std::vector<std::string>(1025, "192.0.2.1")),
             "spec.externalIPs: has more than 1024 elements"));
  CHECK(says(unreadable("/spec/sessionAffinity", "Cookie"), "is neither None nor ClientIP"));
  CHECK(says(unreadable("/spec/internalTrafficPolicy", "local"), "is neither Cluster nor Local"));
  json service = service_json("web");
  service["spec"]["sessionAffinity"] = "ClientIP";
  service["spec"]["sessionAffinityConfig"] = R"({"clientIP": {"timeoutSeconds": 86401}})"_json;
  CHECK(says(listed({service}).unreadable.at(0).reason, "is not a number from 1 to 86400"));
}

TEST_CASE("a Service whose name is not one is named by its place, and no service is kept for it") {
  for (const json& name : {json("a/b"), json("A"), json(""), json(std::string(254, 'a')), json("\x1b[2J"), json(7)}) {
    json service = service_json("web");
    service["metadata"]["name"] = name;
    const kube::Objects objects = listed({service});
    REQUIRE(objects.unreadable.size() == 1);
    CHECK(objects.unreadable[0].object == "Service at items[0]");
    CHECK_FALSE(objects.unreadable[0].service);
  }
}

TEST_CASE("each wrong field of an EndpointSlice is named, with the service that it belongs to") {
  const auto reason = [](const std::string& field, const json& value) {
    json slice = slice_json("web-1", "web", {endpoint_json("10.0.0.1")});
    slice[json::json_pointer(field)] = value;
    const kube::Objects objects = listed({slice});
    REQUIRE(objects.unreadable.size() == 1);
    CHECK(objects.unreadable[0].object == "EndpointSlice default/web-1");
    CHECK(objects.unreadable[0].service == kube::ObjectName{"default", "web"});
    return objects.unreadable[0].reason;
  };
  CHECK(reason("/addressType", "IPX") == "addressType: is not IPv4, IPv6 or FQDN");
  CHECK(reason("/addressType", "IPv6") == "endpoints[0].addresses[0]: is not of the slice's addressType");
  CHECK(reason("/endpoints/0/addresses", nullptr) == "endpoints[0].addresses: is missing or empty");
  CHECK(reason("/endpoints/0/conditions", R"({"ready": 1})"_json) ==
        "endpoints[0].conditions.ready: is not true or false");
  CHECK(reason("/endpoints/0/nodeName", 1) == "endpoints[0].nodeName: is not a string");
  CHECK(reason("/ports/0/port", 0) == "ports[0].port: is not a number from 1 to 65535");
}

TEST_CASE("text from outside reaches a terminal in printable form only") {
  json service = service_json("web");
  service["kind"] = "\x1b[2J";
  const kube::Objects objects = listed({service});
  REQUIRE(objects.other_kinds.size() == 1);
  CHECK(objects.other_kinds.begin()->first == "v1 \\x1b[2J");
}
