// The service table: changing it, reading it, asking it.
#include "handles.hpp"
#include "input.hpp"
#include "output.hpp"

struct patu_services : patu::c::List<patu_service> {};
struct patu_refusals : patu::c::List<patu_refusal> {};
struct patu_stats : patu::c::List<patu_service_stats> {};
struct patu_gauges : patu::c::List<patu_gauge> {};

namespace {

using namespace patu;
using namespace patu::c;

struct SyncResult final : patu_sync_report {
  patu_names all_added;
  patu_names all_changed;
  patu_names all_removed;
  patu_refusals all_refused;
};

struct Explained final : patu_explanation {
  Arena arena;
};

patu_service convert_service(Arena& arena, const Service& service) {
  return {
      .struct_size = sizeof(patu_service),
      .name = arena.text(service.name),
      .frontends = arena.array<patu_frontend>(service.frontends, [](const Frontend& f) { return to_c(f); }),
      .frontend_count = service.frontends.size(),
      .backends = arena.array<patu_backend>(service.backends, [](const Backend& b) { return to_c(b); }),
      .backend_count = service.backends.size(),
      .affinity_seconds = static_cast<std::uint32_t>(service.affinity_timeout.count()),
      .flags = (service.internal_policy == TrafficPolicy::local ? PATU_SERVICE_INTERNAL_LOCAL : 0) |
               (service.close_tcp ? PATU_SERVICE_CLOSE_TCP : 0),
  };
}

patu_refusal convert_refusal(Arena& arena, const RefusedService& refused) {
  return {sizeof(patu_refusal), arena.text(refused.name), arena.text(refused.reason),
          static_cast<patu_status>(refused.code), 0};
}

patu_service_stats convert_stats(Arena& arena, const ServiceStats& stats) {
  return {sizeof(patu_service_stats), arena.text(stats.name), stats.connects, stats.refused, stats.retries,
          stats.affinity_hits};
}

patu_gauge convert_gauge(Arena& arena, const Gauge& gauge) {
  return {sizeof(patu_gauge), arena.text(gauge.name), gauge.used, gauge.limit};
}

patu_closed_sockets convert(const ClosedSockets& closed) {
  return {closed.closed, closed.namespaces, closed.unreachable, 0};
}

std::unique_ptr<SyncResult> convert(const SyncReport& report) {
  auto out = std::make_unique<SyncResult>();
  out->all_added.fill(report.added);
  out->all_changed.fill(report.changed);
  out->all_removed.fill(report.removed);
  fill(out->all_refused, report.refused, convert_refusal);
  static_cast<patu_sync_report&>(*out) = {
      .struct_size = sizeof(patu_sync_report),
      .added = &out->all_added,
      .changed = &out->all_changed,
      .removed = &out->all_removed,
      .refused = &out->all_refused,
      .unchanged = report.unchanged,
      .closed = convert(report.closed),
  };
  return out;
}

std::unique_ptr<Explained> convert(const Explanation& explanation) {
  auto out = std::make_unique<Explained>();
  Arena& arena = out->arena;
  static_cast<patu_explanation&>(*out) = {
      .struct_size = sizeof(patu_explanation),
      .why = arena.text(explanation.why),
      .service = arena.text_or_null(explanation.service),
      .frontend = explanation.frontend ? arena.one(to_c(*explanation.frontend)) : nullptr,
      .candidates = arena.array<patu_backend>(explanation.candidates, [](const Backend& b) { return to_c(b); }),
      .candidate_count = explanation.candidates.size(),
      .preferred = explanation.preferred ? arena.one(to_c(*explanation.preferred)) : nullptr,
      .verdict = static_cast<std::uint32_t>(explanation.verdict),
      .reserved = 0,
  };
  return out;
}

static_assert(static_cast<int>(FrontendKind::cluster) == PATU_FRONTEND_CLUSTER);
static_assert(static_cast<int>(FrontendKind::load_balancer) == PATU_FRONTEND_LOAD_BALANCER);
static_assert(static_cast<int>(FrontendKind::external) == PATU_FRONTEND_EXTERNAL);
static_assert(static_cast<int>(FrontendKind::node_port) == PATU_FRONTEND_NODE_PORT);
static_assert(static_cast<int>(FrontendKind::host_port) == PATU_FRONTEND_HOST_PORT);
static_assert(static_cast<int>(BackendState::active) == PATU_BACKEND_ACTIVE);
static_assert(static_cast<int>(BackendState::terminating) == PATU_BACKEND_TERMINATING);
static_assert(static_cast<int>(BackendState::maintenance) == PATU_BACKEND_MAINTENANCE);
static_assert(static_cast<int>(Protocol::tcp) == PATU_TCP && static_cast<int>(Protocol::udp) == PATU_UDP);
static_assert(static_cast<int>(Explanation::Verdict::untouched) == PATU_VERDICT_UNTOUCHED);
static_assert(static_cast<int>(Explanation::Verdict::translated) == PATU_VERDICT_TRANSLATED);
static_assert(static_cast<int>(Explanation::Verdict::refused) == PATU_VERDICT_REFUSED);

}  // namespace

