// One lease: whose it is, and putting it back.
#pragma once

#include <optional>

#include "bpf/instance.hpp"
#include "patu/ipam.hpp"

namespace patu::ipam {

// Puts back an attachment's record and leases, whatever pool they are of, as its interface says they were.
// Errors: already_exists (one is leased to somebody else), exhausted, io.
Result<> restore(const bpf::Instance& instance, const AttachmentId& owner, const std::optional<IpAddress>& v4,
                 const std::optional<IpAddress>& v6);

// Whose a lease is. Errors: protocol (bytes that are no id).
Result<AttachmentId> lease_owner(const patu_lease& lease);
patu_lease make_lease(const AttachmentId& owner) noexcept;
bool owns(const AttachmentId& owner, const patu_lease& lease) noexcept;

}  // namespace patu::ipam
