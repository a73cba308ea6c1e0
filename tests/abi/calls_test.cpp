// What every call of the C ABI does with NULL, with zeroed structs, and when it is made twice.
#include "calls.hpp"

#include <cstring>

namespace patu::test {
namespace {

// With an error wanted and without.
#define REFUSES(expected, call)                          \
  do {                                                   \
    CAPTURE(#call);                                      \
    Failure failure;                                     \
    patu_error** err = failure.out();                    \
    CHECK((call) == (expected));                         \
    CHECK(failure.error != nullptr);                     \
    CHECK(patu_error_code(failure.error) == (expected)); \
    CHECK(!failure.text().empty());                      \
    err = nullptr;                                       \
    CHECK((call) == (expected));                         \
  } while (false)

#define REFUSES_NULL(call) REFUSES(PATU_E_INVALID_ARGUMENT, call)

// An output that must stay as it is.
template <class Type>
Type* untouched() {
  return reinterpret_cast<Type*>(std::uintptr_t{0x5a5a});
}

TEST_CASE("every call makes what it says, twice, and needs no error to be asked for") {
  World world;
  for (const auto& calls : {value_calls(), handle_calls(), changing_calls()})
    for (const Call& call : calls)
      for (int round = 0; round < 2; ++round) {
        CAPTURE(std::string(call.name));
        Failure failure;
        const bool is_find = std::strcmp(call.name, "patu_address_pool_find") == 0;
        if (is_find) PATU_GOOD(patu_address_pool_acquire(world.addresses, &world.leased, nullptr, nullptr, err));
        const patu_status status = call.run(world, round == 0 ? failure.out() : nullptr);
        INFO(failure.text());
        CHECK(status == PATU_OK);
      }
  CHECK(patu_datapath_set_socket_redirect(world.datapath, 1, nullptr) == PATU_E_UNSUPPORTED);
}

TEST_CASE("values refuse NULL, and texts that do not fit") {
  patu_address address{};
  patu_prefix prefix{};
  patu_endpoint endpoint{};
  patu_mac mac{};
  char text[64] = "?";
  REFUSES_NULL(patu_address_parse(nullptr, &address, err));
  REFUSES_NULL(patu_address_parse("::1", nullptr, err));
  REFUSES_NULL(patu_address_format(nullptr, text, sizeof text, err));
  REFUSES_NULL(patu_address_format(&address, nullptr, sizeof text, err));
  REFUSES_NULL(patu_address_format(&address, text, 2, err));  // "::" and its end take three
  REFUSES_NULL(patu_prefix_parse(nullptr, &prefix, err));
  REFUSES_NULL(patu_prefix_parse("::/0", nullptr, err));
  REFUSES_NULL(patu_prefix_format(nullptr, text, sizeof text, err));
  REFUSES_NULL(patu_prefix_format(&prefix, nullptr, sizeof text, err));
  REFUSES_NULL(patu_prefix_format(&prefix, text, 4, err));
  REFUSES_NULL(patu_endpoint_parse(nullptr, &endpoint, err));
  REFUSES_NULL(patu_endpoint_parse("1.2.3.4:5", nullptr, err));
  REFUSES_NULL(patu_endpoint_format(nullptr, text, sizeof text, err));
  REFUSES_NULL(patu_endpoint_format(&endpoint, nullptr, sizeof text, err));
  REFUSES_NULL(patu_endpoint_format(&endpoint, text, 0, err));
  REFUSES_NULL(patu_mac_parse(nullptr, &mac, err));
  REFUSES_NULL(patu_mac_parse("00:00:00:00:00:00", nullptr, err));
  REFUSES_NULL(patu_mac_format(nullptr, text, sizeof text, err));
  REFUSES_NULL(patu_mac_format(&mac, nullptr, sizeof text, err));
  REFUSES_NULL(patu_mac_format(&mac, text, 17, err));
  CHECK(std::strcmp(text, "?") == 0);
  CHECK(patu_address_format(&address, text, 3, nullptr) == PATU_OK);
  CHECK(std::strcmp(text, "::") == 0);
}

TEST_CASE("namespaces and the data path refuse NULL") {
  World w;
  std::uint64_t cookie = 0;
  auto* netns = untouched<patu_netns>();
  auto* datapath = untouched<patu_datapath>();
  REFUSES_NULL(patu_netns_open_fd(0, nullptr, err));
  REFUSES_NULL(patu_netns_open_fd(-1, &netns, err));
  REFUSES_NULL(patu_netns_open_path(nullptr, &netns, err));
  REFUSES_NULL(patu_netns_open_path("/proc/self/ns/net", nullptr, err));
  REFUSES_NULL(patu_netns_open_pid(0, &netns, err));
  REFUSES_NULL(patu_netns_open_pid(1, nullptr, err));
  REFUSES_NULL(patu_netns_open_current(nullptr, err));
  REFUSES_NULL(patu_netns_create(nullptr, err));
  REFUSES_NULL(patu_netns_cookie(nullptr, &cookie, err));
  REFUSES_NULL(patu_netns_cookie(w.netns, nullptr, err));
  REFUSES_NULL(patu_datapath_open(&w.options, nullptr, err));
  REFUSES_NULL(patu_datapath_status(nullptr, nullptr, err));
  REFUSES_NULL(patu_datapath_status(w.datapath, nullptr, err));
  REFUSES_NULL(patu_datapath_set_socket_redirect(nullptr, 1, err));
  REFUSES_NULL(patu_datapath_set_socket_redirect(w.datapath, 2, err));
  CHECK(netns == untouched<patu_netns>());
  CHECK(datapath == untouched<patu_datapath>());
}

TEST_CASE("pools refuse NULL") {
  World w;
  patu_address address{};
  auto* pool = untouched<patu_address_pool>();
  patu_leases* leases = nullptr;
  const patu_attachment_id nobody{nullptr, nullptr};
  REFUSES_NULL(patu_address_pool_open(nullptr, &w.pool, &pool, err));
  REFUSES_NULL(patu_address_pool_open(w.datapath, nullptr, &pool, err));
  REFUSES_NULL(patu_address_pool_open(w.datapath, &w.pool, nullptr, err));
  REFUSES_NULL(patu_address_pool_acquire(nullptr, &w.id, nullptr, &address, err));
  REFUSES_NULL(patu_address_pool_acquire(w.addresses, nullptr, nullptr, &address, err));
  REFUSES_NULL(patu_address_pool_acquire(w.addresses, &nobody, nullptr, &address, err));
  REFUSES_NULL(patu_address_pool_release(nullptr, &w.id, err));
  REFUSES_NULL(patu_address_pool_release(w.addresses, nullptr, err));
  REFUSES_NULL(patu_address_pool_find(nullptr, &w.id, &address, err));
  REFUSES_NULL(patu_address_pool_find(w.addresses, nullptr, &address, err));
  REFUSES_NULL(patu_address_pool_find(w.addresses, &w.id, nullptr, err));
  REFUSES(PATU_E_NOT_FOUND, patu_address_pool_find(w.addresses, &w.id, &address, err));
  REFUSES_NULL(patu_address_pool_list(nullptr, &leases, err));
  REFUSES_NULL(patu_address_pool_list(w.addresses, nullptr, err));
  CHECK(pool == untouched<patu_address_pool>());
}

TEST_CASE("networks refuse NULL") {
  World w;
  auto* network = untouched<patu_network>();
  patu_attachments* attachments = nullptr;
  patu_deviations* deviations = nullptr;
  REFUSES_NULL(patu_network_open(nullptr, &w.network, &network, err));
  REFUSES_NULL(patu_network_open(w.datapath, nullptr, &network, err));
  REFUSES_NULL(patu_network_open(w.datapath, &w.network, nullptr, err));
  REFUSES_NULL(patu_network_attach(nullptr, &w.pod, 1, &attachments, err));
  REFUSES_NULL(patu_network_attach(w.net, nullptr, 1, &attachments, err));
  REFUSES_NULL(patu_network_detach(nullptr, &w.id, 1, err));
  REFUSES_NULL(patu_network_detach(w.net, nullptr, 1, err));
  REFUSES_NULL(patu_network_abandon(nullptr, &w.id, err));
  REFUSES_NULL(patu_network_abandon(w.net, nullptr, err));
  REFUSES_NULL(patu_network_check(nullptr, &w.id, nullptr, &deviations, err));
  REFUSES_NULL(patu_network_check(w.net, nullptr, w.netns, &deviations, err));
  REFUSES_NULL(patu_network_check(w.net, nullptr, nullptr, nullptr, err));
  REFUSES_NULL(patu_network_list(nullptr, &attachments, err));
  REFUSES_NULL(patu_network_list(w.net, nullptr, err));
  REFUSES_NULL(patu_network_find(nullptr, &w.id, &attachments, err));
  REFUSES_NULL(patu_network_find(w.net, nullptr, &attachments, err));
  REFUSES_NULL(patu_network_find(w.net, &w.id, nullptr, err));
  REFUSES_NULL(patu_network_reconcile(nullptr, nullptr, err));
  REFUSES_NULL(patu_network_reconcile_keep(nullptr, &w.id, 1, nullptr, err));
  REFUSES_NULL(patu_network_reconcile_keep(w.net, nullptr, 1, nullptr, err));
  REFUSES_NULL(patu_network_remove(nullptr, err));
  CHECK(network == untouched<patu_network>());
  CHECK(attachments == nullptr);
}

TEST_CASE("service tables and events refuse NULL") {
  World w;
  auto* table = untouched<patu_service_table>();
  auto* reader = untouched<patu_event_reader>();
  patu_services* services = nullptr;
  patu_stats* stats = nullptr;
  patu_gauges* gauges = nullptr;
  patu_events* events = nullptr;
  patu_explanation* explanation = nullptr;
  REFUSES_NULL(patu_service_table_open(nullptr, nullptr, &table, err));
  REFUSES_NULL(patu_service_table_open(w.datapath, nullptr, nullptr, err));
  REFUSES_NULL(patu_service_table_upsert(nullptr, &w.service, err));
  REFUSES_NULL(patu_service_table_upsert(w.table, nullptr, err));
  REFUSES_NULL(patu_service_table_remove(nullptr, "a", err));
  REFUSES_NULL(patu_service_table_remove(w.table, nullptr, err));
  REFUSES_NULL(patu_service_table_sync(nullptr, &w.service, 1, 0, nullptr, err));
  REFUSES_NULL(patu_service_table_sync(w.table, nullptr, 1, 0, nullptr, err));
  REFUSES_NULL(patu_service_table_sync(w.table, nullptr, 0, 0, nullptr, err));  // empty, and nobody allowed it
  REFUSES_NULL(patu_service_table_find(nullptr, "a", &services, err));
  REFUSES_NULL(patu_service_table_find(w.table, nullptr, &services, err));
  REFUSES_NULL(patu_service_table_find(w.table, "a", nullptr, err));
  REFUSES_NULL(patu_service_table_list(nullptr, &services, err));
  REFUSES_NULL(patu_service_table_list(w.table, nullptr, err));
  REFUSES_NULL(patu_service_table_stats(nullptr, &stats, err));
  REFUSES_NULL(patu_service_table_stats(w.table, nullptr, err));
  REFUSES_NULL(patu_service_table_fill(nullptr, &gauges, err));
  REFUSES_NULL(patu_service_table_fill(w.table, nullptr, err));
  REFUSES_NULL(patu_service_table_explain(nullptr, &w.frontend.endpoint, 0, nullptr, &explanation, err));
  REFUSES_NULL(patu_service_table_explain(w.table, nullptr, 0, nullptr, &explanation, err));
  REFUSES_NULL(patu_service_table_explain(w.table, &w.frontend.endpoint, 0, nullptr, nullptr, err));
  REFUSES_NULL(patu_service_table_refresh_node_addresses(nullptr, nullptr, err));
  REFUSES_NULL(patu_service_table_close_stale_sockets(nullptr, nullptr, err));
  REFUSES_NULL(patu_event_reader_open(nullptr, &reader, err));
  REFUSES_NULL(patu_event_reader_open(w.table, nullptr, err));
  REFUSES(PATU_E_BUSY, patu_event_reader_open(w.table, &reader, err));
  REFUSES_NULL(patu_event_reader_read(nullptr, &events, err));
  REFUSES_NULL(patu_event_reader_read(w.reader, nullptr, err));
  CHECK(table == untouched<patu_service_table>());
  CHECK(reader == untouched<patu_event_reader>());
}

TEST_CASE("what only reads, closes or frees takes NULL") {
  patu_error_free(nullptr), patu_netns_close(nullptr), patu_datapath_close(nullptr), patu_datapath_state_free(nullptr);
  patu_names_free(nullptr), patu_addresses_free(nullptr), patu_leases_free(nullptr), patu_address_pool_close(nullptr);
  patu_attachments_free(nullptr), patu_deviations_free(nullptr), patu_reconcile_report_free(nullptr);
  patu_network_close(nullptr), patu_services_free(nullptr), patu_sync_report_free(nullptr), patu_stats_free(nullptr);
  patu_gauges_free(nullptr), patu_explanation_free(nullptr), patu_service_table_close(nullptr);
  patu_events_free(nullptr), patu_event_reader_close(nullptr);
  CHECK(patu_error_code(nullptr) == PATU_OK);
  CHECK(patu_error_errno(nullptr) == 0);
  CHECK(std::strcmp(patu_error_text(nullptr), "") == 0);
  CHECK(patu_address_is_v4(nullptr) == 0);
  CHECK(patu_netns_fd(nullptr) == -1);
  CHECK(patu_netns_same(nullptr, nullptr) == 0);
  CHECK(patu_address_pool_subnet(nullptr) == nullptr);
  CHECK(std::strcmp(patu_network_bridge(nullptr), "") == 0);
  CHECK(patu_network_bridge_ifindex(nullptr) == 0);
  CHECK(patu_event_reader_fd(nullptr) == -1);
#define EMPTY(list)                         \
  CHECK(patu_##list##_count(nullptr) == 0); \
  CHECK(patu_##list##_at(nullptr, 0) == nullptr)
  EMPTY(names);
  EMPTY(addresses);
  EMPTY(ids);
  EMPTY(programs);
  EMPTY(maps);
  EMPTY(features);
  EMPTY(leases);
  EMPTY(attachments);
  EMPTY(deviations);
  EMPTY(services);
  EMPTY(refusals);
  EMPTY(stats);
  EMPTY(gauges);
  EMPTY(events);
}

TEST_CASE("a struct that nobody has initialised is refused") {
  World w;
  patu_datapath_options options{};
  patu_subnet subnet{};
  patu_network_options network{};
  patu_pod_spec pod{};
  patu_service service{};
  patu_datapath* datapath = nullptr;
  patu_address_pool* pool = nullptr;
  patu_network* opened = nullptr;
  REFUSES_NULL(patu_datapath_open(&options, &datapath, err));
  REFUSES_NULL(patu_datapath_unload(&options, 0, nullptr, err));
  REFUSES_NULL(patu_address_pool_open(w.datapath, &subnet, &pool, err));
  REFUSES_NULL(patu_network_open(w.datapath, &network, &opened, err));
  REFUSES_NULL(patu_network_attach(w.net, &pod, 1, nullptr, err));
  REFUSES_NULL(patu_service_table_upsert(w.table, &service, err));
  REFUSES_NULL(patu_service_table_sync(w.table, &service, 1, 0, nullptr, err));
  // With a size and nothing else, what has no default is missed.
  network.struct_size = sizeof network, pod.struct_size = sizeof pod, service.struct_size = sizeof service;
  subnet.struct_size = sizeof subnet;
  REFUSES_NULL(patu_network_open(w.datapath, &network, &opened, err));
  REFUSES_NULL(patu_network_attach(w.net, &pod, 1, nullptr, err));
  REFUSES_NULL(patu_service_table_upsert(w.table, &service, err));
  REFUSES_NULL(patu_address_pool_open(w.datapath, &subnet, &pool, err));
}

// As in memory that an allocator or a sanitizer has filled since it was freed: the size alone can tell.
TEST_CASE("a struct whose size cannot be is refused") {
  World w;
  for (const int byte : {0x5a, 0xbe, 0xdd, 0xf7, 0xff}) {
    CAPTURE(byte);
    patu_datapath_options options;
    patu_subnet subnet;
    patu_network_options network;
    patu_pod_spec pod;
    patu_service service;
    std::memset(&options, byte, sizeof options), std::memset(&subnet, byte, sizeof subnet);
    std::memset(&network, byte, sizeof network), std::memset(&pod, byte, sizeof pod);
    std::memset(&service, byte, sizeof service);
    patu_datapath* datapath = nullptr;
    patu_address_pool* pool = nullptr;
    patu_network* opened = nullptr;
    REFUSES_NULL(patu_datapath_open(&options, &datapath, err));
    REFUSES_NULL(patu_datapath_adopt(&options, &datapath, err));
    REFUSES_NULL(patu_datapath_unload(&options, 0, nullptr, err));
    REFUSES_NULL(patu_address_pool_open(w.datapath, &subnet, &pool, err));
    REFUSES_NULL(patu_network_open(w.datapath, &network, &opened, err));
    REFUSES_NULL(patu_network_adopt(w.datapath, &network, &opened, err));
    REFUSES_NULL(patu_network_attach(w.net, &pod, 1, nullptr, err));
    REFUSES_NULL(patu_service_table_upsert(w.table, &service, err));
    REFUSES_NULL(patu_service_table_sync(w.table, &service, 1, 0, nullptr, err));
  }
  for (const std::size_t size :
       {std::size_t{1}, sizeof(std::size_t) - 1, sizeof(patu_pod_spec) - 1, std::size_t{4096} + 8}) {
    CAPTURE(size);
    patu_pod_spec pod = w.pod;
    pod.struct_size = size;
    REFUSES_NULL(patu_network_attach(w.net, &pod, 1, nullptr, err));
  }
}

}  // namespace
}  // namespace patu::test
