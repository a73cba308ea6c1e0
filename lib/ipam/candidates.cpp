// The order of a pool's free addresses, from what was released when and what was never used.
#include "ipam/candidates.hpp"

#include "ipam/subnet.hpp"

namespace patu::ipam {

void Candidates::reset(std::set<IpAddress> leased, std::set<Released> released) {
  cursor_ = *subnet_.first;
  known_ = std::move(leased);
  released_.clear();
  for (const Released& one : released)
    if (!known_.contains(one.address)) add_released(one);
}

void Candidates::add_released(const Released& released) {
  if (!is_dynamic(subnet_, released.address)) return;
  known_.insert(released.address);
  released_.insert(released);
}

std::optional<Offer> Candidates::next(BootTime now, bool unrested) {
  if (!released_.empty() && now - released_.begin()->at >= kRest) return pop_released();
  if (auto unused = next_unused()) return unused;
  return unrested ? pop_released() : std::nullopt;
}

std::optional<Offer> Candidates::pop_released() {
  if (released_.empty()) return std::nullopt;
  const Released oldest = released_.extract(released_.begin()).value();
  return Offer{oldest.address, oldest.at};
}

std::optional<Offer> Candidates::next_unused() {
  while (cursor_) {
    const IpAddress at = *cursor_;
    cursor_ = at == *subnet_.last ? std::nullopt : std::optional(successor(at));
    if (is_dynamic(subnet_, at) && !known_.contains(at)) return Offer{at, std::nullopt};
  }
  return std::nullopt;
}

}  // namespace patu::ipam
