// Structs of older and of newer callers, unknown flags, and what comes back through results.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "world.hpp"

namespace patu::test {
namespace {

// What a caller of a later version passes: the struct, and a field that this version does not know.
template <class Struct>
struct Later {
  Struct known;
  std::uint64_t unknown;
};

template <class Struct>
Later<Struct> later(const Struct& known, std::uint64_t unknown) {
  Later<Struct> out{known, unknown};
  out.known.struct_size = sizeof out;
  return out;
}

// Runs the same call with both tails; `call` takes a pointer to the struct.
template <class Struct, class Run>
void try_later(const Struct& known, const Run& call) {
  const auto zero = later(known, 0);
  const auto set = later(known, 1);
  Failure failure;
  CHECK(call(&zero.known, failure.out()) == PATU_OK);
  CHECK(call(&set.known, failure.out()) == PATU_E_UNSUPPORTED);
  CHECK(failure.text().find("knows no field") != std::string::npos);
}

TEST_CASE("a longer struct is taken if what is not known is zero, and refused if it is not") {
  World w;
  try_later(w.options, [&](const auto* options, patu_error** err) {
    patu_datapath* datapath = nullptr;
    const patu_status status = patu_datapath_open(options, &datapath, err);
    patu_datapath_close(datapath);
    return status;
  });
  try_later(w.network, [&](const auto* options, patu_error** err) {
    patu_network* network = nullptr;
    const patu_status status = patu_network_open(w.datapath, options, &network, err);
    patu_network_close(network);
    return status;
  });
  try_later(w.pool, [&](const auto* subnet, patu_error** err) {
    patu_address_pool* pool = nullptr;
    const patu_status status = patu_address_pool_open(w.datapath, subnet, &pool, err);
    patu_address_pool_close(pool);
    return status;
  });
  try_later(w.pod, [&](const auto* pod, patu_error** err) { return patu_network_attach(w.net, pod, 1, nullptr, err); });
  try_later(w.service,
            [&](const auto* service, patu_error** err) { return patu_service_table_upsert(w.table, service, err); });
}

TEST_CASE("a shorter struct has defaults where it ends") {
  World w;
  // As if `affinity_seconds` and `flags` had come later: what lies there is not the library's to read.
  patu_service service = w.service;
  service.struct_size = offsetof(patu_service, affinity_seconds);
  service.affinity_seconds = 0xffffffff;
  service.flags = 0xffffffff;
  PATU_GOOD(patu_service_table_upsert(w.table, &service, err));
  patu_services* found = nullptr;
  PATU_GOOD(patu_service_table_find(w.table, w.service.name, &found, err));
  CHECK(patu_services_at(found, 0)->affinity_seconds == 0);
  CHECK(patu_services_at(found, 0)->flags == 0);
  patu_services_free(found);

  patu_datapath_options options = w.options;
  options.struct_size = offsetof(patu_datapath_options, flags);
  options.flags = options.reserved = 0xffffffff;
  patu_datapath* datapath = nullptr;
  PATU_GOOD(patu_datapath_open(&options, &datapath, err));
  patu_datapath_close(datapath);
}

TEST_CASE("an array has elements of the size that the first one tells") {
  World w;
  patu_service second = w.service;
  patu_frontend frontend = w.frontend;
  frontend.endpoint.port = 81;
  second.name = "default/second";
  second.frontends = &frontend;
  const Later<patu_service> services[] = {later(w.service, 0), later(second, 0)};
  patu_sync_report* report = nullptr;
  PATU_GOOD(patu_service_table_sync(w.table, &services[0].known, 2, 0, &report, err));
  REQUIRE(patu_names_count(report->added) == 1);
  CHECK(std::string(patu_names_at(report->added, 0)) == "default/second");
  CHECK(patu_names_at(report->added, 1) == nullptr);
  CHECK(report->unchanged == 1);
  CHECK(patu_refusals_count(report->refused) == 0);
  patu_sync_report_free(report);

  patu_service mixed[] = {w.service, second};
  mixed[1].struct_size -= sizeof(void*);
  Failure failure;
  CHECK(patu_service_table_sync(w.table, mixed, 2, 0, nullptr, failure.out()) == PATU_E_INVALID_ARGUMENT);
  CHECK(failure.text() == "service 1: its struct_size is not the first one's");
  PATU_GOOD(patu_service_table_sync(w.table, &w.service, 1, 0, nullptr, err));
}

TEST_CASE("sizes that no version has are refused") {
  World w;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, sizeof(std::size_t) + 1, std::size_t{5000}, ~std::size_t{0}}) {
    CAPTURE(size);
    patu_service service = w.service;
    service.struct_size = size;
    CHECK(patu_service_table_upsert(w.table, &service, nullptr) == PATU_E_INVALID_ARGUMENT);
  }
}

