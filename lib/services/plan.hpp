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

namespace patu::services {

// What part 0 of the record and its further parts say.
struct Record {
  patu_service head{};
  std::vector<patu_frontend_key> frontends;  // sorted
};

struct Plan {
  patu_service_key name{};                   // part 0
  std::vector<patu_frontend_key> frontends;  // sorted
  std::vector<patu_slot> backends;           // sorted, IPv4 first; the generation is not set
  std::uint32_t v4_count = 0;
};

// Errors: invalid_argument, unsupported (a protocol).
Result<Plan> plan_of(const Service& service);
// Errors: protocol.
Result<Service> service_of(const patu_service_key& name, const Record& record, std::span<const patu_slot> slots);

// False if no service can have this name.
bool is_name(std::string_view name) noexcept;
patu_service_key key_of(std::string_view name) noexcept;
std::string name_of(const patu_service_key& key);
std::string to_string(const patu_frontend_key& frontend);  // "10.96.0.1:80/TCP"

// The word of a frontend: the part of the extent that its family may meet.
std::uint64_t word_of(const patu_service& head, const patu_frontend_key& frontend) noexcept;

bool less(const patu_frontend_key& a, const patu_frontend_key& b) noexcept;
bool equal(const patu_frontend_key& a, const patu_frontend_key& b) noexcept;
bool same_backend(const patu_slot& a, const patu_slot& b) noexcept;

}  // namespace patu::services
