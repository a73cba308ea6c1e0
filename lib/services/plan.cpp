// The conversions between services and the bytes of their records.
#include "services/plan.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "names.hpp"
#include "services/check.hpp"

namespace patu::services {
namespace {

// Below zero if `a` comes first: IPv4 does, then it is the bytes that count. Sorts do little else than this.
int order(const std::uint8_t* a, const std::uint8_t* b) noexcept {
  constexpr std::array<std::uint8_t, 12> kV4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool a_is_v6 = std::memcmp(a, kV4.data(), kV4.size()) != 0;
  const bool b_is_v6 = std::memcmp(b, kV4.data(), kV4.size()) != 0;
  if (a_is_v6 != b_is_v6) return a_is_v6 ? 1 : -1;
  return std::memcmp(a, b, sizeof(patu_addr));
}

bool comes_before(const Backend& a, const Backend& b) noexcept {
  const int addresses = order(a.endpoint.address.bytes().data(), b.endpoint.address.bytes().data());
  return addresses != 0 ? addresses < 0 : a.endpoint.port < b.endpoint.port;
}

Result<std::vector<patu_listed_frontend>> sorted_frontends(const Service& service) {
  std::vector<patu_listed_frontend> out;
  out.reserve(service.frontends.size());
  for (const Frontend& frontend : service.frontends) out.push_back(listed_of(frontend));
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return less(a.key, b.key); });
  const auto twice =
      std::adjacent_find(out.begin(), out.end(), [](const auto& a, const auto& b) { return equal(a.key, b.key); });
  if (twice == out.end()) return out;
  return fail(Errc::invalid_argument, "frontend " + to_string(twice->key) + " is given twice");
}

Result<std::vector<Backend>> sorted_backends(const Service& service) {
  std::vector<Backend> out = service.backends;
  std::sort(out.begin(), out.end(), comes_before);
  const auto twice = std::adjacent_find(out.begin(), out.end(),
                                        [](const Backend& a, const Backend& b) { return a.endpoint == b.endpoint; });
  if (twice == out.end()) return out;
  return fail(Errc::invalid_argument, "backend " + twice->endpoint.to_string() + " is given twice");
}

}  // namespace

Result<Plan> plan_of(const Service& service) {
  PATU_TRY(check(service));
  PATU_TRY_LET(frontends, sorted_frontends(service));
  PATU_TRY_LET(backends, sorted_backends(service));
  Slots laid_out = lay_out(backends, service.internal_policy);
  Plan plan;
  plan.name = services::key_of(service.name);
  plan.head.flags = (service.internal_policy == TrafficPolicy::local ? PATU_SERVICE_LOCAL : 0) |
                    (service.close_tcp ? PATU_SERVICE_CLOSE_TCP : 0);
  plan.head.affinity_timeout_s = static_cast<std::uint32_t>(service.affinity_timeout.count());
  plan.head.frontend_count = static_cast<std::uint16_t>(frontends.size());
  plan.head.v4_count = laid_out.v4_count;
  plan.head.v4_view = laid_out.v4_view;
  plan.head.v6_count = laid_out.v6_count;
  plan.head.v6_view = laid_out.v6_view;
  plan.head.v4_local = laid_out.v4_local;
  plan.head.v6_local = laid_out.v6_local;
  plan.frontends = std::move(frontends);
  plan.slots = std::move(laid_out.slots);
  return plan;
}

Result<Service> service_of(const patu_service_key& name, const Record& record, std::span<const patu_slot> slots) {
  Service service;
  service.name = name_of(name);
  service.internal_policy =
      (record.head.flags & PATU_SERVICE_LOCAL) != 0 ? TrafficPolicy::local : TrafficPolicy::cluster;
  service.affinity_timeout = std::chrono::seconds(record.head.affinity_timeout_s);
  service.close_tcp = (record.head.flags & PATU_SERVICE_CLOSE_TCP) != 0;
  service.frontends.reserve(record.frontends.size());
  for (const patu_listed_frontend& frontend : record.frontends) service.frontends.push_back(frontend_of(frontend));
  service.backends.reserve(backends_of(record.head));
  for (const patu_slot& slot : slots.first(std::min<std::size_t>(slots.size(), backends_of(record.head)))) {
    if (slot.generation != record.head.generation)
      return fail(Errc::protocol, "service " + quote(service.name) + ": its backends were overwritten");
    service.backends.push_back(backend_of(slot));
  }
  std::sort(service.backends.begin(), service.backends.end(), comes_before);
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

patu_listed_frontend listed_of(const Frontend& frontend) noexcept {
  patu_listed_frontend out{};
  out.key.addr = address_key(frontend.endpoint.address);
  out.key.port = htons(frontend.endpoint.port);
  out.key.protocol = static_cast<std::uint8_t>(frontend.protocol);
  out.key.scope = frontend.endpoint.address.is_unspecified() ? PATU_SCOPE_NODE : PATU_SCOPE_ADDRESS;
  out.flags = static_cast<std::uint32_t>(frontend.kind) | (frontend.loopback ? PATU_FRONTEND_LOOPBACK : 0) |
              (frontend.reserve_port ? PATU_FRONTEND_RESERVED : 0);
  return out;
}

Frontend frontend_of(const patu_listed_frontend& frontend) noexcept {
  Frontend out;
  out.endpoint = endpoint_of(frontend.key.addr, frontend.key.port);
  out.protocol = static_cast<Protocol>(frontend.key.protocol);
  out.kind = static_cast<FrontendKind>(frontend.flags & PATU_FRONTEND_KIND);
  out.loopback = (frontend.flags & PATU_FRONTEND_LOOPBACK) != 0;
  out.reserve_port = (frontend.flags & PATU_FRONTEND_RESERVED) != 0;
  return out;
}

patu_frontend value_of(const patu_service& head, const patu_listed_frontend& frontend) noexcept {
  patu_frontend value{};
  value.word = word_of(head, frontend);
  value.service_id = head.id;
  value.flags = frontend.flags;
  value.affinity_timeout_s = head.affinity_timeout_s;
  return value;
}

Endpoint endpoint_of(const patu_addr& address, std::uint16_t port_be) noexcept {
  return {to_address(address), ntohs(port_be)};
}

std::string to_string(const patu_frontend_key& frontend) {
  return endpoint_of(frontend.addr, frontend.port).to_string() + "/" +
         std::string(patu::to_string(static_cast<Protocol>(frontend.protocol)));
}

bool less(const patu_frontend_key& a, const patu_frontend_key& b) noexcept {
  const int addresses = order(a.addr.bytes, b.addr.bytes);
  if (addresses != 0) return addresses < 0;
  if (a.port != b.port) return ntohs(a.port) < ntohs(b.port);
  return a.protocol != b.protocol ? a.protocol < b.protocol : a.scope < b.scope;
}

bool equal(const patu_frontend_key& a, const patu_frontend_key& b) noexcept {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

}  // namespace patu::services
