// Address pools and their leases.
#include "handles.hpp"
#include "input.hpp"
#include "output.hpp"

struct patu_leases : patu::c::List<patu_lease> {};

struct patu_address_pool {
  patu::AddressPool pool;
  patu::c::Arena arena;
  patu_subnet subnet;
};

namespace {

using namespace patu;
using namespace patu::c;

patu_address to_c_or_zero(const std::optional<IpAddress>& address) { return address ? to_c(*address) : patu_address{}; }

patu_subnet convert(Arena& arena, const Subnet& subnet) {
  const auto to_value = [](const IpAddress& address) { return to_c(address); };
  return {.struct_size = sizeof(patu_subnet),
          .reserved_addresses = arena.array<patu_address>(subnet.reserved, to_value),
          .reserved_address_count = subnet.reserved.size(),
          .prefix = to_c(subnet.prefix),
          .gateway = to_c_or_zero(subnet.gateway),
          .first = to_c_or_zero(subnet.first),
          .last = to_c_or_zero(subnet.last),
          .reserved = 0};
}

patu_lease convert_lease(Arena& arena, const Lease& lease) {
  return {.struct_size = sizeof(patu_lease),
          .owner = to_c(arena, lease.owner),
          .acquired_ns = static_cast<std::uint64_t>(lease.acquired.count()),
          .address = to_c(lease.address)};
}

}  // namespace

patu_status patu_address_pool_open(const patu_datapath* datapath, const patu_subnet* subnet, patu_address_pool** pool,
                                   patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(datapath, "datapath"));
    PATU_TRY(check_given(pool, "pool"));
    PATU_TRY_LET(known, read_struct(subnet, "subnet"));
    PATU_TRY_LET(range, read_subnet(known), "subnet");
    PATU_TRY_LET(opened, AddressPool::open(datapath->datapath, range));
    auto handle = std::make_unique<patu_address_pool>(patu_address_pool{std::move(opened), {}, {}});
    handle->subnet = convert(handle->arena, handle->pool.subnet());
    *pool = handle.release();
    return {};
  });
}

void patu_address_pool_close(patu_address_pool* pool) { delete pool; }

patu_status patu_address_pool_acquire(patu_address_pool* pool, const patu_attachment_id* owner,
                                      const patu_address* requested, patu_address* address, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(pool, "pool"));
    PATU_TRY_LET(id, read_id(owner, "owner"));
    PATU_TRY_LET(acquired,
                 requested == nullptr ? pool->pool.acquire(id) : pool->pool.acquire(id, read_address(*requested)));
    if (address != nullptr) *address = to_c(acquired);
    return {};
  });
}

patu_status patu_address_pool_release(patu_address_pool* pool, const patu_attachment_id* owner, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(pool, "pool"));
    PATU_TRY_LET(id, read_id(owner, "owner"));
    return pool->pool.release(id);
  });
}

patu_status patu_address_pool_find(const patu_address_pool* pool, const patu_attachment_id* owner,
                                   patu_address* address, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(pool, "pool"));
    PATU_TRY(check_given(address, "address"));
    PATU_TRY_LET(id, read_id(owner, "owner"));
    PATU_TRY_LET(found, pool->pool.find(id));
    if (!found)
      return fail(Errc::not_found, id.to_string() + " has no address of " + pool->pool.subnet().prefix.to_string());
    *address = to_c(*found);
    return {};
  });
}

patu_status patu_address_pool_list(const patu_address_pool* pool, patu_leases** leases, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(pool, "pool"));
    PATU_TRY(check_given(leases, "leases"));
    PATU_TRY_LET(all, pool->pool.list());
    *leases = list_of<patu_leases>(all, convert_lease).release();
    return {};
  });
}

patu_status patu_address_pool_usage(const patu_address_pool* pool, patu_pool_usage* usage, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(pool, "pool"));
    PATU_TRY(check_given(usage, "usage"));
    PATU_TRY_LET(found, pool->pool.usage());
    *usage = {found.capacity, found.leased, found.free};
    return {};
  });
}

const patu_subnet* patu_address_pool_subnet(const patu_address_pool* pool) {
  return pool == nullptr ? nullptr : &pool->subnet;
}

std::size_t patu_leases_count(const patu_leases* leases) { return count_of(leases); }
const patu_lease* patu_leases_at(const patu_leases* leases, std::size_t index) { return item_of(leases, index); }
void patu_leases_free(patu_leases* leases) { delete leases; }
