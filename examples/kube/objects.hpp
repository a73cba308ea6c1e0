// What patu-kube reads of Kubernetes' objects, as plain values: names as in the API, absent fields with their defaults.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <patu/types.hpp>

namespace kube {

struct ObjectName {
  std::string space;
  std::string name;

  std::string to_string() const { return space + "/" + name; }
  auto operator<=>(const ObjectName&) const = default;
};

enum class Transport : std::uint8_t { tcp, udp, sctp };

// --- v1 Service

struct ServicePort {
  std::string name;
  Transport transport = Transport::tcp;
  std::uint16_t port = 0;
  std::uint16_t node_port = 0;          // 0: none
  std::optional<std::uint16_t> target;  // targetPort, if it is a number
};

struct Ingress {
  std::optional<patu::IpAddress> ip;
  std::string hostname;
  bool is_proxy = false;  // ipMode Proxy
};

struct ServiceObject {
  ObjectName name;
  bool is_external_name = false;
  bool is_headless = false;
  std::vector<patu::IpAddress> cluster_ips;
  std::vector<patu::IpAddress> external_ips;
  std::vector<Ingress> ingress;
  std::vector<ServicePort> ports;
  std::chrono::seconds affinity{0};  // sessionAffinity ClientIP; 0: None
  bool internal_local = false;       // internalTrafficPolicy Local
  bool external_local = false;       // externalTrafficPolicy Local
  bool has_source_ranges = false;
  bool has_health_check_port = false;
  std::string traffic_distribution;
};

// --- discovery.k8s.io/v1 EndpointSlice

enum class AddressType : std::uint8_t { ipv4, ipv6, fqdn };

struct SlicePort {
  std::string name;
  Transport transport = Transport::tcp;
  std::optional<std::uint16_t> port;  // absent: all ports
};

struct SliceEndpoint {
  patu::IpAddress address;  // the first one: "clients may choose to only use the first element", as kube-proxy does
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  std::string node;  // empty: unknown
  bool has_hints = false;
};

struct SliceObject {
  ObjectName name;
  std::string service;  // from the label, in the same namespace; empty: of no service
  AddressType type = AddressType::ipv4;
  std::vector<SlicePort> ports;
  std::vector<SliceEndpoint> endpoints;  // none for FQDN
};

// An object with something wrong in it; nothing of it is used.
struct Unreadable {
  std::string object;                 // "EndpointSlice default/web-755pj", "items[3]"
  std::string reason;                 // "ports[0].port: is not a number from 1 to 65535"
  std::optional<ObjectName> service;  // that it is, or belongs to, if that much can be read
};

struct Objects {
  std::vector<ServiceObject> services;
  std::vector<SliceObject> slices;
  std::vector<Unreadable> unreadable;
  std::map<std::string, std::size_t> other_kinds;  // "v1 Pod" and how many there are
};

}  // namespace kube
