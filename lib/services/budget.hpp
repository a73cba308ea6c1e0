// How much room the maps have for a batch of changes, decided before anything is written.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "services/address_book.hpp"
#include "services/bytes.hpp"
#include "services/change.hpp"
#include "services/extents.hpp"
#include "services/store.hpp"

namespace patu::services {

// What is old gives its place back only after the new is in, and so counts as used.
class Budget final {
 public:
  // Borrows `store`. Errors: io.
  static Result<Budget> make(const Store& store, const patu_service_table& table, const ExtentAllocator& extents,
                             AddressBook::Reading reading);

  // All that the change needs, or nothing. `new_frontends`: that no service has now. Errors: exhausted (the map is named), io.
  Result<> spend(const Change& change, std::size_t new_frontends);
  // Entries of the journal are gone meanwhile.
  void shorten_journal(std::uint32_t by) noexcept { counts_[kStale].used -= by; }
  // True if the change would fit but for the journal of closed backends.
  bool lacks_journal(const Change& change) const;

 private:
  enum Map : std::size_t { kFrontends, kServices, kAddresses, kStale, kSlots, kMaps };
  struct Count {
    const char* name = nullptr;
    std::uint64_t used = 0;
    std::uint64_t limit = 0;
  };
  using Need = std::array<std::uint64_t, kMaps>;

  explicit Budget(AddressBook&& addresses) noexcept : addresses_(std::move(addresses)) {}
  // Addresses that have no entry yet, neither in the map nor promised to another change.
  Result<std::vector<patu_addr>> new_addresses(const Change& change);

  AddressBook addresses_;
  std::array<Count, kMaps> counts_;
  std::unordered_set<patu_addr, HashOfBytes, EqualBytes> promised_;
};

}  // namespace patu::services
