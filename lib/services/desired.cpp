// One look at everything that the kernel has, then the differences, then who may not change.
#include "services/desired.hpp"

#include <algorithm>
#include <numeric>

#include "base/quote.hpp"
#include "base/try.hpp"

namespace patu::services {

Result<Desired> Desired::compare(Store& store, std::span<const Service> services) {
  Desired desired(store);
  PATU_TRY(desired.plan(services));
  PATU_TRY(desired.read());
  PATU_TRY(desired.find_changes());
  desired.claim_frontends();
  return desired;
}

Result<> Desired::plan(std::span<const Service> services) {
  items_.reserve(services.size());
  for (const Service& service : services) {
    if (!by_name_.emplace(service.name, items_.size()).second)
      return fail(Errc::invalid_argument, "service " + quote(service.name) + " is given twice");
    Item item;
    item.wanted = true;
    auto plan = plan_of(service);
    if (plan) {
      item.name = plan->name;
      item.plan = std::move(*plan);
    } else {
      item.refused = RefusedService{service.name, plan.error().code(), plan.error().to_string()};
    }
    items_.push_back(std::move(item));
  }
  return {};
}

Result<> Desired::read() {
  PATU_TRY_LET(stored, store_->records());
  stored_ = std::move(stored);
  for (std::size_t i = 0; i < stored_.size(); ++i) {
    const auto [at, is_new] = by_name_.emplace(name_of(stored_[i].name), items_.size());
    if (is_new) items_.emplace_back();
    items_[at->second].name = stored_[i].name;
    items_[at->second].stored = i;
    for (const patu_listed_frontend& frontend : stored_[i].record.frontends) owners_[frontend.key].stored = i;
  }
  return {};
}

// In the order of the slots, so that each chunk is read once.
Result<> Desired::find_changes() {
  std::vector<Item*> ascending;
  for (Item& item : items_) {
    if (item.stored)
      ascending.push_back(&item);
    else if (item.plan)
      item.change = change_between(Plan(*item.plan), std::nullopt, {});
  }
  const auto head = [&](const Item* item) -> const patu_service& { return stored_[*item->stored].record.head; };
  std::sort(ascending.begin(), ascending.end(),
            [&](const Item* a, const Item* b) { return head(a).base < head(b).base; });
  for (Item* item : ascending) {
    if (item->refused) continue;
    PATU_TRY_LET(slots, store_->slots().read_along(extent_of(head(item))));
    Record before = stored_[*item->stored].record;
    item->change = item->plan ? change_between(Plan(*item->plan), std::move(before), slots)
                              : removal_of(item->name, std::move(before), slots);
  }
  store_->slots().forget();
  return {};
}

void Desired::claim_frontends() {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!items_[i].plan) continue;
    const auto& frontends = items_[i].plan->frontends;
    const auto taken = std::find_if(frontends.begin(), frontends.end(), [&](const patu_listed_frontend& frontend) {
      return owners_[frontend.key].item.has_value();
    });
    if (taken == frontends.end()) {
      for (const patu_listed_frontend& frontend : frontends) owners_[frontend.key].item = i;
      continue;
    }
    items_[i].refused = refusal_of(
        items_[i],
        Error(Errc::already_exists, "frontend " + to_string(taken->key) + " is given to service " +
                                        quote(name_of(items_[*owners_[taken->key].item].name)) + " already"));
  }
  for (std::size_t i = 0; i < items_.size(); ++i)
    if (items_[i].refused) keep_frontends(i);
}

RefusedService Desired::refusal_of(const Item& item, const Error& why) {
  return {name_of(item.name), why.code(), why.to_string()};
}

// Who stays as it is keeps its frontends, and who wanted one of them has to stay as it is, too.
void Desired::keep_frontends(std::size_t item) {
  std::vector<std::size_t> staying{item};
  while (!staying.empty()) {
    const std::size_t self = staying.back();
    staying.pop_back();
    if (!items_[self].stored) continue;
    for (const patu_listed_frontend& frontend : stored_[*items_[self].stored].record.frontends) {
      const std::optional<std::size_t> other = owners_[frontend.key].item;
      if (!other || *other == self || items_[*other].refused) continue;
      items_[*other].refused =
          refusal_of(items_[*other],
                     Error(Errc::already_exists, "frontend " + to_string(frontend.key) + " belongs to service " +
                                                     quote(name_of(items_[self].name)) + ", which stays as it is"));
      staying.push_back(*other);
    }
  }
}

std::vector<Extent> Desired::in_use() const {
  std::vector<Extent> out;
  for (const Stored& stored : stored_)
    if (slots_of(stored.record.head) > 0) out.push_back(extent_of(stored.record.head));
  return out;
}

std::size_t Desired::frontends_of_nobody(const Change& change) const {
  const std::vector<patu_listed_frontend> added = added_by(change);
  return static_cast<std::size_t>(std::count_if(added.begin(), added.end(), [&](const patu_listed_frontend& frontend) {
    return !owners_.at(frontend.key).stored;
  }));
}

Result<> Desired::fit(Budget& budget, MakeRoom make_room) {
  bool tried = false;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!takes_part(items_[i])) continue;
    const Change& change = *items_[i].change;
    if (!tried && budget.lacks_journal(change)) {
      tried = true;
      PATU_TRY_LET(gone, make_room());
      budget.shorten_journal(gone);
    }
    if (auto fits = budget.spend(change, frontends_of_nobody(change)); !fits) {
      if (fits.error().code() != Errc::exhausted) return fits;
      items_[i].refused = refusal_of(items_[i], fits.error());
      keep_frontends(i);
    }
  }
  return {};
}

std::vector<Change> Desired::take_changes() {
  std::vector<Change> changes;
  for (Item& item : items_)
    if (takes_part(item)) changes.push_back(std::move(*item.change));
  return changes;
}

SyncReport Desired::report() const {
  SyncReport report;
  for (const Item& item : items_) {
    if (item.refused) {
      report.refused.push_back(*item.refused);
    } else if (!item.change) {
      ++report.unchanged;
    } else {
      const bool is_new = !item.stored;
      (is_new ? report.added : item.wanted ? report.changed : report.removed).push_back(name_of(item.name));
    }
  }
  for (auto* names : {&report.added, &report.changed, &report.removed}) std::sort(names->begin(), names->end());
  std::sort(report.refused.begin(), report.refused.end(),
            [](const RefusedService& a, const RefusedService& b) { return a.name < b.name; });
  return report;
}

}  // namespace patu::services