TEST_CASE("flags and reserved fields that this version does not know are refused") {
  World w;
  Failure failure;
  const auto refused = [&](patu_status status) {
    INFO(failure.text());
    CHECK(status == PATU_E_UNSUPPORTED);
  };
  patu_service service = w.service;
  service.flags = 1u << 31;
  refused(patu_service_table_upsert(w.table, &service, failure.out()));
  patu_frontend frontend = w.frontend;
  frontend.reserved[1] = 1;
  service = w.service, service.frontends = &frontend;
  refused(patu_service_table_upsert(w.table, &service, failure.out()));
  CHECK(failure.text() ==
        "service \"default/web\": frontend 0: its `reserved`: not zero where this version of patu knows no field");
  patu_backend backend = w.backend;
  backend.reserved[6] = 1;
  service = w.service, service.backends = &backend;
  refused(patu_service_table_upsert(w.table, &service, failure.out()));
  backend = w.backend, backend.flags = 2;
  refused(patu_service_table_upsert(w.table, &service, failure.out()));
  patu_pod_spec pod = w.pod;
  pod.flags = 8;
  refused(patu_network_attach(w.net, &pod, 1, nullptr, failure.out()));
  pod = w.pod, pod.reserved[2] = 1;
  refused(patu_network_attach(w.net, &pod, 1, nullptr, failure.out()));
  pod = w.pod, pod.flags = PATU_POD_SOCKET_REDIRECT | PATU_POD_NO_SOCKET_REDIRECT;
  CHECK(patu_network_attach(w.net, &pod, 1, nullptr, failure.out()) == PATU_E_INVALID_ARGUMENT);
  refused(patu_service_table_sync(w.table, &w.service, 1, 4, nullptr, failure.out()));
  refused(patu_datapath_unload(&w.options, 2, nullptr, failure.out()));
}