patu_status patu_service_table_open(const patu_datapath* datapath, const patu_netns* node, patu_service_table** table,
                                    patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(datapath, "datapath"));
    PATU_TRY(check_given(table, "table"));
    return hand_out(ServiceTable::open(datapath->datapath, read_netns(node)), table);
  });
}

void patu_service_table_close(patu_service_table* table) { delete table; }

patu_status patu_service_table_upsert(patu_service_table* table, const patu_service* service, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY_LET(given, read_struct(service, "service"));
    PATU_TRY_LET(known, read_service(given));
    return table->table.upsert(known);
  });
}

patu_status patu_service_table_remove(patu_service_table* table, const char* name, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY_LET(text, read_text(name, "name"));
    return table->table.remove(text);
  });
}

patu_status patu_service_table_sync(patu_service_table* table, const patu_service* services, std::size_t count,
                                    std::uint32_t flags, patu_sync_report** report, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_flags(flags, PATU_SYNC_ALLOW_EMPTY | PATU_SYNC_DRY_RUN, "sync's"));
    std::vector<Service> known;
    PATU_TRY(for_each(services, count, "service", [&](const patu_service& given) -> Result<> {
      PATU_TRY_LET(service, read_service(given));
      known.push_back(std::move(service));
      return {};
    }));
    const SyncOptions options{.allow_empty = (flags & PATU_SYNC_ALLOW_EMPTY) != 0,
                              .dry_run = (flags & PATU_SYNC_DRY_RUN) != 0};
    PATU_TRY_LET(done, table->table.sync(known, options));
    if (report != nullptr) *report = convert(done).release();
    return {};
  });
}

patu_status patu_service_table_find(const patu_service_table* table, const char* name, patu_services** services,
                                    patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_given(services, "services"));
    PATU_TRY_LET(text, read_text(name, "name"));
    PATU_TRY_LET(found, table->table.find(text));
    auto out = std::make_unique<patu_services>();
    out->items.push_back(convert_service(out->memory, found));
    *services = out.release();
    return {};
  });
}

patu_status patu_service_table_list(const patu_service_table* table, patu_services** services, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_given(services, "services"));
    PATU_TRY_LET(all, table->table.list());
    *services = list_of<patu_services>(all, convert_service).release();
    return {};
  });
}

patu_status patu_service_table_stats(const patu_service_table* table, patu_stats** stats, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_given(stats, "stats"));
    PATU_TRY_LET(all, table->table.stats());
    *stats = list_of<patu_stats>(all, convert_stats).release();
    return {};
  });
}

patu_status patu_service_table_fill(const patu_service_table* table, patu_gauges** gauges, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_given(gauges, "gauges"));
    PATU_TRY_LET(all, table->table.fill());
    *gauges = list_of<patu_gauges>(all, convert_gauge).release();
    return {};
  });
}

patu_status patu_service_table_explain(const patu_service_table* table, const patu_endpoint* to, std::uint32_t protocol,
                                       const patu_netns* from, patu_explanation** explanation, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY(check_given(to, "to"));
    PATU_TRY(check_given(explanation, "explanation"));
    PATU_TRY_LET(known, read_protocol(protocol));
    PATU_TRY_LET(explained, table->table.explain(read_endpoint(*to), known, read_netns(from)));
    *explanation = convert(explained).release();
    return {};
  });
}

patu_status patu_service_table_refresh_node_addresses(patu_service_table* table, patu_addresses** addresses,
                                                      patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY_LET(found, table->table.refresh_node_addresses());
    if (addresses == nullptr) return {};
    auto out = std::make_unique<patu_addresses>();
    out->fill(found);
    *addresses = out.release();
    return {};
  });
}

patu_status patu_service_table_close_stale_sockets(patu_service_table* table, patu_closed_sockets* closed,
                                                   patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(table, "table"));
    PATU_TRY_LET(done, table->table.close_stale_sockets());
    if (closed != nullptr) *closed = convert(done);
    return {};
  });
}

void patu_sync_report_free(patu_sync_report* report) { delete static_cast<SyncResult*>(report); }
void patu_explanation_free(patu_explanation* explanation) { delete static_cast<Explained*>(explanation); }

std::size_t patu_services_count(const patu_services* services) { return count_of(services); }
const patu_service* patu_services_at(const patu_services* services, std::size_t index) {
  return item_of(services, index);
}
void patu_services_free(patu_services* services) { delete services; }

std::size_t patu_refusals_count(const patu_refusals* refusals) { return count_of(refusals); }
const patu_refusal* patu_refusals_at(const patu_refusals* refusals, std::size_t index) {
  return item_of(refusals, index);
}

std::size_t patu_stats_count(const patu_stats* stats) { return count_of(stats); }
const patu_service_stats* patu_stats_at(const patu_stats* stats, std::size_t index) { return item_of(stats, index); }
void patu_stats_free(patu_stats* stats) { delete stats; }

std::size_t patu_gauges_count(const patu_gauges* gauges) { return count_of(gauges); }
const patu_gauge* patu_gauges_at(const patu_gauges* gauges, std::size_t index) { return item_of(gauges, index); }
void patu_gauges_free(patu_gauges* gauges) { delete gauges; }
