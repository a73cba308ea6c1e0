// A visit costs as much as some dozens of system calls.
#include "services/address_book.hpp"

#include "base/try.hpp"

namespace patu::services {

Result<std::optional<patu_address>> AddressBook::find(const patu_addr& address) {
  const auto addresses = store_->instance().addresses();
  if (reading_ == Reading::one_by_one) {
    auto found = addresses.lookup(address);
    if (!found) return fail(std::move(found.error()).context("addresses"));
    return found;
  }
  if (!all_) {
    all_.emplace();
    PATU_TRY(addresses.visit([&](const patu_addr& key, const patu_address& value) -> Result<> {
      all_->emplace(key, value);
      return {};
    }),
             "addresses");
  }
  const auto at = all_->find(address);
  if (at == all_->end()) return std::optional<patu_address>{};
  return std::optional<patu_address>(at->second);
}

}  // namespace patu::services
