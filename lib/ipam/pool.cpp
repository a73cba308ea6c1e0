// Takes and gives back leases; an insert that must not exist decides between processes.
#include "ipam/pool.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/boot_time.hpp"
#include "ipam/subnet.hpp"
#include "ipam/turn.hpp"
#include "names.hpp"

namespace patu::ipam {
namespace {

// Addresses that are tried before all leases are read. With nine of ten taken here and there, one call in 850 tries all in vain.
constexpr int kTurnTries = 64;

patu_addr& slot_of(patu_attachment& record, const Prefix& prefix) noexcept {
  return prefix.is_v4() ? record.v4 : record.v6;
}

bool is_empty(const patu_addr& address) noexcept {
  return std::all_of(std::begin(address.bytes), std::end(address.bytes), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

Result<Pool> Pool::open(std::shared_ptr<bpf::Instance> instance, const Subnet& subnet) {
  PATU_TRY_LET(completed, complete(subnet));
  return Pool(std::move(instance), std::move(completed));
}

Result<IpAddress> Pool::acquire(const AttachmentId& owner) {
  PATU_TRY_LET(held, held_here(owner));
  if (held) return *held;
  // A process that takes one address and ends does not read all leases for it.
  if (!fresh_ && !std::exchange(has_taken_turn_, true)) {
    PATU_TRY_LET(taken, take_turn(owner));
    if (taken) return *taken;
  }
  const bool was_fresh = fresh_;
  if (!was_fresh) PATU_TRY(refresh());
  PATU_TRY_LET(first, try_offers(owner, !was_fresh));
  if (first) return *first;
  if (was_fresh) {
    PATU_TRY(refresh());
    PATU_TRY_LET(second, try_offers(owner, true));
    if (second) return *second;
  }
  PATU_TRY(record(owner, std::nullopt));
  return fail(Errc::exhausted, "no free address in " + subnet_.prefix.to_string());
}

Result<IpAddress> Pool::acquire(const AttachmentId& owner, const IpAddress& requested) {
  PATU_TRY(check_requested(subnet_, requested));
  PATU_TRY_LET(held, held_here(owner));
  if (held && *held == requested) return requested;
  if (held) return fail(Errc::already_exists, owner.to_string() + " has " + held->to_string() + " already");
  PATU_TRY(record(owner, requested));
  PATU_TRY_LET(inserted, insert(owner, requested));
  if (inserted) {
    PATU_TRY(instance_->released().erase(address_key(requested)));
    return requested;
  }
  PATU_TRY(record(owner, std::nullopt));
  return fail(Errc::already_exists, "address " + requested.to_string() + " is somebody else's");
}

Result<> Pool::release(const AttachmentId& owner) {
  PATU_TRY_LET(held, find(owner));
  if (held) PATU_TRY(release_address(*held));
  PATU_TRY_LET(left, recorded(owner));
  if (left && serves(*left)) PATU_TRY(record(owner, std::nullopt));
  return {};
}

Result<> Pool::release_address(const IpAddress& address) {
  const BootTime now = boot_time();
  PATU_TRY(put_released(address, now), "remember when " + address.to_string() + " was released");
  PATU_TRY(instance_->leases().erase(address_key(address)), "delete the lease of " + address.to_string());
  candidates_.add_released({now, address});
  return {};
}

Result<std::optional<IpAddress>> Pool::find(const AttachmentId& owner) const {
  PATU_TRY_LET(address, leased(owner));
  if (address && !serves(*address)) address.reset();
  return address;
}

Result<std::vector<Lease>> Pool::list() const {
  std::vector<Lease> leases;
  PATU_TRY(instance_->leases().visit([&](const patu_addr& key, const patu_lease& lease) -> Result<> {
    const IpAddress address = to_address(key);
    if (!serves(address)) return {};
    PATU_TRY_LET(owner, lease_owner(lease), "lease of " + address.to_string());
    leases.push_back({address, std::move(owner), BootTime{lease.acquired_ns}});
    return {};
  }));
  // A visit may see an element twice.
  std::sort(leases.begin(), leases.end(), [](const Lease& a, const Lease& b) { return a.address < b.address; });
  leases.erase(
      std::unique(leases.begin(), leases.end(), [](const Lease& a, const Lease& b) { return a.address == b.address; }),
      leases.end());
  return leases;
}

Result<PoolUsage> Pool::usage() const {
  std::uint64_t own = 0;
  std::uint64_t reserved = 0;
  // kernel: a hash is read bucket by bucket, so no lease is seen twice.
  PATU_TRY(instance_->leases().visit([&](const patu_addr& key, const patu_lease&) -> Result<> {
    const IpAddress address = to_address(key);
    if (is_dynamic(subnet_, address)) ++own;
    if (is_reserved(subnet_, address)) ++reserved;
    return {};
  }));
  const std::uint64_t all = capacity(subnet_);
  return PoolUsage{all, own + reserved, all - std::min(all, own)};
}

// The address that the owner's record names, of this pool's family; whether it is leased is another matter.
Result<std::optional<IpAddress>> Pool::recorded(const AttachmentId& owner) const {
  PATU_TRY_LET(record, instance_->attachments().lookup(index_key(host_ifname(owner))), "look up " + owner.to_string());
  if (!record) return std::optional<IpAddress>{};
  const patu_addr& slot = slot_of(*record, subnet_.prefix);
  if (is_empty(slot)) return std::optional<IpAddress>{};
  return std::optional(to_address(slot));
}

// The address of this pool's family that the owner has, from whatever pool.
Result<std::optional<IpAddress>> Pool::leased(const AttachmentId& owner) const {
  PATU_TRY_LET(address, recorded(owner));
  if (!address) return std::optional<IpAddress>{};
  PATU_TRY_LET(lease, instance_->leases().lookup(address_key(*address)), "read the lease of " + address->to_string());
  if (!lease || !owns(owner, *lease)) return std::optional<IpAddress>{};
  return address;
}

// An owner's record has room for one address of a family, so one of another pool stands in the way.
Result<std::optional<IpAddress>> Pool::held_here(const AttachmentId& owner) const {
  PATU_TRY_LET(address, leased(owner));
  if (!address || serves(*address)) return address;
  return fail(Errc::already_exists,
              owner.to_string() + " has " + address->to_string() + ", which is not of " + subnet_.prefix.to_string());
}

Result<> Pool::record(const AttachmentId& owner, const std::optional<IpAddress>& address) const {
  const patu_ifname key = index_key(host_ifname(owner));
  const auto attachments = instance_->attachments();
  PATU_TRY_LET(old, attachments.lookup(key));
  patu_attachment record = old.value_or(patu_attachment{});
  slot_of(record, subnet_.prefix) = address ? address_key(*address) : patu_addr{};
  if (is_empty(record.v4) && is_empty(record.v6)) {
    PATU_TRY(attachments.erase(key), "delete the record of " + owner.to_string());
    return {};
  }
  auto put = attachments.put(key, record);
  if (!put && put.error().code() == Errc::exhausted) return fail(full("attachments"));
  PATU_TRY(std::move(put), "record the address of " + owner.to_string());
  return {};
}

// The next address behind the one that was taken last, by whatever process. Empty if there is none soon.
Result<std::optional<IpAddress>> Pool::take_turn(const AttachmentId& owner) const {
  const Turn turn(*instance_, subnet_);
  if (!turn.is_kept()) return std::optional<IpAddress>{};
  PATU_TRY_LET(start, turn.get());
  IpAddress at = start;
  for (int tries = 0; tries < kTurnTries;) {
    const IpAddress address = at;
    at = next_in(subnet_, at);
    if (is_dynamic(subnet_, address)) {
      ++tries;
      PATU_TRY_LET(taken, try_turn(owner, address));
      if (taken) {
        turn.put(at);
        return std::optional(address);
      }
    }
    if (at == start) return std::optional<IpAddress>{};
  }
  turn.put(at);
  return std::optional<IpAddress>{};
}

// False: the address is leased, or has not rested.
Result<bool> Pool::try_turn(const AttachmentId& owner, const IpAddress& address) const {
  const patu_addr key = address_key(address);
  PATU_TRY_LET(lease, instance_->leases().lookup(key), "read the lease of " + address.to_string());
  if (lease) return false;
  // Who releases an address writes this first.
  PATU_TRY_LET(at, instance_->released().lookup(key), "look up when " + address.to_string() + " was released");
  if (at && boot_time() - BootTime{*at} < kRest) return false;
  return claim(owner, address, at.has_value());
}

Result<std::optional<IpAddress>> Pool::try_offers(const AttachmentId& owner, bool unrested) {
  while (const auto offer = candidates_.next(boot_time(), unrested)) {
    PATU_TRY_LET(leased, try_offer(owner, *offer));
    if (leased && !offer->released) keep_turn();
    if (leased) return std::optional(offer->address);
  }
  return std::optional<IpAddress>{};
}

// False: the address is leased, or another process has released it since this one looked.
Result<bool> Pool::try_offer(const AttachmentId& owner, const Offer& offer) {
  const patu_addr key = address_key(offer.address);
  PATU_TRY_LET(at, instance_->released().lookup(key), "look up when " + offer.address.to_string() + " was released");
  if (at && BootTime{*at} != offer.released) {
    candidates_.add_released({BootTime{*at}, offer.address});
    return false;
  }
  return claim(owner, offer.address, at.has_value());
}

// False: it is leased.
Result<bool> Pool::claim(const AttachmentId& owner, const IpAddress& address, bool was_released) const {
  PATU_TRY(record(owner, address));
  PATU_TRY_LET(inserted, insert(owner, address));
  if (inserted && was_released) PATU_TRY(instance_->released().erase(address_key(address)));
  return inserted;
}

// Other processes go on where this one is.
void Pool::keep_turn() {
  const Turn turn(*instance_, subnet_);
  if (!turn.is_kept()) return;
  if (const auto next = candidates_.next_unused()) turn.put(*next);
}

Result<bool> Pool::insert(const AttachmentId& owner, const IpAddress& address) const {
  auto inserted = instance_->leases().insert(address_key(address), make_lease(owner));
  if (inserted) return inserted;
  // What was recorded for the lease must not stay; the failure is what counts.
  (void)record(owner, std::nullopt);
  if (inserted.error().code() == Errc::exhausted) return fail(full("leases"));
  return fail(std::move(inserted.error()).context("lease " + address.to_string()));
}

Result<> Pool::refresh() {
  std::set<IpAddress> leased;
  PATU_TRY(instance_->leases().visit([&](const patu_addr& key, const patu_lease&) -> Result<> {
    if (const IpAddress address = to_address(key); serves(address)) leased.insert(address);
    return {};
  }),
           "read the leases");
  std::set<Released> released;
  PATU_TRY(instance_->released().visit([&](const patu_addr& key, const std::uint64_t& at) -> Result<> {
    if (const IpAddress address = to_address(key); serves(address)) released.insert({BootTime{at}, address});
    return {};
  }),
           "read the released addresses");
  const Turn turn(*instance_, subnet_);
  IpAddress start = *subnet_.first;
  if (turn.is_kept()) {
    PATU_TRY_LET(kept, turn.get());
    start = kept;
  }
  candidates_.reset(std::move(leased), std::move(released), start);
  // Past what is taken, for whoever comes next without having read it.
  keep_turn();
  fresh_ = true;
  return {};
}

Result<> Pool::put_released(const IpAddress& address, BootTime now) {
  const auto value = static_cast<std::uint64_t>(now.count());
  auto put = instance_->released().put(address_key(address), value);
  if (put || put.error().code() != Errc::exhausted) return put;
  PATU_TRY(make_room_in_released());
  return instance_->released().put(address_key(address), value);
}

// Forgets what has rested, which is as good as never used, or else the older half: so that the cost is shared by many releases.
Result<> Pool::make_room_in_released() const {
  std::vector<Released> all;
  PATU_TRY(instance_->released().visit([&](const patu_addr& key, const std::uint64_t& at) -> Result<> {
    all.push_back({BootTime{at}, to_address(key)});
    return {};
  }));
  std::sort(all.begin(), all.end());
  const BootTime rested = boot_time() - kRest;
  const auto old = std::find_if(all.begin(), all.end(), [&](const Released& one) { return one.at > rested; });
  const auto end = std::max(old, all.begin() + static_cast<std::ptrdiff_t>((all.size() + 1) / 2));
  for (auto at = all.begin(); at != end; ++at) PATU_TRY(instance_->released().erase(address_key(at->address)));
  return {};
}

Error Pool::full(const char* what) const {
  return Error(Errc::exhausted, std::string("the map '") + what + "' is full (DatapathOptions::max_pods)");
}

}  // namespace patu::ipam
