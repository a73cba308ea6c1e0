// The arena, values on their way out, and the lists that several calls give out.
#include "output.hpp"

#include <algorithm>
#include <cstring>

namespace patu::c {
namespace {

constexpr std::size_t kBlockBytes = 1024;

}  // namespace

void* Arena::take(std::size_t bytes) {
  constexpr std::size_t align = alignof(std::max_align_t);
  bytes = (bytes + align - 1) / align * align;
  if (size_ - used_ < bytes) {
    // The slot first, so that the block cannot be lost for want of one.
    blocks_.emplace_back();
    const std::size_t size = std::max(bytes, kBlockBytes);
    used_ = size_ = 0;
    blocks_.back() = std::make_unique<std::byte[]>(size);
    size_ = size;
  }
  void* out = blocks_.back().get() + used_;
  used_ += bytes;
  return out;
}

const char* Arena::text(std::string_view text) {
  auto* out = static_cast<char*>(take(text.size() + 1));
  std::copy(text.begin(), text.end(), out);
  out[text.size()] = '\0';
  return out;
}

patu_address to_c(const IpAddress& address) noexcept {
  patu_address out{};
  std::copy(address.bytes().begin(), address.bytes().end(), out.bytes);
  return out;
}

patu_interface_address to_c(const InterfaceAddress& address) noexcept {
  return {to_c(address.address), address.prefix_length};
}

patu_mac to_c(const MacAddress& mac) noexcept {
  patu_mac out{};
  std::copy(mac.bytes().begin(), mac.bytes().end(), out.bytes);
  return out;
}

patu_prefix to_c(const Prefix& prefix) noexcept { return {to_c(prefix.network()), prefix.length()}; }

patu_endpoint to_c(const Endpoint& endpoint) noexcept { return {to_c(endpoint.address), endpoint.port}; }

patu_frontend to_c(const Frontend& frontend) noexcept {
  return {.endpoint = to_c(frontend.endpoint),
          .protocol = static_cast<std::uint8_t>(frontend.protocol),
          .kind = static_cast<std::uint8_t>(frontend.kind),
          .flags = (frontend.loopback ? PATU_FRONTEND_LOOPBACK : 0) |
                   (frontend.reserve_port ? PATU_FRONTEND_RESERVE_PORT : 0),
          .reserved = {}};
}

patu_backend to_c(const Backend& backend) noexcept {
  return {.endpoint = to_c(backend.endpoint),
          .weight = backend.weight,
          .flags = backend.local ? PATU_BACKEND_LOCAL : 0,
          .state = static_cast<std::uint8_t>(backend.state),
          .reserved = {}};
}

patu_attachment_id to_c(Arena& arena, const AttachmentId& id) {
  return {.container_id = arena.text(id.container_id()), .ifname = arena.text(id.ifname().view())};
}

}  // namespace patu::c

using patu::c::count_of;
using patu::c::item_of;

std::size_t patu_names_count(const patu_names* names) { return count_of(names); }
const char* patu_names_at(const patu_names* names, std::size_t index) {
  const char* const* item = item_of(names, index);
  return item == nullptr ? nullptr : *item;
}
void patu_names_free(patu_names* names) { delete names; }

std::size_t patu_addresses_count(const patu_addresses* addresses) { return count_of(addresses); }
const patu_address* patu_addresses_at(const patu_addresses* addresses, std::size_t index) {
  return item_of(addresses, index);
}
void patu_addresses_free(patu_addresses* addresses) { delete addresses; }

std::size_t patu_ids_count(const patu_ids* ids) { return count_of(ids); }
const patu_attachment_id* patu_ids_at(const patu_ids* ids, std::size_t index) { return item_of(ids, index); }
