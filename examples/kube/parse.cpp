// The fields of Service and EndpointSlice, checked as far as an API server checks them.
#include "parse.hpp"

#include <algorithm>

namespace kube {
namespace {

// More than patu takes in a service, and than an API server takes in a slice.
constexpr std::size_t kMaxElements = 1024;
constexpr std::size_t kMaxNameLength = 253;  // DNS subdomain
constexpr std::int64_t kDefaultAffinitySeconds = 10800;
constexpr std::int64_t kMaxAffinitySeconds = 86400;
constexpr char kServiceLabel[] = "kubernetes.io/service-name";

bool is_name(std::string_view text) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !text.empty() && text.size() <= kMaxNameLength && std::all_of(text.begin(), text.end(), fits);
}

// Names become names of patu's services, and are printed.
std::string name_of(const Node& node) {
  if (node.is_absent()) node.refuse("is missing");
  std::string text = node.text();
  if (!is_name(text)) node.refuse("is not a name of 1 to 253 of a-z, 0-9, '-' and '.'");
  return text;
}

std::string port_name_of(const Node& node) {
  std::string text = node.text();
  if (!text.empty() && !is_name(text)) node.refuse("is not a port's name");
  return text;
}

patu::IpAddress address_of(const Node& node) {
  auto address = patu::IpAddress::parse(node.text());
  if (!address) node.refuse("is not an IP address");
  return *address;
}

std::uint16_t port_of(const Node& node, std::int64_t min = 1) {
  if (node.is_absent() && min > 0) node.refuse("is missing");
  return static_cast<std::uint16_t>(node.number(min, 65535, 0));
}

Transport transport_of(const Node& node) {
  const std::string text = node.text("TCP");
  if (text == "TCP") return Transport::tcp;
  if (text == "UDP") return Transport::udp;
  if (text == "SCTP") return Transport::sctp;
  node.refuse("is not TCP, UDP or SCTP");
}

bool is_one_of_two(const Node& node, std::string_view usual, std::string_view special) {
  const std::string text = node.text(usual);
  if (text != special && text != usual)
    node.refuse("is neither " + std::string(usual) + " nor " + std::string(special));
  return text == special;
}

bool is_local(const Node& policy) { return is_one_of_two(policy, "Cluster", "Local"); }

ServicePort parse_service_port(const Node& node) {
  ServicePort port;
  port.name = port_name_of(node["name"]);
  port.transport = transport_of(node["protocol"]);
  port.port = port_of(node["port"]);
  port.node_port = port_of(node["nodePort"], 0);
  const Node target = node["targetPort"];
  if (target.is_absent()) {
    port.target = port.port;  // the API server's default
  } else if (target.is_number()) {
    port.target = port_of(target);
  } else {
    (void)target.text();  // the name of a container's port; slices have its number
  }
  return port;
}

Ingress parse_ingress(const Node& node) {
  Ingress ingress;
  if (!node["ip"].text().empty()) ingress.ip = address_of(node["ip"]);
  ingress.hostname = node["hostname"].text();
  ingress.is_proxy = is_one_of_two(node["ipMode"], "VIP", "Proxy");
  return ingress;
}

void parse_cluster_ips(const Node& spec, ServiceObject& service) {
  std::vector<Node> nodes = spec["clusterIPs"].elements(kMaxElements);
  if (nodes.empty() && !spec["clusterIP"].text().empty()) nodes.push_back(spec["clusterIP"]);
  for (const Node& node : nodes) {
    if (node.text() == "None")
      service.is_headless = true;
    else
      service.cluster_ips.push_back(address_of(node));
  }
}

std::chrono::seconds affinity_of(const Node& spec) {
  if (!is_one_of_two(spec["sessionAffinity"], "None", "ClientIP")) return std::chrono::seconds{0};
  const Node timeout = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
  return std::chrono::seconds{timeout.number(1, kMaxAffinitySeconds, kDefaultAffinitySeconds)};
}

SlicePort parse_slice_port(const Node& node) {
  SlicePort port;
  port.name = port_name_of(node["name"]);
  port.transport = transport_of(node["protocol"]);
  if (!node["port"].is_absent()) port.port = port_of(node["port"]);
  return port;
}

SliceEndpoint parse_endpoint(const Node& node, AddressType type) {
  SliceEndpoint endpoint;
  const std::vector<Node> addresses = node["addresses"].elements(kMaxElements);
  if (addresses.empty()) node["addresses"].refuse("is missing or empty");
  endpoint.address = address_of(addresses.front());
  if (endpoint.address.is_v4() != (type == AddressType::ipv4))
    addresses.front().refuse("is not of the slice's addressType");
  const Node conditions = node["conditions"];
  endpoint.ready = conditions["ready"].flag().value_or(true);
  endpoint.serving = conditions["serving"].flag().value_or(endpoint.ready);
  endpoint.terminating = conditions["terminating"].flag().value_or(false);
  endpoint.node = node["nodeName"].text();
  const Node hints = node["hints"];
  endpoint.has_hints =
      !hints["forZones"].elements(kMaxElements).empty() || !hints["forNodes"].elements(kMaxElements).empty();
  return endpoint;
}

}  // namespace

ObjectName parse_name(const Node& object) {
  const Node metadata = object["metadata"];
  return {name_of(metadata["namespace"]), name_of(metadata["name"])};
}

std::string parse_service_label(const Node& slice) {
  const Node label = slice["metadata"]["labels"][kServiceLabel];
  return label.text().empty() ? std::string{} : name_of(label);
}

ServiceObject parse_service(const Node& object) {
  ServiceObject service;
  service.name = parse_name(object);
  const Node spec = object["spec"];
  service.is_external_name = spec["type"].text() == "ExternalName";
  if (service.is_external_name) return service;
  parse_cluster_ips(spec, service);
  for (const Node& node : spec["externalIPs"].elements(kMaxElements)) service.external_ips.push_back(address_of(node));
  for (const Node& node : spec["ports"].elements(kMaxElements)) service.ports.push_back(parse_service_port(node));
  for (const Node& node : object["status"]["loadBalancer"]["ingress"].elements(kMaxElements))
    service.ingress.push_back(parse_ingress(node));
  service.affinity = affinity_of(spec);
  service.internal_local = is_local(spec["internalTrafficPolicy"]);
  service.external_local = is_local(spec["externalTrafficPolicy"]);
  service.has_source_ranges = !spec["loadBalancerSourceRanges"].elements(kMaxElements).empty();
  service.has_health_check_port = spec["healthCheckNodePort"].number(0, 65535, 0) != 0;
  service.traffic_distribution = spec["trafficDistribution"].text();
  return service;
}

SliceObject parse_slice(const Node& object) {
  SliceObject slice;
  slice.name = parse_name(object);
  slice.service = parse_service_label(object);
  const std::string type = object["addressType"].text();
  if (type != "IPv4" && type != "IPv6" && type != "FQDN") object["addressType"].refuse("is not IPv4, IPv6 or FQDN");
  slice.type = type == "IPv4" ? AddressType::ipv4 : type == "IPv6" ? AddressType::ipv6 : AddressType::fqdn;
  for (const Node& node : object["ports"].elements(kMaxElements)) slice.ports.push_back(parse_slice_port(node));
  if (slice.type == AddressType::fqdn) return slice;
  for (const Node& node : object["endpoints"].elements(kMaxElements))
    slice.endpoints.push_back(parse_endpoint(node, slice.type));
  return slice;
}

}  // namespace kube
