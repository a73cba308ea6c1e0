// Two threads, each with handles of its own, on one instance, one bridge, one pool and one service table.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "calls.hpp"

namespace patu::test {
namespace {

constexpr int kRounds = 5;

// doctest's assertions would need a lock; the first failure is told.
struct Worker {
  std::string name;
  std::string failure;

  bool good(patu_status status, patu_error*& error) {
    if (status == PATU_OK) return true;
    failure = patu_error_text(error);
    patu_error_free(error);
    error = nullptr;
    return false;
  }

  void run(const World& shared) {
    patu_error* err = nullptr;
    patu_datapath* datapath = nullptr;
    patu_network* network = nullptr;
    patu_service_table* table = nullptr;
    patu_netns* netns = nullptr;
    if (good(patu_datapath_open(&shared.options, &datapath, &err), err) &&
        good(patu_network_open(datapath, &shared.network, &network, &err), err) &&
        good(patu_service_table_open(datapath, nullptr, &table, &err), err) &&
        good(patu_netns_create(&netns, &err), err))
      for (int round = 0; round < kRounds && failure.empty(); ++round) once(shared, network, table, netns);
    patu_netns_close(netns);
    patu_service_table_close(table);
    patu_network_close(network);
    patu_datapath_close(datapath);
  }

  void once(const World& shared, patu_network* network, patu_service_table* table, patu_netns* netns) {
    patu_error* err = nullptr;
    patu_pod_spec pod = shared.pod;
    pod.id.container_id = name.c_str();
    pod.netns = netns;
    patu_frontend frontend = shared.frontend;
    frontend.endpoint.port = static_cast<std::uint16_t>(1000 + name.back());
    patu_service service = shared.service;
    service.name = name.c_str();
    service.frontends = &frontend;
    patu_attachments* attachments = nullptr;
    if (!good(patu_network_attach(network, &pod, 1, &attachments, &err), err)) return;
    patu_attachments_free(attachments);
    patu_services* services = nullptr;
    if (good(patu_service_table_upsert(table, &service, &err), err) &&
        good(patu_service_table_find(table, name.c_str(), &services, &err), err) &&
        good(patu_service_table_remove(table, name.c_str(), &err), err) &&
        good(patu_network_detach(network, &pod.id, 1, &err), err)) {
    }
    patu_services_free(services);
    // A failure of each thread's own, with a text of its own.
    if (patu_service_table_find(table, name.c_str(), &services, &err) != PATU_E_NOT_FOUND ||
        std::string(patu_error_text(err)).find(name) == std::string::npos)
      failure = "the error is not this thread's";
    patu_error_free(err);
  }
};

TEST_CASE("two threads work at once, with handles of their own") {
  World world;
  Worker workers[] = {{"thread-1", {}}, {"thread-2", {}}};
  std::vector<std::thread> threads;
  for (Worker& worker : workers) threads.emplace_back([&] { worker.run(world); });
  for (std::thread& thread : threads) thread.join();
  for (const Worker& worker : workers) CHECK(worker.failure == "");
}

TEST_CASE("a result and an error are read by many threads") {
  World world;
  patu_services* services = nullptr;
  PATU_GOOD(patu_service_table_list(world.table, &services, err));
  Failure failure;
  CHECK(patu_service_table_find(world.table, "nobody", &services, failure.out()) == PATU_E_NOT_FOUND);
  std::atomic<int> agreed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      const patu_service* service = patu_services_at(services, 0);
      if (std::string(service->name) == "default/web" && !failure.text().empty()) ++agreed;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(agreed == 2);
  patu_services_free(services);
}

}  // namespace
}  // namespace patu::test
