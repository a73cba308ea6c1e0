// The whole table as it is to be, compared with the one that the kernel has.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/function_ref.hpp"
#include "services/budget.hpp"
#include "services/bytes.hpp"
#include "services/change.hpp"
#include "services/store.hpp"

namespace patu::services {

class Desired final {
 public:
  // Reads the table. Borrows `store`. Errors: invalid_argument (a name twice), protocol, io.
  static Result<Desired> compare(Store& store, std::span<const Service> services);

  // What the records of the kernel occupy.
  std::vector<Extent> in_use() const;
  // Makes room in the journal of closed backends, and returns how many entries are gone.
  using MakeRoom = FunctionRef<Result<std::uint32_t>()>;
  // Refuses what does not fit, in the order of the services, and who wants a frontend of a service that stays as it is.
  Result<> fit(Budget& budget, MakeRoom make_room);

  // What is to be done, and how that reads. Once, at the end.
  std::vector<Change> take_changes();
  SyncReport report() const;

 private:
  // A name that is wanted, or that the kernel has.
  struct Item {
    patu_service_key name{};
    std::optional<std::size_t> stored;
    bool wanted = false;
    std::optional<Plan> plan;
    std::optional<Change> change;
    std::optional<RefusedService> refused;
  };
  // Of a frontend: who has it, and who wants it.
  struct Owners {
    std::optional<std::size_t> stored;
    std::optional<std::size_t> item;
  };

  explicit Desired(Store& store) noexcept : store_(&store) {}
  Result<> plan(std::span<const Service> services);
  Result<> read();
  Result<> find_changes();
  void claim_frontends();
  static RefusedService refusal_of(const Item& item, const Error& why);
  void keep_frontends(std::size_t item);
  bool takes_part(const Item& item) const noexcept { return item.change && !item.refused; }
  std::size_t frontends_of_nobody(const Change& change) const;

  Store* store_;
  std::vector<Stored> stored_;
  std::vector<Item> items_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::unordered_map<patu_frontend_key, Owners, HashOfBytes, EqualBytes> owners_;
};

}  // namespace patu::services
