// The order of a pool's free addresses, from what was released when and what was never used.
#include "ipam/candidates.hpp"

#include "ipam/subnet.hpp"

namespace patu::ipam {

void Candidates::reset(std::set<IpAddress> leased, std::set<Released> released, const IpAddress& start) {
  start_ = start;
  cursor_ = start;
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
  if (const auto unused = next_unused()) {
    pass(*unused);
    return Offer{*unused, std::nullopt};
  }
  return unrested ? pop_released() : std::nullopt;
}

std::optional<Offer> Candidates::pop_released() {
  if (released_.empty()) return std::nullopt;
  const Released oldest = released_.extract(released_.begin()).value();
  return Offer{oldest.address, oldest.at};
}

std::optional<IpAddress> Candidates::next_unused() {
  while (cursor_ && (!is_dynamic(subnet_, *cursor_) || known_.contains(*cursor_))) pass(*cursor_);
  return cursor_;
}

void Candidates::pass(const IpAddress& address) {
  cursor_ = next_in(subnet_, address);
  if (*cursor_ == start_) cursor_.reset();
}

}  // namespace patu::ipam
