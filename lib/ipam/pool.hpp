// Leases in the instance's maps. Whoever calls holds the shard's lock of the owner; other owners' calls need none.
#pragma once

#include <memory>

#include "bpf/instance.hpp"
#include "ipam/candidates.hpp"
#include "ipam/lease.hpp"
#include "patu/ipam.hpp"

namespace patu::ipam {

// One rule makes every lease findable without a scan: an owner's record in `attachments` names an address before the lease of
// that address is inserted, and as long as the lease is there. A process that is killed leaves at most a record that promises too
// much, which the next acquire() overwrites.
class Pool final {
 public:
  // Errors: invalid_argument.
  static Result<Pool> open(std::shared_ptr<bpf::Instance> instance, const Subnet& subnet);

  // See AddressPool.
  Result<IpAddress> acquire(const AttachmentId& owner);
  Result<IpAddress> acquire(const AttachmentId& owner, const IpAddress& requested);
  Result<> release(const AttachmentId& owner);
  Result<std::optional<IpAddress>> find(const AttachmentId& owner) const;
  Result<std::vector<Lease>> list() const;
  Result<PoolUsage> usage() const;
  // Gives back an address whatever the owner's record says; for leases that belong to nothing.
  Result<> release_address(const IpAddress& address);

  const Subnet& subnet() const noexcept { return subnet_; }
  bool serves(const IpAddress& address) const noexcept { return subnet_.prefix.contains(address); }

 private:
  Pool(std::shared_ptr<bpf::Instance> instance, Subnet subnet)
      : instance_(std::move(instance)), subnet_(std::move(subnet)), candidates_(subnet_) {}

  Result<std::optional<IpAddress>> recorded(const AttachmentId& owner) const;
  Result<std::optional<IpAddress>> leased(const AttachmentId& owner) const;
  Result<std::optional<IpAddress>> held_here(const AttachmentId& owner) const;
  Result<> record(const AttachmentId& owner, const std::optional<IpAddress>& address) const;
  Result<std::optional<IpAddress>> take_turn(const AttachmentId& owner) const;
  Result<bool> try_turn(const AttachmentId& owner, const IpAddress& address) const;
  Result<std::optional<IpAddress>> try_offers(const AttachmentId& owner, bool unrested);
  Result<bool> try_offer(const AttachmentId& owner, const Offer& offer);
  Result<bool> claim(const AttachmentId& owner, const IpAddress& address, bool was_released) const;
  void keep_turn();
  Result<bool> insert(const AttachmentId& owner, const IpAddress& address) const;
  Result<> refresh();
  Result<> put_released(const IpAddress& address, BootTime now);
  Result<> make_room_in_released() const;
  Error full(const char* what) const;

  std::shared_ptr<bpf::Instance> instance_;
  Subnet subnet_;
  Candidates candidates_;
  bool has_taken_turn_ = false;
  bool fresh_ = false;  // candidates_ has been told what the maps say
};

}  // namespace patu::ipam
