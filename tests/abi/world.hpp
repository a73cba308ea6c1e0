// A node made with the C ABI alone, for tests of it: handles of every kind, a pod and a service.
#pragma once

#include <doctest/doctest.h>
#include <patu/patu.h>

#include <string>

#include "sandbox.hpp"

namespace patu::test {

// Status and text of a failure, freed.
struct Failure {
  patu_error* error = nullptr;

  ~Failure() { patu_error_free(error); }
  patu_error** out() {
    patu_error_free(error);
    error = nullptr;
    return &error;
  }
  std::string text() const { return patu_error_text(error); }
};

// Fails the test with the error's text.
#define PATU_GOOD(call)                                                                      \
  do {                                                                                       \
    ::patu::test::Failure patu_failure;                                                      \
    const patu_status patu_got = [&](patu_error** err) { return call; }(patu_failure.out()); \
    INFO(patu_failure.text());                                                               \
    REQUIRE(patu_got == PATU_OK);                                                            \
    REQUIRE(patu_failure.error == nullptr);                                                  \
  } while (false)

inline patu_address address(const char* text) {
  patu_address out{};
  PATU_GOOD(patu_address_parse(text, &out, err));
  return out;
}

inline patu_endpoint endpoint(const char* text) {
  patu_endpoint out{};
  PATU_GOOD(patu_endpoint_parse(text, &out, err));
  return out;
}

inline patu_subnet subnet(const char* text) {
  patu_subnet out = PATU_SUBNET_INIT;
  PATU_GOOD(patu_prefix_parse(text, &out.prefix, err));
  return out;
}

// What the calls take; each test changes its own copy.
struct Inputs {
  // Two that are there at once differ in all of these.
  explicit Inputs(const std::string& instance = "test", const char* bridge = "abi0", const char* container = "web-1")
      : name(instance), id{container, nullptr} {
    options.instance = name.c_str();
    options.bpffs = bpffs_path().c_str();
    options.cgroup = cgroup_path().c_str();
    network.bridge = bridge;
    network.subnets = &pods;
    network.subnet_count = 1;
    pod.id = id;
    service.name = "default/web";
    service.frontends = &frontend;
    service.frontend_count = 1;
    service.backends = &backend;
    service.backend_count = 1;
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;

  std::string name;
  patu_datapath_options options = PATU_DATAPATH_OPTIONS_INIT;
  patu_subnet pods = subnet("10.210.0.0/24");
  patu_subnet pool = subnet("10.211.0.0/24");
  patu_network_options network = PATU_NETWORK_OPTIONS_INIT;
  patu_attachment_id id;
  patu_attachment_id leased{"leased-1", "eth1"};  // an owner has one address of each family
  patu_pod_spec pod = PATU_POD_SPEC_INIT;
  patu_frontend frontend{.endpoint = endpoint("10.96.0.10:80"), .protocol = 0, .kind = 0, .flags = 0, .reserved = {}};
  patu_backend backend{
      .endpoint = endpoint("10.210.0.2:8080"), .weight = 0, .flags = 0, .state = PATU_BACKEND_ACTIVE, .reserved = {}};
  patu_service service = PATU_SERVICE_INIT;
};

struct World : Inputs {
  explicit World(const std::string& instance = "test", const char* bridge = "abi0", const char* container = "web-1")
      : Inputs(instance, bridge, container) {
    PATU_GOOD(patu_datapath_open(&options, &datapath, err));
    PATU_GOOD(patu_netns_create(&netns, err));
    pod.netns = netns;
    PATU_GOOD(patu_network_open(datapath, &network, &net, err));
    PATU_GOOD(patu_network_attach(net, &pod, 1, nullptr, err));
    PATU_GOOD(patu_address_pool_open(datapath, &pool, &addresses, err));
    PATU_GOOD(patu_service_table_open(datapath, nullptr, &table, err));
    PATU_GOOD(patu_service_table_upsert(table, &service, err));
    PATU_GOOD(patu_event_reader_open(table, &reader, err));
  }
  ~World() {
    patu_event_reader_close(reader);
    patu_service_table_close(table);
    patu_address_pool_close(addresses);
    CHECK(patu_network_detach(net, &id, 1, nullptr) == PATU_OK);
    CHECK(patu_network_remove(net, nullptr) == PATU_OK);
    patu_network_close(net);
    patu_netns_close(netns);
    patu_datapath_close(datapath);
    CHECK(patu_datapath_unload(&options, PATU_UNLOAD_FORCE, nullptr, nullptr) == PATU_OK);
  }

  patu_datapath* datapath = nullptr;
  patu_netns* netns = nullptr;
  patu_network* net = nullptr;
  patu_address_pool* addresses = nullptr;
  patu_service_table* table = nullptr;
  patu_event_reader* reader = nullptr;
};

}  // namespace patu::test
