// Two threads at once: on one instance with handles of their own, with networks and tables of one data path handle, and on an
// instance each. ThreadSanitizer looks on.
#include <string>
#include <thread>

#include "calls.hpp"

namespace patu::test {
namespace {

constexpr int kRounds = 5;

// What a thread does, until something fails; that is told.
struct Worker {
  explicit Worker(const char* container) : name(container) {}

  std::string name;
  std::string failure;
  bool is_open = false;
  patu_network* network = nullptr;
  patu_service_table* table = nullptr;
  patu_netns* netns = nullptr;

  bool good(patu_status status, patu_error*& error) {
    if (status == PATU_OK) return true;
    failure = patu_error_text(error);
    patu_error_free(error);
    error = nullptr;
    return false;
  }

  void open(patu_datapath* datapath, const World& shared) {
    patu_error* err = nullptr;
    is_open = good(patu_network_open(datapath, &shared.network, &network, &err), err) &&
              good(patu_service_table_open(datapath, nullptr, &table, &err), err) &&
              good(patu_netns_create(&netns, &err), err);
  }

  void work(const World& shared) {
    for (int round = 0; is_open && round < kRounds && failure.empty(); ++round) once(shared);
  }

  void close() {
    patu_netns_close(netns);
    patu_service_table_close(table);
    patu_network_close(network);
  }

  void once(const World& shared) {
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
    const bool done = good(patu_service_table_upsert(table, &service, &err), err) &&
                      good(patu_service_table_find(table, name.c_str(), &services, &err), err) &&
                      good(patu_service_table_remove(table, name.c_str(), &err), err) &&
                      good(patu_network_detach(network, &pod.id, 1, &err), err);
    patu_services_free(services);
    if (!done) return;
    // A failure of each thread's own, with a text of its own.
    services = nullptr;
    if (patu_service_table_find(table, name.c_str(), &services, &err) != PATU_E_NOT_FOUND ||
        std::string(patu_error_text(err)).find(name) == std::string::npos)
      failure = "the error is not this thread's";
    patu_services_free(services);
    patu_error_free(err);
  }
};

// Runs `work(i)` for 0 and 1, each in a thread.
template <class Work>
void in_two_threads(const Work& work) {
  std::thread first([&] { work(0); });
  std::thread second([&] { work(1); });
  first.join();
  second.join();
}

TEST_CASE("two threads work at once, with handles of their own") {
  World world;
  Worker workers[] = {Worker("thread-1"), Worker("thread-2")};
  in_two_threads([&](int i) {
    patu_error* err = nullptr;
    patu_datapath* datapath = nullptr;
    if (workers[i].good(patu_datapath_open(&world.options, &datapath, &err), err)) workers[i].open(datapath, world);
    workers[i].work(world);
    workers[i].close();
    patu_datapath_close(datapath);
  });
  for (const Worker& worker : workers) CHECK(worker.failure == "");
}

// What a data path has opened is opened for both, by whichever needs it first.
TEST_CASE("two threads work at once with networks and service tables of one data path") {
  World world;
  for (int round = 0; round < kRounds; ++round) {
    patu_datapath* datapath = nullptr;
    PATU_GOOD(patu_datapath_open(&world.options, &datapath, err));
    Worker workers[] = {Worker("thread-1"), Worker("thread-2")};
    for (Worker& worker : workers) worker.open(datapath, world);
    in_two_threads([&](int i) { workers[i].work(world); });
    for (Worker& worker : workers) {
      CHECK(worker.failure == "");
      worker.close();
    }
    patu_datapath_close(datapath);
  }
}

TEST_CASE("two threads make every call at once, on instances of their own") {
  World first("first", "first0", "web-1"), second("second", "second0", "web-2");
  World* worlds[] = {&first, &second};
  std::string failures[2];
  in_two_threads([&](int i) {
    for (const auto& calls : {value_calls(), handle_calls(), changing_calls()})
      for (const Call& call : calls) {
        patu_error* err = nullptr;
        if (call.run(*worlds[i], &err) != PATU_OK)
          failures[i] += std::string(call.name) + ": " + patu_error_text(err) + "\n";
        patu_error_free(err);
      }
  });
  for (const std::string& failure : failures) CHECK(failure == "");
}

TEST_CASE("a result and an error are read by many threads") {
  World world;
  patu_services* services = nullptr;
  PATU_GOOD(patu_service_table_list(world.table, &services, err));
  Failure failure;
  CHECK(patu_service_table_find(world.table, "nobody", &services, failure.out()) == PATU_E_NOT_FOUND);
  bool agreed[2] = {};
  in_two_threads([&](int i) {
    const patu_service* service = patu_services_at(services, 0);
    agreed[i] = std::string(service->name) == "default/web" && !failure.text().empty();
  });
  CHECK(agreed[0]);
  CHECK(agreed[1]);
  patu_services_free(services);
}

}  // namespace
}  // namespace patu::test
