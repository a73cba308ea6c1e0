// The public face of lib/ipam/.
#include "patu/ipam.hpp"

#include "ipam/pool.hpp"
#include "names.hpp"

namespace patu {

struct AddressPool::State {
  std::shared_ptr<bpf::Instance> instance;
  ipam::Pool pool;

  // Two calls for one owner at once would both write its record.
  Result<FileLock> lock(const AttachmentId& owner) const { return instance->lock_shard(shard_of(host_ifname(owner))); }
};

AddressPool::AddressPool(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
AddressPool::AddressPool(AddressPool&&) noexcept = default;
AddressPool& AddressPool::operator=(AddressPool&&) noexcept = default;
AddressPool::~AddressPool() = default;

Result<AddressPool> AddressPool::open(const Datapath& datapath, const Subnet& subnet) {
  PATU_TRY_LET(pool, ipam::Pool::open(datapath.instance(), subnet), "open address pool");
  return AddressPool(std::make_unique<State>(State{datapath.instance(), std::move(pool)}));
}

Result<IpAddress> AddressPool::acquire(const AttachmentId& owner) {
  PATU_TRY_LET(lock, state_->lock(owner), "acquire an address for " + owner.to_string());
  PATU_TRY_LET(address, state_->pool.acquire(owner), "acquire an address for " + owner.to_string());
  return address;
}

Result<IpAddress> AddressPool::acquire(const AttachmentId& owner, const IpAddress& requested) {
  PATU_TRY_LET(lock, state_->lock(owner), "acquire " + requested.to_string() + " for " + owner.to_string());
  PATU_TRY_LET(address, state_->pool.acquire(owner, requested),
               "acquire " + requested.to_string() + " for " + owner.to_string());
  return address;
}

Result<> AddressPool::release(const AttachmentId& owner) {
  PATU_TRY_LET(lock, state_->lock(owner), "release the address of " + owner.to_string());
  PATU_TRY(state_->pool.release(owner), "release the address of " + owner.to_string());
  return {};
}

Result<std::optional<IpAddress>> AddressPool::find(const AttachmentId& owner) const {
  PATU_TRY_LET(address, state_->pool.find(owner), "find the address of " + owner.to_string());
  return address;
}

Result<std::vector<Lease>> AddressPool::list() const {
  PATU_TRY_LET(leases, state_->pool.list(), "list the leases of " + subnet().prefix.to_string());
  return std::move(leases);
}

Result<PoolUsage> AddressPool::usage() const {
  PATU_TRY_LET(usage, state_->pool.usage(), "count the leases of " + subnet().prefix.to_string());
  return usage;
}

const Subnet& AddressPool::subnet() const noexcept { return state_->pool.subnet(); }

}  // namespace patu
