// Address pools whose leases live in a pinned map, so that they survive the process and are shared by all of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "patu/datapath.hpp"
#include "patu/types.hpp"

namespace patu {

// What a pool hands out: the addresses from first to last of a prefix, without the gateway, the reserved ones, the
// prefix's own address and, in IPv4, its broadcast address.
struct Subnet {
  Prefix prefix;
  std::optional<IpAddress> gateway = {};  // default: the prefix's first address
  std::optional<IpAddress> first = {};    // default: the first usable address
  std::optional<IpAddress> last = {};     // default: the last usable address
  std::vector<IpAddress> reserved = {};   // never handed out unless requested by name; it may be all
};

struct Lease {
  IpAddress address;
  AttachmentId owner;
  std::chrono::nanoseconds acquired;  // CLOCK_BOOTTIME
};

struct PoolUsage {
  std::uint64_t capacity = 0;  // addresses that can be handed out; at most 2^64 - 1
  std::uint64_t leased = 0;    // of these and of the reserved ones
  std::uint64_t free = 0;      // of the former; 0: acquire() is exhausted but for a requested address
};

// Thread: one at a time for one object; any number of objects and processes at once. A single insert that must not already
// exist decides who gets an address; calls for the same owner wait for each other (as do those that share one of the instance's
// 16 locks). An owner has one address of each family. In the subnets of a Network, its reconcile() releases what belongs to no
// interface.
class [[nodiscard]] PATU_API AddressPool final {
 public:
  // Writes nothing. Errors: invalid_argument (a range outside of the prefix, no usable address, …).
  static Result<AddressPool> open(const Datapath& datapath, const Subnet& subnet);

  AddressPool(AddressPool&&) noexcept;
  AddressPool& operator=(AddressPool&&) noexcept;
  ~AddressPool();

  // Leases a free address; never one that was released less than 60 s ago while another is free, because a late packet for the
  // old holder must not reach the new one (of 2 x max_pods of them; what was released before those counts as rested). The first
  // call goes on in the range where the last one of whatever process has stopped, so that addresses are used in turn: .2, .3,
  // .4; it looks at 64 at most before it reads all leases. Later calls, in a process that stays, take the address that has
  // rested longest, or else the next one never used. An owner that already has a lease in this pool gets the same again.
  // Errors: exhausted (no free address, or the map of leases is full), already_exists (the owner has an address of this
  // family from another pool), timed_out, io.
  Result<IpAddress> acquire(const AttachmentId& owner);
  // Leases this very address; it may be a reserved one. Errors: invalid_argument (outside of the prefix, or the gateway),
  // already_exists (somebody else's, or the owner has another), exhausted (the map of leases is full), timed_out, io.
  Result<IpAddress> acquire(const AttachmentId& owner, const IpAddress& requested);
  // Gives back what the owner has here; success where it has nothing. Errors: timed_out, io.
  Result<> release(const AttachmentId& owner);
  // The owner's address in this pool. Errors: io.
  Result<std::optional<IpAddress>> find(const AttachmentId& owner) const;
  // All leases of the pool, by address. O(leases). Errors: io, protocol.
  Result<std::vector<Lease>> list() const;
  // O(leases), without reading them twice. Errors: io.
  Result<PoolUsage> usage() const;

  const Subnet& subnet() const noexcept;  // with its defaults filled in

 private:
  struct State;
  explicit AddressPool(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace patu
