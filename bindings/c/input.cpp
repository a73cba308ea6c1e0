// The rules of structs, and the values that a caller passes in.
#include "input.hpp"

#include <algorithm>
#include <cstring>

#include "base/quote.hpp"

namespace patu::c {
namespace {

Result<Frontend> read_frontend(const patu_frontend& frontend) {
  PATU_TRY(check_flags(frontend.flags, PATU_FRONTEND_LOOPBACK | PATU_FRONTEND_RESERVE_PORT, "its"));
  PATU_TRY(check_reserved(frontend.reserved, "its `reserved`"));
  PATU_TRY_LET(protocol, read_protocol(frontend.protocol));
  return Frontend{.endpoint = read_endpoint(frontend.endpoint),
                  .protocol = protocol,
                  .kind = static_cast<FrontendKind>(frontend.kind),
                  .loopback = (frontend.flags & PATU_FRONTEND_LOOPBACK) != 0,
                  .reserve_port = (frontend.flags & PATU_FRONTEND_RESERVE_PORT) != 0};
}

Result<Backend> read_backend(const patu_backend& backend) {
  PATU_TRY(check_flags(backend.flags, PATU_BACKEND_LOCAL, "its"));
  PATU_TRY(check_reserved(backend.reserved, "its `reserved`"));
  Backend out(read_endpoint(backend.endpoint), static_cast<BackendState>(backend.state));
  out.weight = backend.weight == 0 ? std::uint16_t{1} : backend.weight;
  out.local = (backend.flags & PATU_BACKEND_LOCAL) != 0;
  return out;
}

// Values have one size for ever: an ordinary array.
template <class Out, class Value, class Read>
Result<> read_values(std::vector<Out>& out, const Value* first, std::size_t count, const char* what, const Read& read) {
  PATU_TRY(check_array(first, count, what));
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    PATU_TRY_LET(value, read(first[i]), std::string(what) + " " + std::to_string(i));
    out.push_back(std::move(value));
  }
  return {};
}

}  // namespace

Result<> check_given(const void* argument, const char* what) {
  if (argument == nullptr) return fail(Errc::invalid_argument, std::string(what) + " is NULL");
  return {};
}

Result<> copy_struct(const void* given, void* out, std::size_t size, std::size_t alignment, const char* what) {
  PATU_TRY(check_given(given, what));
  std::size_t theirs = 0;
  std::memcpy(&theirs, given, sizeof theirs);
  if (theirs < sizeof theirs || theirs > kLargestStruct || theirs % alignment != 0)
    return fail(Errc::invalid_argument, std::string(what) + ": struct_size is " + std::to_string(theirs) +
                                            "; begin with PATU_*_INIT, or with the struct's size");
  PATU_TRY(check_tail(given, size, theirs, what));
  std::memcpy(out, given, std::min(theirs, size));
  return {};
}

Result<> check_tail(const void* given, std::size_t known, std::size_t size, const char* what) {
  const auto* bytes = static_cast<const unsigned char*>(given);
  if (size <= known || std::all_of(bytes + known, bytes + size, [](unsigned char byte) { return byte == 0; }))
    return {};
  return fail(Errc::unsupported, std::string(what) + ": not zero where this version of patu knows no field");
}

Result<> check_flags(std::uint32_t flags, std::uint32_t known, const char* what) {
  if ((flags & ~known) == 0) return {};
  return fail(Errc::unsupported,
              std::string(what) + " flags have bits that this version of patu does not know: " + std::to_string(flags));
}

Result<> check_array(const void* first, std::size_t count, const char* what) {
  if (first != nullptr || count == 0) return {};
  return fail(Errc::invalid_argument, std::to_string(count) + " times " + what + ", and the array is NULL");
}

Result<std::string_view> read_text(const char* text, const char* what) {
  PATU_TRY(check_given(text, what));
  return std::string_view(text);
}

IpAddress read_address(const patu_address& address) noexcept {
  IpAddress::Bytes bytes{};
  std::copy(std::begin(address.bytes), std::end(address.bytes), bytes.begin());
  return IpAddress::from_bytes(bytes);
}

std::optional<IpAddress> read_optional(const patu_address& address) noexcept {
  const IpAddress out = read_address(address);
  return out == IpAddress() ? std::nullopt : std::optional(out);
}

Result<std::vector<IpAddress>> read_addresses(const patu_address* first, std::size_t count, const char* what) {
  PATU_TRY(check_array(first, count, what));
  std::vector<IpAddress> out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) out.push_back(read_address(first[i]));
  return out;
}

Result<Prefix> read_prefix(const patu_prefix& prefix) {
  return Prefix::make(read_address(prefix.network), prefix.length);
}

MacAddress read_mac(const patu_mac& mac) noexcept {
  MacAddress::Bytes bytes{};
  std::copy(std::begin(mac.bytes), std::end(mac.bytes), bytes.begin());
  return MacAddress::from_bytes(bytes);
}

Endpoint read_endpoint(const patu_endpoint& endpoint) noexcept {
  return {read_address(endpoint.address), endpoint.port};
}

Result<AttachmentId> read_id(const patu_attachment_id& id) {
  PATU_TRY_LET(container, read_text(id.container_id, "container_id"));
  return AttachmentId::parse(container, id.ifname == nullptr ? std::string_view("eth0") : id.ifname);
}

Result<AttachmentId> read_id(const patu_attachment_id* id, const char* what) {
  PATU_TRY(check_given(id, what));
  return read_id(*id);
}

Result<std::vector<AttachmentId>> read_ids(const patu_attachment_id* first, std::size_t count, const char* what) {
  std::vector<AttachmentId> out;
  PATU_TRY(read_values(out, first, count, what, [](const patu_attachment_id& id) { return read_id(id); }));
  return out;
}

Result<Subnet> read_subnet(const patu_subnet& subnet) {
  PATU_TRY(check_reserved(subnet.reserved, "`reserved` of a subnet"));
  PATU_TRY_LET(prefix, read_prefix(subnet.prefix));
  PATU_TRY_LET(reserved, read_addresses(subnet.reserved_addresses, subnet.reserved_address_count, "reserved address"));
  return Subnet{.prefix = prefix,
                .gateway = read_optional(subnet.gateway),
                .first = read_optional(subnet.first),
                .last = read_optional(subnet.last),
                .reserved = std::move(reserved)};
}

Result<Protocol> read_protocol(std::uint32_t protocol) {
  if (protocol > 255) return fail(Errc::invalid_argument, "protocol " + std::to_string(protocol));
  return protocol == 0 ? Protocol::tcp : static_cast<Protocol>(protocol);
}

Result<Service> read_service(const patu_service& service) {
  PATU_TRY_LET(name, read_text(service.name, "name"));
  const auto what = [&] { return "service " + quote(name); };
  PATU_TRY(check_flags(service.flags, PATU_SERVICE_INTERNAL_LOCAL | PATU_SERVICE_CLOSE_TCP, "its"), what());
  Service out;
  out.name = name;
  PATU_TRY(read_values(out.frontends, service.frontends, service.frontend_count, "frontend", read_frontend), what());
  PATU_TRY(read_values(out.backends, service.backends, service.backend_count, "backend", read_backend), what());
  if ((service.flags & PATU_SERVICE_INTERNAL_LOCAL) != 0) out.internal_policy = TrafficPolicy::local;
  out.affinity_timeout = std::chrono::seconds(service.affinity_seconds);
  out.close_tcp = (service.flags & PATU_SERVICE_CLOSE_TCP) != 0;
  return out;
}

}  // namespace patu::c
