// A lease's bytes, and putting one back.
#include "ipam/lease.hpp"

#include <cstring>

#include "base/boot_time.hpp"
#include "base/try.hpp"
#include "names.hpp"

namespace patu::ipam {
namespace {

template <std::size_t N>
std::string_view text_of(const std::uint8_t (&bytes)[N]) noexcept {
  const char* text = reinterpret_cast<const char*>(bytes);
  return {text, ::strnlen(text, N)};
}

}  // namespace

Result<AttachmentId> lease_owner(const patu_lease& lease) {
  auto id = AttachmentId::parse(text_of(lease.container_id), text_of(lease.ifname));
  if (!id) return fail(Errc::protocol, "a lease's owner is no attachment: " + id.error().to_string());
  return id;
}

patu_lease make_lease(const AttachmentId& owner) noexcept {
  static_assert(PATU_ID_BYTES == AttachmentId::kMaxContainerIdLength);
  patu_lease lease{};
  std::memcpy(lease.container_id, owner.container_id().data(), owner.container_id().size());
  std::memcpy(lease.ifname, owner.ifname().view().data(), owner.ifname().view().size());
  lease.acquired_ns = static_cast<std::uint64_t>(boot_time().count());
  return lease;
}

bool owns(const AttachmentId& owner, const patu_lease& lease) noexcept {
  return text_of(lease.container_id) == owner.container_id() && text_of(lease.ifname) == owner.ifname().view();
}

Result<> restore(const bpf::Instance& instance, const AttachmentId& owner, const std::optional<IpAddress>& v4,
                 const std::optional<IpAddress>& v6) {
  const patu_attachment record{v4 ? address_key(*v4) : patu_addr{}, v6 ? address_key(*v6) : patu_addr{}};
  PATU_TRY(instance.attachments().put(index_key(host_ifname(owner)), record),
           "record the addresses of " + owner.to_string());
  for (const auto& address : {v4, v6}) {
    if (!address) continue;
    const patu_addr key = address_key(*address);
    PATU_TRY_LET(inserted, instance.leases().insert(key, make_lease(owner)), "lease " + address->to_string());
    if (!inserted) {
      PATU_TRY_LET(lease, instance.leases().lookup(key));
      if (lease && owns(owner, *lease)) continue;
      return fail(Errc::already_exists, "address " + address->to_string() + " is leased to somebody else");
    }
    PATU_TRY(instance.released().erase(key));
  }
  return {};
}

}  // namespace patu::ipam
