// Slices are merged: an endpoint that stands in several counts once, as the most usable of what they say.
#include "backends.hpp"

#include <map>
#include <optional>

namespace kube {
namespace {

// Readiness decides alone: it is never true for a terminating pod, unless publishNotReadyAddresses asks for just that.
std::optional<patu::BackendState> state_of(const SliceEndpoint& endpoint) {
  if (endpoint.ready) return patu::BackendState::active;
  if (endpoint.serving && endpoint.terminating) return patu::BackendState::terminating;
  return std::nullopt;
}

using ByEndpoint = std::map<patu::Endpoint, patu::Backend>;

void merge(const SliceEndpoint& endpoint, std::uint16_t port, const std::string& node, ByEndpoint& into) {
  const auto state = state_of(endpoint);
  if (!state) return;
  patu::Backend backend({endpoint.address, port}, *state);
  backend.local = !node.empty() && endpoint.node == node;
  const auto [found, is_new] = into.emplace(backend.endpoint, backend);
  if (is_new) return;
  found->second.state = std::min(found->second.state, backend.state);  // active is the smallest
  found->second.local |= backend.local;
}

}  // namespace

Families families_of(const ServiceObject& service) {
  Families families;
  for (const patu::IpAddress& address : service.cluster_ips) (address.is_v4() ? families.v4 : families.v6) = true;
  return families;
}

Backends backends_of(const ServicePort& port, Families families, const std::vector<const SliceObject*>& slices,
                     const std::string& node) {
  Backends out;
  ByEndpoint merged;
  for (const SliceObject* slice : slices) {
    for (const SlicePort& slice_port : slice->ports) {
      if (slice_port.name != port.name || slice_port.transport != port.transport) continue;
      const auto number = slice_port.port ? slice_port.port : port.target;
      if (!number) {
        out.not_honoured.push_back(
            {"EndpointSlice " + slice->name.to_string(),
             "its port '" + port.name + "' has no number, and the Service's targetPort is a name"});
        continue;
      }
      for (const SliceEndpoint& endpoint : slice->endpoints)
        if (families.has(endpoint.address)) merge(endpoint, *number, node, merged);
    }
  }
  for (const auto& [endpoint, backend] : merged) out.list.push_back(backend);
  return out;
}

}  // namespace kube
