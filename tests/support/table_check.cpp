// The rules are written a second time here, from the API's words.
#include "table_check.hpp"

#include <algorithm>
#include <set>
#include <sstream>
#include <stdexcept>

#include "bpf/instance.hpp"
#include "services/store.hpp"

namespace patu::test {
namespace {

template <class T>
T must(Result<T>&& result) {
  if (!result) throw std::runtime_error(result.error().to_string());
  return std::move(*result);
}

std::vector<Backend> in_state(const std::vector<Backend>& backends, BackendState state) {
  std::vector<Backend> out;
  std::copy_if(backends.begin(), backends.end(), std::back_inserter(out),
               [&](const Backend& backend) { return backend.state == state; });
  return out;
}

template <class Key, class Value>
std::size_t count(const bpf::Map<Key, Value>& map) {
  std::size_t elements = 0;
  const auto visited = map.visit([&](const Key&, const Value&) -> Result<> {
    ++elements;
    return {};
  });
  if (!visited) throw std::runtime_error(visited.error().to_string());
  return elements;
}

class Check final {
 public:
  explicit Check(const ServiceLab& lab)
      : lab_(lab), instance_(*lab.datapath().instance()), store_(lab.datapath().instance()) {}

  std::string run() {
    for (const Service& service : must(lab_.open_table().list())) check_service(service);
    check_addresses();
    check_table();
    return text_.str();
  }

 private:
  template <class A, class B>
  void equal(const std::string& what, const A& is, const B& should_be) {
    if (static_cast<std::uint64_t>(is) != static_cast<std::uint64_t>(should_be))
      text_ << what << " is " << is << " and should be " << should_be << "\n";
  }

  void check_service(const Service& service) {
    const auto record = must(store_.record(services::key_of(service.name)));
    if (!record) return void(text_ << service.name << " has no record\n");
    service_entries_ += 1 + (service.frontends.size() - 1) / PATU_SERVICE_FRONTENDS;
    ++services_;
    if (!must(instance_.counters().lookup(record->head.id))) text_ << service.name << " has no counters\n";
    for (const Frontend& frontend : service.frontends) {
      ++frontends_;
      const patu_listed_frontend listed = services::listed_of(frontend);
      if (listed.key.scope == PATU_SCOPE_NODE) ++wildcards_;
      if (frontend.reserve_port) ++reserved_;
      if (frontend.kind == FrontendKind::cluster) ++clusters_[frontend.endpoint.address];
      const std::string name = service.name + " at " + frontend.endpoint.to_string();
      const auto value = must(instance_.frontends().lookup(listed.key));
      if (!value) {
        text_ << name << " is missing\n";
        continue;
      }
      equal(name + ": service", value->service_id, record->head.id);
      equal(name + ": flags", value->flags, listed.flags);
      equal(name + ": affinity", value->affinity_timeout_s, service.affinity_timeout.count());
      if (led_to(lab_, frontend) != candidates(service, frontend)) text_ << name << " leads elsewhere\n";
    }
  }

  void check_addresses() {
    std::size_t entries = 0;
    const auto visited = instance_.addresses().visit([&](const patu_addr& key, const patu_address& value) -> Result<> {
      ++entries;
      const IpAddress address = services::endpoint_of(key, 0).address;
      equal("frontends of " + address.to_string(), value.clusters, clusters_[address]);
      if (value.clusters == 0 && value.flags == 0) text_ << address.to_string() << " is kept for nothing\n";
      return {};
    });
    if (!visited) text_ << visited.error().to_string();
    for (const auto& [address, number] : clusters_)
      if (number != 0 && !must(instance_.addresses().lookup(services::listed_of({{address, 1}}).key.addr)))
        text_ << address.to_string() << " is missing\n";
    equal("address_entries", must(store_.table()).address_entries, entries);
  }

  void check_table() {
    const patu_service_table table = must(store_.table());
    equal("sequence % 2", table.sequence % 2, 0u);
    equal("frontends in the map", count(instance_.frontends()), frontends_);
    equal("frontend_entries", table.frontend_entries, frontends_);
    equal("services in the map", count(instance_.services()), service_entries_);
    equal("service_entries", table.service_entries, service_entries_);
    equal("counters in the map", count(instance_.counters()), services_);
    equal("stale_entries", table.stale_entries, count(instance_.stale()));
    equal("wildcards", table.wildcards, wildcards_);
    equal("reserved_ports", table.reserved_ports, reserved_);
  }

  const ServiceLab& lab_;
  const bpf::Instance& instance_;
  services::Store store_;
  std::ostringstream text_;
  std::size_t services_ = 0;
  std::size_t service_entries_ = 0;
  std::size_t frontends_ = 0;
  std::size_t wildcards_ = 0;
  std::size_t reserved_ = 0;
  std::map<IpAddress, std::uint32_t> clusters_;
};

}  // namespace

std::string faults(const ServiceLab& lab) { return Check(lab).run(); }

std::optional<std::vector<Endpoint>> led_to(const ServiceLab& lab, const Frontend& frontend) {
  const patu_listed_frontend listed = services::listed_of(frontend);
  const auto value = must(lab.datapath().instance()->frontends().lookup(listed.key));
  if (!value) return std::nullopt;
  std::vector<Endpoint> out;
  services::SlotTable slots(lab.datapath().instance());
  for (const patu_slot& slot : must(slots.read({patu_word_base(value->word), patu_word_count(value->word)}))) {
    if (slot.generation != patu_word_generation(value->word)) throw std::runtime_error("a slot of another generation");
    out.push_back(services::backend_of(slot).endpoint);
  }
  if (patu_word_tag(value->word) != patu_frontend_tag(&listed.key)) throw std::runtime_error("another frontend's tag");
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Endpoint> candidates(const Service& service, const Frontend& frontend) {
  const bool only_local = service.internal_policy == TrafficPolicy::local && frontend.kind == FrontendKind::cluster;
  std::vector<Backend> backends;
  for (const Backend& backend : service.backends)
    if (backend.endpoint.address.is_v4() == frontend.endpoint.address.is_v4() && (backend.local || !only_local))
      backends.push_back(backend);
  std::vector<Backend> chosen = in_state(backends, BackendState::active);
  if (chosen.empty()) chosen = in_state(backends, BackendState::terminating);
  std::vector<Endpoint> out;
  for (const Backend& backend : chosen) out.push_back(backend.endpoint);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace patu::test