TEST_CASE("what comes back says what went in") {
  World w;
  patu_attachments* attachments = nullptr;
  PATU_GOOD(patu_network_find(w.net, &w.id, &attachments, err));
  REQUIRE(patu_attachments_count(attachments) == 1);
  const patu_attachment* attachment = patu_attachments_at(attachments, 0);
  CHECK(attachment->struct_size == sizeof(patu_attachment));
  CHECK(std::string(attachment->id.container_id) == "web-1");
  CHECK(std::string(attachment->id.ifname) == "eth0");
  CHECK(attachment->flags == PATU_POD_NO_SOCKET_REDIRECT);
  CHECK(attachment->mtu == 1500);
  REQUIRE(attachment->address_count == 1);
  char text[PATU_ADDRESS_TEXT_SIZE];
  PATU_GOOD(patu_address_format(&attachment->addresses[0].address, text, sizeof text, err));
  CHECK(std::string(text) == "10.210.0.2");
  CHECK(attachment->addresses[0].prefix_length == 24);
  REQUIRE(attachment->gateway_count == 1);
  CHECK(patu_address_is_v4(&attachment->gateways[0]) == 1);
  patu_attachments_free(attachments);

  patu_explanation* explanation = nullptr;
  PATU_GOOD(patu_service_table_explain(w.table, &w.frontend.endpoint, PATU_TCP, w.netns, &explanation, err));
  CHECK(explanation->verdict == PATU_VERDICT_TRANSLATED);
  CHECK(std::string(explanation->service) == "default/web");
  REQUIRE(explanation->candidate_count == 1);
  CHECK(std::memcmp(&explanation->candidates[0].endpoint, &w.backend.endpoint, sizeof w.backend.endpoint) == 0);
  CHECK(explanation->candidates[0].weight == 1);
  CHECK(explanation->preferred == nullptr);
  patu_explanation_free(explanation);

  const patu_endpoint elsewhere = endpoint("192.0.2.1:80");
  PATU_GOOD(patu_service_table_explain(w.table, &elsewhere, 0, nullptr, &explanation, err));
  CHECK(explanation->verdict == PATU_VERDICT_UNTOUCHED);
  CHECK(explanation->service == nullptr);
  CHECK(explanation->frontend == nullptr);
  patu_explanation_free(explanation);

  patu_datapath_state* state = nullptr;
  PATU_GOOD(patu_datapath_status(w.datapath, &state, err));
  CHECK(std::string(state->directory).find(bpffs_path()) == 0);
  CHECK(patu_programs_count(state->programs) > 0);
  CHECK(patu_maps_count(state->maps) > 0);
  CHECK(patu_features_count(state->features) > 0);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < patu_maps_count(state->maps); ++i) bytes += patu_maps_at(state->maps, i)->memory_bytes;
  CHECK(bytes > 0);
  patu_datapath_state_free(state);
}

TEST_CASE("an event of a service is read where poll says that there is one") {
  World w;
  patu_service service = w.service;
  service.backend_count = 0;
  PATU_GOOD(patu_service_table_upsert(w.table, &service, err));
  CHECK(patu_event_reader_fd(w.reader) >= 0);
  patu_events* events = nullptr;
  PATU_GOOD(patu_event_reader_read(w.reader, &events, err));
  CHECK(patu_events_count(events) == 0);
  patu_events_free(events);
}

TEST_CASE("nothing is printed where there are too few descriptors for a reader of events") {
  World w;
  patu_event_reader_close(w.reader);
  w.reader = nullptr;
  const int printed = ::memfd_create("printed", MFD_CLOEXEC);
  const int standard_error = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE(::dup2(printed, STDERR_FILENO) == STDERR_FILENO);
  int failures = 0;
  for (rlim_t limit = 3; limit < 64 && w.reader == nullptr; ++limit) {
    const rlimit few{limit, before.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &few);
    if (patu_event_reader_open(w.table, &w.reader, nullptr) == PATU_E_IO) ++failures;
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
  ::dup2(standard_error, STDERR_FILENO);
  CHECK(failures > 3);
  CHECK(w.reader != nullptr);
  CHECK(::lseek(printed, 0, SEEK_END) == 0);
  ::close(standard_error);
  ::close(printed);
}

TEST_CASE("a handle serves after the one that it was opened with is closed") {
  Inputs in;
  patu_datapath* datapath = nullptr;
  patu_service_table* table = nullptr;
  PATU_GOOD(patu_datapath_open(&in.options, &datapath, err));
  PATU_GOOD(patu_service_table_open(datapath, nullptr, &table, err));
  patu_datapath_close(datapath);
  PATU_GOOD(patu_service_table_upsert(table, &in.service, err));
  patu_service_table_close(table);
  patu_names* removed = nullptr;
  PATU_GOOD(patu_datapath_unload(&in.options, PATU_UNLOAD_FORCE, &removed, err));
  CHECK(patu_names_count(removed) > 0);
  patu_names_free(removed);
}

}  // namespace
}  // namespace patu::test
