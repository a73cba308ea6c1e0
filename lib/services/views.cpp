// Views first, the rest behind them; shares by Walker's alias method, in integers, so that equal services have equal bytes.
#include "services/views.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include "names.hpp"

namespace patu::services {
namespace {

constexpr std::uint32_t kAlways = 0xffffffffu;

// The state of those that are chosen: active if there is one, else terminating.
BackendState chosen_state(std::span<const Backend> backends) noexcept {
  const bool any = std::any_of(backends.begin(), backends.end(),
                               [](const Backend& backend) { return backend.state == BackendState::active; });
  return any ? BackendState::active : BackendState::terminating;
}

// Appends the view of these backends, and returns how many it has.
std::uint16_t append_view(std::vector<patu_slot>& slots, std::span<const Backend> backends) {
  const std::size_t first = slots.size();
  const BackendState state = chosen_state(backends);
  for (const Backend& backend : backends)
    if (backend.state == state) slots.push_back(slot_of(backend));
  set_shares(std::span(slots).subspan(first));
  return static_cast<std::uint16_t>(slots.size() - first);
}

std::uint16_t append_rest(std::vector<patu_slot>& slots, std::span<const Backend> backends) {
  const BackendState state = chosen_state(backends);
  std::uint16_t count = 0;
  for (const Backend& backend : backends) {
    if (backend.state == state) continue;
    slots.push_back(slot_of(backend));
    ++count;
  }
  return count;
}

std::vector<Backend> local_of(std::span<const Backend> backends) {
  std::vector<Backend> out;
  std::copy_if(backends.begin(), backends.end(), std::back_inserter(out),
               [](const Backend& backend) { return backend.local; });
  return out;
}

}  // namespace

Slots lay_out(std::span<const Backend> backends, TrafficPolicy internal_policy) {
  const auto border = std::partition_point(backends.begin(), backends.end(),
                                           [](const Backend& backend) { return backend.endpoint.address.is_v4(); });
  const auto v4_count = static_cast<std::size_t>(border - backends.begin());
  const auto v4 = backends.first(v4_count);
  const auto v6 = backends.subspan(v4_count);
  Slots out;
  out.slots.reserve(backends.size());
  out.v4_view = append_view(out.slots, v4);
  out.v4_count = static_cast<std::uint16_t>(out.v4_view + append_rest(out.slots, v4));
  out.v6_view = append_view(out.slots, v6);
  out.v6_count = static_cast<std::uint16_t>(out.v6_view + append_rest(out.slots, v6));
  if (internal_policy != TrafficPolicy::local) return out;
  out.v4_local = append_view(out.slots, local_of(v4));
  out.v6_local = append_view(out.slots, local_of(v6));
  return out;
}

bool is_cluster(const patu_listed_frontend& frontend) noexcept {
  return (frontend.flags & PATU_FRONTEND_KIND) == PATU_KIND_CLUSTER;
}

View view_of(const patu_service& head, const patu_listed_frontend& frontend) noexcept {
  const bool v4 = to_address(frontend.key.addr).is_v4();
  if (is_cluster(frontend) && (head.flags & PATU_SERVICE_LOCAL) != 0) {
    const std::uint32_t copies = head.base + backends_of(head);
    return v4 ? View{copies, head.v4_local} : View{copies + head.v4_local, head.v6_local};
  }
  return v4 ? View{head.base, head.v4_view} : View{head.base + head.v4_count, head.v6_view};
}

std::uint64_t word_of(const patu_service& head, const patu_listed_frontend& frontend) noexcept {
  const View view = view_of(head, frontend);
  return patu_word(view.base, view.count, head.generation, patu_frontend_tag(&frontend.key));
}

std::uint32_t slots_of(const patu_service& head) noexcept { return backends_of(head) + head.v4_local + head.v6_local; }

std::uint32_t backends_of(const patu_service& head) noexcept {
  return std::uint32_t{head.v4_count} + std::uint32_t{head.v6_count};
}

// In units in which every slot of the view is met `total` times, and its backend is to be chosen weight * count times: who has
// too much gives to who has too little. What a slot keeps is at least one unit, for no weight is zero.
void set_shares(std::span<patu_slot> view) {
  const auto differs = [&](const patu_slot& slot) { return slot.weight != view.front().weight; };
  if (std::none_of(view.begin(), view.end(), differs)) {
    for (std::size_t i = 0; i < view.size(); ++i) {
      view[i].threshold = kAlways;
      view[i].alias = static_cast<std::uint16_t>(i);
    }
    return;
  }
  std::uint64_t total = 0;
  for (const patu_slot& slot : view) total += slot.weight;
  std::vector<std::uint64_t> units(view.size());
  std::vector<std::size_t> poor;
  std::vector<std::size_t> rich;
  for (std::size_t i = 0; i < view.size(); ++i) {
    units[i] = std::uint64_t{view[i].weight} * view.size();
    view[i].threshold = kAlways;
    view[i].alias = static_cast<std::uint16_t>(i);
    if (units[i] < total) poor.push_back(i);
    if (units[i] > total) rich.push_back(i);
  }
  while (!poor.empty() && !rich.empty()) {
    const std::size_t from = rich.back();
    const std::size_t to = poor.back();
    poor.pop_back();
    view[to].threshold = static_cast<std::uint32_t>((units[to] << 32) / total - 1);
    view[to].alias = static_cast<std::uint16_t>(from);
    units[from] -= total - units[to];
    if (units[from] > total) continue;
    rich.pop_back();
    if (units[from] < total) poor.push_back(from);
  }
}

patu_slot slot_of(const Backend& backend) noexcept {
  patu_slot slot{};
  slot.addr = address_key(backend.endpoint.address);
  slot.port = htons(backend.endpoint.port);
  slot.threshold = kAlways;
  slot.weight = backend.weight;
  slot.state = static_cast<std::uint8_t>(backend.state);
  slot.local = backend.local ? 1 : 0;
  return slot;
}

Backend backend_of(const patu_slot& slot) noexcept {
  Backend backend({to_address(slot.addr), ntohs(slot.port)}, static_cast<BackendState>(slot.state));
  backend.weight = slot.weight;
  backend.local = slot.local != 0;
  return backend;
}

}  // namespace patu::services
