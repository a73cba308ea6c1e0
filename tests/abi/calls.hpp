// Every call of the C ABI that can fail, with what it needs: for tests that do the same to each.
#pragma once

#include <unistd.h>

#include <functional>
#include <vector>

#include "world.hpp"

namespace patu::test {

struct Call {
  const char* name;
  // Succeeds; frees what it is given, and returns the call's status.
  std::function<patu_status(World&, patu_error**)> run;
};

// Runs `call`, which fills `out`, and frees that.
template <class Out, class Run, class Free>
patu_status freed(const Run& call, const Free& free_it) {
  Out* out = nullptr;
  const patu_status status = call(&out);
  CHECK((status == PATU_OK) == (out != nullptr));
  free_it(out);
  return status;
}

#define PATU_CALL(function, ...)                                                          \
  {                                                                                       \
#function, [](World& w, patu_error** err) { (void)w; return function(__VA_ARGS__, err); } \
  }
#define PATU_CALL_OUT(function, type, free_it, ...)                                                      \
  {                                                                                                      \
#function, [](World& w, patu_error** err) {                                                            \
      (void)w;                                                                                             \
      return freed<type>([&](type** out) { return function(__VA_ARGS__, out, err); }, free_it);           \
    } \
  }

inline std::vector<Call> value_calls() {
  thread_local patu_address address;
  thread_local patu_prefix prefix;
  thread_local patu_endpoint endpoint;
  thread_local patu_mac mac;
  thread_local char text[PATU_ENDPOINT_TEXT_SIZE];
  return {
      PATU_CALL(patu_address_parse, "fd00:200:1234:5678:9abc:def0:1234:5678", &address),
      PATU_CALL(patu_address_format, &address, text, sizeof text),
      PATU_CALL(patu_prefix_parse, "fd00:200:1234:5678::/64", &prefix),
      PATU_CALL(patu_prefix_format, &prefix, text, sizeof text),
      PATU_CALL(patu_endpoint_parse, "[fd00:200:1234:5678:9abc:def0:1234:5678]:65535", &endpoint),
      PATU_CALL(patu_endpoint_format, &endpoint, text, sizeof text),
      PATU_CALL(patu_mac_parse, "0a:58:0a:c8:00:02", &mac),
      PATU_CALL(patu_mac_format, &mac, text, sizeof text),
  };
}

