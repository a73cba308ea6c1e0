// Every rule, and the sentence that names what breaks it.
#include "services/check.hpp"

#include <netinet/in.h>

#include <string>
#include <string_view>

#include "base/try.hpp"
#include "patu_maps.h"
#include "services/plan.hpp"

namespace patu::services {
namespace {

constexpr std::chrono::seconds kLongestAffinity = std::chrono::hours(24);

Failure refuse(std::string_view what, const Endpoint& endpoint, std::string_view why) {
  return fail(Errc::invalid_argument, std::string(what) + " " + endpoint.to_string() + ": " + std::string(why));
}

// What cannot be reached by an address alone, or not as the same thing from every pod.
Result<> check_unicast(const Endpoint& endpoint, std::string_view what) {
  const IpAddress& address = endpoint.address;
  if (endpoint.port == 0) return refuse(what, endpoint, "port 0 is no port");
  if (address.is_unspecified()) return refuse(what, endpoint, "the unspecified address names no host");
  if (address.is_multicast() || address.is_broadcast())
    return refuse(what, endpoint, "multicast and broadcast have no one backend");
  if (address.is_loopback()) return refuse(what, endpoint, "a loopback address is another host in every pod");
  if (address.is_v6() && address.is_link_local())
    return refuse(what, endpoint, "a link-local address needs an interface");
  return {};
}

std::string text_of(Protocol protocol) {
  const unsigned number = static_cast<unsigned>(protocol);
  const char* name = number == IPPROTO_SCTP ? " (SCTP)" : number == IPPROTO_UDPLITE ? " (UDP-Lite)" : "";
  return "protocol " + std::to_string(number) + name;
}

Result<> check_protocol(const Frontend& frontend) {
  if (frontend.protocol == Protocol::tcp || frontend.protocol == Protocol::udp) return {};
  return fail(Errc::unsupported, "frontend " + frontend.endpoint.to_string() + ": " + text_of(frontend.protocol) +
                                     " is not supported, only TCP and UDP");
}

Result<> check_frontend(const Frontend& frontend) {
  PATU_TRY(check_protocol(frontend));
  const Endpoint& endpoint = frontend.endpoint;
  const bool node_port = frontend.kind == FrontendKind::node_port;
  const bool everywhere = endpoint.address.is_unspecified();
  if (frontend.kind > FrontendKind::host_port) return refuse("frontend", endpoint, "its kind is not known");
  if (node_port && !everywhere)
    return refuse("frontend", endpoint, "a node port is one of every address, given as 0.0.0.0 or [::]");
  const bool of_node = node_port || frontend.kind == FrontendKind::host_port;
  if ((frontend.loopback || frontend.reserve_port) && !(of_node && everywhere))
    return refuse("frontend", endpoint,
                  std::string(frontend.loopback ? "loopback" : "reserve_port") +
                      " is for node ports, and for host ports of every address");
  if (!(of_node && everywhere)) return check_unicast(endpoint, "frontend");
  if (endpoint.port == 0) return refuse("frontend", endpoint, "port 0 is no port");
  return {};
}

Result<> check_backend(const Backend& backend) {
  PATU_TRY(check_unicast(backend.endpoint, "backend"));
  if (backend.weight < 1 || backend.weight > ServiceTable::kMaxWeight)
    return refuse("backend", backend.endpoint,
                  "weight " + std::to_string(backend.weight) + " is not between 1 and " +
                      std::to_string(ServiceTable::kMaxWeight));
  if (backend.state > BackendState::maintenance) return refuse("backend", backend.endpoint, "its state is not known");
  return {};
}

}  // namespace

Result<> check(const Service& service) {
  if (!is_name(service.name))
    return fail(Errc::invalid_argument, "a service's name has 1 to " + std::to_string(PATU_SERVICE_NAME_BYTES - 1) +
                                            " bytes and no control characters");
  if (service.frontends.empty()) return fail(Errc::invalid_argument, "a service has at least one frontend");
  if (service.frontends.size() > ServiceTable::kMaxFrontends)
    return fail(Errc::invalid_argument, std::to_string(service.frontends.size()) +
                                            " frontends; a service has at most " +
                                            std::to_string(ServiceTable::kMaxFrontends));
  if (service.backends.size() > ServiceTable::kMaxBackends)
    return fail(Errc::invalid_argument, std::to_string(service.backends.size()) + " backends; a service has at most " +
                                            std::to_string(ServiceTable::kMaxBackends));
  if (service.affinity_timeout < std::chrono::seconds(0) || service.affinity_timeout > kLongestAffinity)
    return fail(Errc::invalid_argument, "affinity of " + std::to_string(service.affinity_timeout.count()) +
                                            " s; it lasts at most " +
                                            std::to_string(kLongestAffinity / std::chrono::seconds(1)) + " s");
  if (service.internal_policy > TrafficPolicy::local)
    return fail(Errc::invalid_argument, "its internal traffic policy is not known");
  for (const Frontend& frontend : service.frontends) PATU_TRY(check_frontend(frontend));
  for (const Backend& backend : service.backends) PATU_TRY(check_backend(backend));
  return {};
}

}  // namespace patu::services
