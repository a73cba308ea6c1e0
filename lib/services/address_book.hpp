// What the map `addresses` says, looked up one by one, or read at once for whoever needs many.
#pragma once

#include <optional>
#include <unordered_map>

#include "services/bytes.hpp"
#include "services/store.hpp"

namespace patu::services {

class AddressBook final {
 public:
  enum class Reading { one_by_one, at_once };
  // Borrows `store`.
  AddressBook(const Store& store, Reading reading) noexcept : store_(&store), reading_(reading) {}

  // Errors: io.
  Result<std::optional<patu_address>> find(const patu_addr& address);

 private:
  const Store* store_;
  Reading reading_;
  std::optional<std::unordered_map<patu_addr, patu_address, HashOfBytes, EqualBytes>> all_;
};

}  // namespace patu::services
