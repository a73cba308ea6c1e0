// A service as the kernel's maps have it: checked, sorted, in their bytes; and back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "patu/error.hpp"
#include "patu/services.hpp"
#include "patu_maps.h"
#include "services/views.hpp"

namespace patu::services {

// What part 0 of the record and its further parts say.
struct Record {
  patu_service head{};
  std::vector<patu_listed_frontend> frontends;  // sorted
};

// What a service is to be; where its slots are, is not known yet.
struct Plan {
  patu_service_key name{};                      // part 0
  patu_service head{};                          // without id, place and frontends
  std::vector<patu_listed_frontend> frontends;  // sorted
  std::vector<patu_slot> slots;                 // of the whole extent; the generation is not set
};

// Errors: invalid_argument, unsupported (a protocol).
Result<Plan> plan_of(const Service& service);
// `slots` are those of the extent, the copies may be missing. Errors: protocol.
Result<Service> service_of(const patu_service_key& name, const Record& record, std::span<const patu_slot> slots);

// False if no service can have this name.
bool is_name(std::string_view name) noexcept;
patu_service_key key_of(std::string_view name) noexcept;
std::string name_of(const patu_service_key& key);

patu_listed_frontend listed_of(const Frontend& frontend) noexcept;
Frontend frontend_of(const patu_listed_frontend& frontend) noexcept;
patu_frontend value_of(const patu_service& head, const patu_listed_frontend& frontend) noexcept;
Endpoint endpoint_of(const patu_addr& address, std::uint16_t port_be) noexcept;
std::string to_string(const patu_frontend_key& frontend);  // "10.96.0.1:80/TCP"

// The order of frontends: IPv4 first.
bool less(const patu_frontend_key& a, const patu_frontend_key& b) noexcept;
bool equal(const patu_frontend_key& a, const patu_frontend_key& b) noexcept;

}  // namespace patu::services