inline std::vector<Call> handle_calls() {
  thread_local std::uint64_t cookie;
  thread_local patu_address address;
  thread_local patu_closed_sockets closed;
  thread_local patu_pool_usage usage;
  thread_local patu_mac mac;
  return {
      PATU_CALL_OUT(patu_netns_open_fd, patu_netns, patu_netns_close, patu_netns_fd(w.netns)),
      PATU_CALL_OUT(patu_netns_open_path, patu_netns, patu_netns_close, "/proc/self/ns/net"),
      PATU_CALL_OUT(patu_netns_open_pid, patu_netns, patu_netns_close, ::getpid()),
      {"patu_netns_open_current",
       [](World&, patu_error** err) {
         return freed<patu_netns>([&](patu_netns** out) { return patu_netns_open_current(out, err); },
                                  patu_netns_close);
       }},
      {"patu_netns_create",
       [](World&, patu_error** err) {
         return freed<patu_netns>([&](patu_netns** out) { return patu_netns_create(out, err); }, patu_netns_close);
       }},
      PATU_CALL(patu_netns_cookie, w.netns, &cookie),
      PATU_CALL_OUT(patu_datapath_open, patu_datapath, patu_datapath_close, &w.options),
      PATU_CALL_OUT(patu_datapath_adopt, patu_datapath, patu_datapath_close, &w.options),
      PATU_CALL_OUT(patu_datapath_status, patu_datapath_state, patu_datapath_state_free, w.datapath),
      PATU_CALL_OUT(patu_address_pool_open, patu_address_pool, patu_address_pool_close, w.datapath, &w.pool),
      PATU_CALL(patu_address_pool_acquire, w.addresses, &w.leased, nullptr, &address),
      PATU_CALL(patu_address_pool_find, w.addresses, &w.leased, &address),
      PATU_CALL_OUT(patu_address_pool_list, patu_leases, patu_leases_free, w.addresses),
      PATU_CALL(patu_address_pool_usage, w.addresses, &usage),
      PATU_CALL(patu_address_pool_release, w.addresses, &w.leased),
      PATU_CALL_OUT(patu_network_open, patu_network, patu_network_close, w.datapath, &w.network),
      PATU_CALL_OUT(patu_network_adopt, patu_network, patu_network_close, w.datapath, &w.network),
      PATU_CALL(patu_network_bridge_mac, w.net, &mac),
      PATU_CALL_OUT(patu_network_attach, patu_attachments, patu_attachments_free, w.net, &w.pod, 1),
      PATU_CALL_OUT(patu_network_check, patu_deviations, patu_deviations_free, w.net, &w.id, w.netns),
      PATU_CALL_OUT(patu_network_list, patu_attachments, patu_attachments_free, w.net),
      PATU_CALL_OUT(patu_network_find, patu_attachments, patu_attachments_free, w.net, &w.id),
      PATU_CALL_OUT(patu_network_reconcile, patu_reconcile_report, patu_reconcile_report_free, w.net),
      PATU_CALL_OUT(patu_network_reconcile_keep, patu_reconcile_report, patu_reconcile_report_free, w.net, &w.id, 1),
      PATU_CALL_OUT(patu_service_table_open, patu_service_table, patu_service_table_close, w.datapath, w.netns),
      PATU_CALL(patu_service_table_upsert, w.table, &w.service),
      PATU_CALL_OUT(patu_service_table_sync, patu_sync_report, patu_sync_report_free, w.table, &w.service, 1, 0),
      PATU_CALL_OUT(patu_service_table_find, patu_services, patu_services_free, w.table, "default/web"),
      PATU_CALL_OUT(patu_service_table_list, patu_services, patu_services_free, w.table),
      PATU_CALL_OUT(patu_service_table_stats, patu_stats, patu_stats_free, w.table),
      PATU_CALL_OUT(patu_service_table_fill, patu_gauges, patu_gauges_free, w.table),
      PATU_CALL_OUT(patu_service_table_explain, patu_explanation, patu_explanation_free, w.table, &w.frontend.endpoint,
                    PATU_TCP, w.netns),
      PATU_CALL_OUT(patu_service_table_refresh_node_addresses, patu_addresses, patu_addresses_free, w.table),
      PATU_CALL(patu_service_table_close_stale_sockets, w.table, &closed),
      PATU_CALL_OUT(patu_event_reader_read, patu_events, patu_events_free, w.reader),
  };
}

// These change the world, and put it back.
inline std::vector<Call> changing_calls() {
  return {
      {"patu_network_detach and attach",
       [](World& w, patu_error** err) {
         const patu_status status = patu_network_detach(w.net, &w.id, 1, err);
         return status != PATU_OK ? status : patu_network_attach(w.net, &w.pod, 1, nullptr, err);
       }},
      {"patu_network_abandon and attach",
       [](World& w, patu_error** err) {
         const patu_status status = patu_network_abandon(w.net, &w.id, err);
         return status != PATU_OK ? status : patu_network_attach(w.net, &w.pod, 1, nullptr, err);
       }},
      {"patu_service_table_remove and upsert",
       [](World& w, patu_error** err) {
         const patu_status status = patu_service_table_remove(w.table, w.service.name, err);
         return status != PATU_OK ? status : patu_service_table_upsert(w.table, &w.service, err);
       }},
      {"patu_service_table_sync",
       [](World& w, patu_error** err) {
         patu_service other = w.service;
         patu_frontend frontend = w.frontend;
         frontend.endpoint.port = 81;
         other.name = "default/other";
         other.frontends = &frontend;
         const patu_service both[] = {w.service, other};
         const patu_status status = patu_service_table_sync(w.table, both, 2, 0, nullptr, err);
         return status != PATU_OK ? status : patu_service_table_sync(w.table, both, 1, 0, nullptr, err);
       }},
      {"patu_event_reader_close and open",
       [](World& w, patu_error** err) {
         patu_event_reader_close(w.reader);
         w.reader = nullptr;
         return patu_event_reader_open(w.table, &w.reader, err);
       }},
  };
}

}  // namespace patu::test
