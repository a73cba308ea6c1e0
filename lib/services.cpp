// The public face of lib/services/.
#include "patu/services.hpp"

#include "base/quote.hpp"
#include "base/try.hpp"
#include "services/plan.hpp"
#include "services/writer.hpp"

namespace patu {

static_assert(ServiceTable::kMaxBackends == PATU_MAX_BACKENDS && PATU_MAX_BACKENDS <= PATU_CHUNK_SLOTS);
static_assert(ServiceTable::kMaxFrontends < PATU_SERVICE_BANK);

struct ServiceTable::State {
  explicit State(std::shared_ptr<bpf::Instance> instance) noexcept : writer(std::move(instance)) {}
  services::Writer writer;
};

ServiceTable::ServiceTable(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
ServiceTable::ServiceTable(ServiceTable&&) noexcept = default;
ServiceTable& ServiceTable::operator=(ServiceTable&&) noexcept = default;
ServiceTable::~ServiceTable() = default;

Result<ServiceTable> ServiceTable::open(const Datapath& datapath) {
  return ServiceTable(std::make_unique<State>(datapath.instance()));
}

Result<> ServiceTable::upsert(const Service& service) {
  PATU_TRY_LET(plan, services::plan_of(service), "service " + quote(service.name));
  PATU_TRY(state_->writer.upsert(plan), "service " + quote(service.name));
  return {};
}

Result<> ServiceTable::remove(std::string_view name) {
  if (!services::is_name(name)) return {};
  PATU_TRY(state_->writer.remove(services::key_of(name)), "remove service " + quote(name));
  return {};
}

Result<Service> ServiceTable::find(std::string_view name) const {
  std::optional<Service> found;
  if (services::is_name(name)) {
    PATU_TRY_LET(service, state_->writer.find(services::key_of(name)), "find service " + quote(name));
    found = std::move(service);
  }
  if (!found) return fail(Errc::not_found, "there is no service " + quote(name));
  return std::move(*found);
}

Result<std::vector<Service>> ServiceTable::list() const {
  auto services = state_->writer.list();
  if (!services) return fail(std::move(services.error()).context("list services"));
  return services;
}

}  // namespace patu
