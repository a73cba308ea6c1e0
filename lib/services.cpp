// The public face of lib/services/.
#include "patu/services.hpp"

#include <algorithm>

#include "base/quote.hpp"
#include "base/try.hpp"
#include "services/events.hpp"
#include "services/explain.hpp"
#include "services/node_addresses.hpp"
#include "services/plan.hpp"
#include "services/stats.hpp"
#include "services/writer.hpp"

namespace patu {
namespace {

constexpr const char* kReadAddresses = "read the node's addresses";

}  // namespace

static_assert(ServiceTable::kMaxBackends == PATU_MAX_BACKENDS && PATU_MAX_BACKENDS <= PATU_CHUNK_SLOTS);
static_assert(ServiceTable::kMaxFrontends < PATU_SERVICE_BANK);

struct ServiceTable::State {
  State(std::shared_ptr<bpf::Instance> instance, nl::Socket socket) noexcept
      : writer(instance), reader(std::move(instance)), node(std::move(socket)) {}
  services::Writer writer;
  services::Store reader;  // for what the writer has no part in
  nl::Socket node;         // of the namespace whose addresses node ports are on
};

ServiceTable::ServiceTable(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
ServiceTable::ServiceTable(ServiceTable&&) noexcept = default;
ServiceTable& ServiceTable::operator=(ServiceTable&&) noexcept = default;
ServiceTable::~ServiceTable() = default;

Result<ServiceTable> ServiceTable::open(const Datapath& datapath, const Netns* node) {
  PATU_TRY_LET(socket, node == nullptr ? nl::Socket::open() : nl::Socket::open_in(node->fd()),
               "open the node's network namespace");
  return ServiceTable(std::make_unique<State>(datapath.instance(), std::move(socket)));
}

Result<> ServiceTable::upsert(const Service& service) {
  PATU_TRY_LET(plan, services::plan_of(service), "service " + quote(service.name));
  if (services::needs_node_addresses(service))
    PATU_TRY(services::ensure_node_addresses(state_->reader, state_->node),
             "service " + quote(service.name) + ": " + kReadAddresses);
  PATU_TRY(state_->writer.upsert(std::move(plan)), "service " + quote(service.name));
  return {};
}

Result<> ServiceTable::remove(std::string_view name) {
  if (!services::is_name(name)) return {};
  PATU_TRY(state_->writer.remove(services::key_of(name)), "remove service " + quote(name));
  return {};
}

Result<SyncReport> ServiceTable::sync(std::span<const Service> services, const SyncOptions& options) {
  if (!options.dry_run && std::any_of(services.begin(), services.end(), services::needs_node_addresses))
    PATU_TRY(services::ensure_node_addresses(state_->reader, state_->node), kReadAddresses);
  auto report = state_->writer.sync(services, options);
  if (!report) return fail(std::move(report.error()).context("sync services"));
  return report;
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

Result<std::vector<ServiceStats>> ServiceTable::stats() const {
  auto stats = services::read_stats(state_->reader);
  if (!stats) return fail(std::move(stats.error()).context("read statistics of services"));
  return stats;
}

Result<std::vector<Gauge>> ServiceTable::fill() const {
  auto gauges = services::read_fill(state_->reader);
  if (!gauges) return fail(std::move(gauges.error()).context("measure the maps of services"));
  return gauges;
}

Result<Explanation> ServiceTable::explain(const Endpoint& to, Protocol protocol, const Netns* from) const {
  const auto what = [&] { return "explain " + to.to_string() + "/" + std::string(to_string(protocol)); };
  std::optional<std::uint64_t> cookie;
  if (from != nullptr) {
    PATU_TRY_LET(found, from->cookie(), what());
    cookie = found;
  }
  auto explained = services::explain(state_->reader, to, protocol, cookie);
  if (!explained) return fail(std::move(explained.error()).context(what()));
  return explained;
}

Result<std::vector<IpAddress>> ServiceTable::refresh_node_addresses() {
  auto addresses = services::refresh_node_addresses(state_->reader, state_->node);
  if (!addresses) return fail(std::move(addresses.error()).context(kReadAddresses));
  return addresses;
}

Result<ClosedSockets> ServiceTable::close_stale_sockets() { return state_->writer.close_stale_sockets(); }

struct ServiceEvents::State {
  std::unique_ptr<services::EventReader> reader;
};

ServiceEvents::ServiceEvents(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
ServiceEvents::ServiceEvents(ServiceEvents&&) noexcept = default;
ServiceEvents& ServiceEvents::operator=(ServiceEvents&&) noexcept = default;
ServiceEvents::~ServiceEvents() = default;

int ServiceEvents::fd() const noexcept { return state_->reader->fd(); }

Result<std::vector<ServiceEvent>> ServiceEvents::read() {
  auto events = state_->reader->read();
  if (!events) return fail(std::move(events.error()).context("read events of services"));
  return events;
}

Result<ServiceEvents> ServiceTable::events() const {
  PATU_TRY_LET(reader, services::EventReader::open(state_->reader.shared()), "open the events of services");
  return ServiceEvents(std::make_unique<ServiceEvents::State>(ServiceEvents::State{std::move(reader)}));
}

}  // namespace patu
