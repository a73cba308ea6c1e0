// One element for each range that is in use, and room for a few hundred.
#include "ipam/turn.hpp"

#include <vector>

#include "ipam/subnet.hpp"
#include "names.hpp"

namespace patu::ipam {
namespace {

patu_range key_of(const Subnet& subnet) noexcept { return {address_key(*subnet.first), address_key(*subnet.last)}; }

// Ranges of networks that are long gone have filled it. Who still needs his starts at the first address once.
Result<> forget_all(const bpf::Map<patu_range, patu_addr>& cursors) {
  std::vector<patu_range> ranges;
  PATU_TRY(cursors.visit([&](const patu_range& range, const patu_addr&) -> Result<> {
    ranges.push_back(range);
    return {};
  }));
  return cursors.erase_all(ranges);
}

}  // namespace

Turn::Turn(const bpf::Instance& instance, const Subnet& subnet) noexcept
    : cursors_(instance.cursors()), subnet_(subnet) {}

Result<IpAddress> Turn::get() const {
  PATU_TRY_LET(cursor, cursors_.lookup(key_of(subnet_)), "read where the range goes on");
  const IpAddress next = cursor ? to_address(*cursor) : *subnet_.first;
  return next >= *subnet_.first && next <= *subnet_.last ? next : *subnet_.first;
}

void Turn::put(const IpAddress& next) const {
  auto put = cursors_.put(key_of(subnet_), address_key(next));
  if (!put && put.error().code() == Errc::exhausted && forget_all(cursors_))
    (void)cursors_.put(key_of(subnet_), address_key(next));
}

}  // namespace patu::ipam
