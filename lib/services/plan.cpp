// The rules for services, and the conversions.
#include "services/plan.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "names.hpp"

namespace patu::services {
namespace {

// What cannot be reached by an address alone, or not as the same thing from every pod.
Result<> check_endpoint(const Endpoint& endpoint, std::string_view what) {
  const IpAddress& address = endpoint.address;
  const auto refuse = [&](std::string_view why) {
    return fail(Errc::invalid_argument, std::string(what) + " " + endpoint.to_string() + ": " + std::string(why));
  };
  if (endpoint.port == 0) return refuse("port 0 is no port");
  if (address.is_unspecified()) return refuse("the unspecified address names no host");
  if (address.is_multicast() || address.is_broadcast()) return refuse("TCP has no multicast");
  if (address.is_loopback()) return refuse("a loopback address is another host in every pod");
  if (address.is_v6() && address.is_link_local()) return refuse("a link-local address needs an interface");
  return {};
}

Result<> check_frontend(const Frontend& frontend) {
  if (frontend.protocol != Protocol::tcp) {
    const bool known = frontend.protocol == Protocol::udp;
    return fail(Errc::unsupported,
                "frontend " + frontend.endpoint.to_string() + ": protocol " +
                    (known ? std::string("UDP") : std::to_string(static_cast<unsigned>(frontend.protocol))) +
                    " is not supported, only TCP");
  }
  return check_endpoint(frontend.endpoint, "frontend");
}

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
  for (const Frontend& frontend : service.frontends) PATU_TRY(check_frontend(frontend));
  for (const Endpoint& backend : service.backends) PATU_TRY(check_endpoint(backend, "backend"));
  return {};
}

Endpoint endpoint_of(const patu_addr& address, std::uint16_t port_be) noexcept {
  return {to_address(address), ntohs(port_be)};
}

patu_frontend_key key_of(const Frontend& frontend) noexcept {
  return {address_key(frontend.endpoint.address), htons(frontend.endpoint.port),
          static_cast<std::uint8_t>(frontend.protocol), PATU_SCOPE_CLUSTER};
}

bool is_v4(const patu_frontend_key& frontend) noexcept { return endpoint_of(frontend.addr, 0).address.is_v4(); }

}  // namespace

Result<Plan> plan_of(const Service& service) {
  PATU_TRY(check(service));
  Plan plan;
  plan.name = services::key_of(service.name);
  for (const Frontend& frontend : service.frontends) plan.frontends.push_back(key_of(frontend));
  std::sort(plan.frontends.begin(), plan.frontends.end(), less);
  if (const auto twice = std::adjacent_find(plan.frontends.begin(), plan.frontends.end(), equal);
      twice != plan.frontends.end())
    return fail(Errc::invalid_argument, "frontend " + to_string(*twice) + " is given twice");

  std::vector<Endpoint> backends = service.backends;
  std::sort(backends.begin(), backends.end(), [](const Endpoint& a, const Endpoint& b) {
    return a.address.is_v6() != b.address.is_v6() ? b.address.is_v6() : a < b;
  });
  if (const auto twice = std::adjacent_find(backends.begin(), backends.end()); twice != backends.end())
    return fail(Errc::invalid_argument, "backend " + twice->to_string() + " is given twice");
  for (const Endpoint& backend : backends) {
    plan.backends.push_back({address_key(backend.address), htons(backend.port), 0, 0, 0});
    if (backend.address.is_v4()) ++plan.v4_count;
  }
  return plan;
}

Result<Service> service_of(const patu_service_key& name, const Record& record, std::span<const patu_slot> slots) {
  Service service;
  service.name = name_of(name);
  for (const patu_frontend_key& key : record.frontends)
    service.frontends.push_back({endpoint_of(key.addr, key.port), static_cast<Protocol>(key.protocol)});
  for (const patu_slot& slot : slots) {
    if (slot.generation != record.head.generation)
      return fail(Errc::protocol, "service " + quote(service.name) + ": its backends were overwritten");
    service.backends.push_back(endpoint_of(slot.addr, slot.port));
  }
  return service;
}

bool is_name(std::string_view name) noexcept {
  return !name.empty() && name.size() < PATU_SERVICE_NAME_BYTES && std::none_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

patu_service_key key_of(std::string_view name) noexcept {
  patu_service_key key{};
  std::memcpy(key.name, name.data(), std::min<std::size_t>(name.size(), sizeof key.name - 1));
  return key;
}

std::string name_of(const patu_service_key& key) {
  std::array<char, PATU_SERVICE_NAME_BYTES> text;
  std::memcpy(text.data(), key.name, text.size());
  return {text.data(), ::strnlen(text.data(), text.size())};
}

std::string to_string(const patu_frontend_key& frontend) {
  return endpoint_of(frontend.addr, frontend.port).to_string() + "/" +
         std::string(patu::to_string(static_cast<Protocol>(frontend.protocol)));
}

std::uint64_t word_of(const patu_service& head, const patu_frontend_key& frontend) noexcept {
  const bool v4 = is_v4(frontend);
  return patu_word(v4 ? head.base : head.base + head.v4_count, v4 ? head.v4_count : head.v6_count, head.generation,
                   patu_frontend_tag(&frontend));
}

bool less(const patu_frontend_key& a, const patu_frontend_key& b) noexcept {
  const Endpoint left = endpoint_of(a.addr, a.port);
  const Endpoint right = endpoint_of(b.addr, b.port);
  if (left.address.is_v6() != right.address.is_v6()) return right.address.is_v6();
  if (left != right) return left < right;
  return a.protocol != b.protocol ? a.protocol < b.protocol : a.scope < b.scope;
}

bool equal(const patu_frontend_key& a, const patu_frontend_key& b) noexcept {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

bool same_backend(const patu_slot& a, const patu_slot& b) noexcept {
  return std::memcmp(&a.addr, &b.addr, sizeof a.addr) == 0 && a.port == b.port;
}

}  // namespace patu::services
