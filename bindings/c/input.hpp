// Reading what a C caller passes in: structs of any version, values, texts. Each failure names the argument.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guard.hpp"
#include "patu/datapath.hpp"
#include "patu/ipam.hpp"
#include "patu/services.hpp"
#include "patu/types.hpp"

namespace patu::c {

// Larger than any struct will ever be: more is memory that nobody has initialised.
inline constexpr std::size_t kLargestStruct = 4096;

// Bytes behind what this version knows: only zero, that is "as before", can be understood.
Result<> check_tail(const void* given, std::size_t known, std::size_t size, const char* what);
Result<> check_flags(std::uint32_t flags, std::uint32_t known, const char* what);

// For pointers that may not be null.
Result<> check_given(const void* argument, const char* what);
Result<> check_array(const void* first, std::size_t count, const char* what);

template <class Reserved>
Result<> check_reserved(const Reserved& reserved, const char* what) {
  return check_tail(&reserved, 0, sizeof reserved, what);
}

// Copies what both the caller and this version know; `size` is this version's, and what a shorter struct lacks stays zero.
Result<> copy_struct(const void* given, void* out, std::size_t size, std::size_t alignment, const char* what);

// The struct as this version has it.
template <class Struct>
Result<Struct> read_struct(const Struct* given, const char* what) {
  static_assert(offsetof(Struct, struct_size) == 0);
  Struct out{};
  PATU_TRY(copy_struct(given, &out, sizeof out, alignof(Struct), what));
  return out;
}

// Calls use(element) for each of an array, whose elements have the size that the first one tells.
template <class Struct, class Use>
Result<> for_each(const Struct* first, std::size_t count, const char* what, const Use& use) {
  PATU_TRY(check_array(first, count, what));
  const auto* at = reinterpret_cast<const unsigned char*>(first);
  for (std::size_t i = 0; i < count; ++i, at += first->struct_size) {
    const auto* element = reinterpret_cast<const Struct*>(at);
    const auto name = [&] { return std::string(what) + " " + std::to_string(i); };
    if (element->struct_size != first->struct_size)
      return fail(Errc::invalid_argument, name() + ": its struct_size is not the first one's");
    PATU_TRY_LET(known, read_struct(element, what), name());
    PATU_TRY(use(known), name());
  }
  return {};
}

Result<std::string_view> read_text(const char* text, const char* what);
// NULL: the default.
inline std::string text_or(const char* text, const char* otherwise) { return text == nullptr ? otherwise : text; }

IpAddress read_address(const patu_address& address) noexcept;
std::optional<IpAddress> read_optional(const patu_address& address) noexcept;  // all zero: none
Result<std::vector<IpAddress>> read_addresses(const patu_address* first, std::size_t count, const char* what);
Result<Prefix> read_prefix(const patu_prefix& prefix);
MacAddress read_mac(const patu_mac& mac) noexcept;
Endpoint read_endpoint(const patu_endpoint& endpoint) noexcept;
Result<AttachmentId> read_id(const patu_attachment_id& id);
Result<AttachmentId> read_id(const patu_attachment_id* id, const char* what);
Result<std::vector<AttachmentId>> read_ids(const patu_attachment_id* first, std::size_t count, const char* what);
Result<Subnet> read_subnet(const patu_subnet& subnet);
Result<Protocol> read_protocol(std::uint32_t protocol);  // 0: TCP
Result<Service> read_service(const patu_service& service);

}  // namespace patu::c
