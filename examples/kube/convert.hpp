// From Kubernetes' objects to patu's services, by the rules that kube-proxy follows; nothing here touches the kernel.
#pragma once

#include <set>
#include <string>
#include <vector>

#include <patu/services.hpp>

#include "objects.hpp"

namespace kube {

struct ConvertOptions {
  std::string node;  // endpoints of this node are local
  bool node_ports_on_loopback = false;
  bool reserve_node_ports = false;
};

// Something to tell a person about an object.
struct Remark {
  std::string object;  // "Service default/sctp port 9999/SCTP"
  std::string text;

  bool operator==(const Remark&) const = default;
};

struct Conversion {
  std::vector<patu::Service> services;  // one for each port of a Service; sorted, no name twice
  std::vector<Remark> not_honoured;     // what was asked for and is not there
  std::vector<Remark> notes;            // what is worth knowing; nothing on this node is missing for it
  std::size_t headless = 0;             // skipped, as they have no address to translate
  std::size_t external_names = 0;
  // "namespace/name" of Services that something unreadable is about: they had better stay as they are.
  std::set<std::string> keep;
};

Conversion convert(const Objects& objects, const ConvertOptions& options);

// "namespace/name:port", without the colon for a port that has no name.
std::string service_name(const ObjectName& name, const std::string& port);
// True for every port of that Service.
bool is_of(std::string_view service_name, std::string_view object_name);

}  // namespace kube
