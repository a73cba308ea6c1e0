// Address pools on an instance of their own.
#pragma once

#include "instance.hpp"
#include "raw_map.hpp"

namespace patu::test {

struct PoolFixture : InstanceFixture {
  using InstanceFixture::InstanceFixture;
  AddressPool pool(const Subnet& subnet) const { return must(AddressPool::open(datapath, subnet)); }
  AddressPool pool(const char* prefix) const { return pool(Subnet{*Prefix::parse(prefix)}); }
};

inline IpAddress acquired(AddressPool& pool, const AttachmentId& owner) { return must(pool.acquire(owner)); }

// Sets the times of all released addresses back, as if the clock had gone on.
inline void age_released(std::uint64_t seconds) {
  const Releases released("released");
  for (auto [address, at] : released.all()) released.put(address, at - seconds * 1'000'000'000u);
}

// No lease and no record is left.
inline void check_no_leases() {
  CHECK(Leases("leases").size() == 0);
  CHECK(Attachments("attachments").size() == 0);
}

}  // namespace patu::test
