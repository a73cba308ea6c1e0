// Kubernetes' objects for tests: read from text, converted, and written as lines that are easy to compare.
#pragma once

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "convert.hpp"
#include "read.hpp"

namespace patu::test {

inline Result<kube::Objects> read_text(const std::string& text, const kube::ReadLimits& limits = {}) {
  const int fd = ::memfd_create("list", MFD_CLOEXEC);
  REQUIRE(fd >= 0);
  REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  REQUIRE(::lseek(fd, 0, SEEK_SET) == 0);
  auto objects = kube::read_objects(fd, limits);
  ::close(fd);
  return objects;
}

inline std::string kube_data(const std::string& name) {
  std::ifstream file(PATU_KUBE_DATA "/" + name);
  REQUIRE(file.good());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline kube::Objects objects_of(const std::string& text) {
  auto objects = read_text(text);
  REQUIRE_MESSAGE(objects, (objects ? "" : objects.error().to_string()));
  return std::move(*objects);
}

inline kube::Objects listed(const std::vector<nlohmann::json>& items) {
  return objects_of(nlohmann::json{{"apiVersion", "v1"}, {"kind", "List"}, {"items", items}}.dump());
}

inline kube::Conversion converted(const std::vector<nlohmann::json>& items,
                                  const kube::ConvertOptions& options = {.node = "n1"}) {
  return kube::convert(listed(items), options);
}

inline std::string lines(const std::vector<kube::Remark>& remarks) {
  std::vector<std::string> out;
  for (const kube::Remark& remark : remarks) out.push_back(remark.object + ": " + remark.text);
  std::sort(out.begin(), out.end());
  std::string text;
  for (const std::string& line : out) text += line + "\n";
  return text;
}

// Frontends as "cluster 10.96.0.1:443 TCP", backends as "-> 10.200.0.2:80 active local".
inline std::string lines(const Service& service) {
  static constexpr const char* kKinds[] = {"cluster", "load_balancer", "external", "node_port", "host_port"};
  static constexpr const char* kStates[] = {"active", "terminating", "maintenance"};
  std::string text;
  for (const Frontend& frontend : service.frontends)
    text += std::string(kKinds[static_cast<int>(frontend.kind)]) + " " + frontend.endpoint.to_string() + " " +
            std::string(to_string(frontend.protocol)) + (frontend.loopback ? " loopback" : "") +
            (frontend.reserve_port ? " reserved" : "") + "\n";
  for (const Backend& backend : service.backends)
    text += "-> " + backend.endpoint.to_string() + " " + kStates[static_cast<int>(backend.state)] +
            (backend.local ? " local" : "") + (backend.weight == 1 ? "" : " weighted") + "\n";
  if (service.internal_policy == TrafficPolicy::local) text += "internal local\n";
  if (service.affinity_timeout.count() != 0)
    text += "affinity " + std::to_string(service.affinity_timeout.count()) + "\n";
  if (service.close_tcp) text += "close tcp\n";
  return text;
}

inline std::string lines(const kube::Conversion& conversion, const std::string& service) {
  for (const Service& other : conversion.services)
    if (other.name == service) return lines(other);
  return "no such service";
}

inline std::string names(const kube::Conversion& conversion) {
  std::string text;
  for (const Service& service : conversion.services) text += (text.empty() ? "" : " ") + service.name;
  return text;
}

// --- the least that a Service and an EndpointSlice need

inline nlohmann::json service_json(const std::string& name, const std::string& address = "10.96.0.1") {
  nlohmann::json service = nlohmann::json::parse(R"({
    "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default"},
    "spec": {"clusterIPs": [], "ports": [{"port": 80}]}})");
  service["metadata"]["name"] = name;
  service["spec"]["clusterIPs"].push_back(address);
  return service;
}

inline nlohmann::json endpoint_json(const std::string& address, const nlohmann::json& conditions = nullptr) {
  nlohmann::json endpoint;
  endpoint["addresses"].push_back(address);
  endpoint["conditions"] = conditions;
  return endpoint;
}

inline nlohmann::json slice_json(const std::string& name, const std::string& service,
                                 const std::vector<nlohmann::json>& endpoints) {
  nlohmann::json slice = nlohmann::json::parse(R"({
    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"namespace": "default"},
    "addressType": "IPv4", "ports": [{"port": 8080}]})");
  slice["metadata"]["name"] = name;
  slice["metadata"]["labels"]["kubernetes.io/service-name"] = service;
  slice["endpoints"] = endpoints;
  return slice;
}

}  // namespace patu::test
