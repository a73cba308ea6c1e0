// A writer that is killed before each of its system calls in turn: every service is old or new, and the next writer mends.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>

#include "bpf/instance.hpp"
#include "killing.hpp"
#include "service_lab.hpp"
#include "table_check.hpp"

using namespace patu;
using namespace patu::test;

namespace {

std::string text(const Result<>& result) { return result ? "success" : result.error().to_string(); }

Frontend frontend(std::uint32_t n) { return {{IpAddress::v4(10, 96, 0, static_cast<std::uint8_t>(n)), 80}}; }

std::vector<Frontend> frontends(std::uint32_t first, std::uint32_t count) {
  std::vector<Frontend> out;
  for (std::uint32_t i = first; i < first + count; ++i) out.push_back(frontend(i));
  return out;
}

bool has(const std::optional<Service>& service, const Frontend& which) {
  return service && std::find(service->frontends.begin(), service->frontends.end(), which) != service->frontends.end();
}

bool has_backend(const std::optional<Service>& service, const Endpoint& which) {
  return service && std::find(service->backends.begin(), service->backends.end(), which) != service->backends.end();
}

bool is_empty(const std::optional<Service>& service) { return service && service->backends.empty(); }

// One change of the service "web"; empty stands for no service.
struct Step {
  std::string what;
  std::optional<Service> before;
  std::optional<Service> after;
};

const Service kNeighbour{"neighbour", {frontend(200), frontend(201)}, backends_v4(900, 3)};

class Trial final {
 public:
  Trial(const ServiceLab& lab, const Step& step) : lab_(lab), step_(step) {}

  // False if the change was complete before its system call number `call`.
  bool round(const Netns& netns, ServiceTable& used, unsigned call) {
    reach(used, step_.before);
    const bool killed = kill_before(netns, call, [&] { return static_cast<bool>(change(used, step_.after)); });
    CHECK(clients_meet(step_.before, step_.after));
    const std::optional<Service> listed = list();
    CHECK((listed == step_.before || listed == step_.after));
    // Any change by anybody mends; it leaves what the list said.
    auto other = lab_.open_table();
    Service neighbour = kNeighbour;
    neighbour.backends = backends_v4(910 + call % 2, 2);
    reach(other, neighbour);
    CHECK(list() == listed);
    CHECK(clients_meet(listed, listed));
    CHECK(faults(lab_) == "");
    reach(used, step_.after);
    CHECK(clients_meet(step_.after, step_.after));
    return killed;
  }

  // The same, and then whoever mends is killed as well, a system call later each time. Returns how often.
  unsigned round_of_menders(const Netns& netns, ServiceTable& used, unsigned call) {
    reach(used, step_.before);
    (void)kill_before(netns, call, [&] { return static_cast<bool>(change(used, step_.after)); });
    const std::optional<Service> listed = list();
    unsigned kills = 1;
    while (kill_before(netns, kills,
                       [&] { return static_cast<bool>(lab_.open_table().remove("mends all, removes nothing")); })) {
      CHECK(clients_meet(step_.before, step_.after));
      CHECK(list() == listed);
      ++kills;
      REQUIRE(kills < 500);
    }
    CHECK(clients_meet(listed, listed));
    CHECK(faults(lab_) == "");
    return kills;
  }

 private:
  static Result<> change(ServiceTable& table, const std::optional<Service>& to) {
    return to ? table.upsert(*to) : table.remove("web");
  }
  static void reach(ServiceTable& table, const std::optional<Service>& to) {
    const auto done = change(table, to);
    REQUIRE_MESSAGE(done, text(done));
  }

  std::optional<Service> list() const {
    auto services = lab_.open_table().list();
    REQUIRE(services);
    REQUIRE(services->size() <= 2);
    REQUIRE(services->front().name == "neighbour");
    return services->size() == 2 ? std::optional(services->back()) : std::nullopt;
  }

  // What a frontend of both leads to is a backend of one; one that only one of them has may also be an ordinary address.
  bool clients_meet(const std::optional<Service>& one, const std::optional<Service>& other) const {
    return lab_.as_client([&] {
      for (std::uint32_t n = 1; n <= 12; ++n) {
        const Frontend which = frontend(n);
        const Connected met = connect_once(Socket::v4, which.endpoint, lab_.listener_fd());
        const bool in_both = has(one, which) && has(other, which);
        const bool in_none = !has(one, which) && !has(other, which);
        const bool served = met.peer ? has_backend(one, *met.peer) || has_backend(other, *met.peer)
                                     : met.error == lab_.refusal() && (is_empty(one) || is_empty(other));
        // Its address is refused from a moment before its first frontend is there until a moment after its last one is gone.
        const bool ordinary = met.error == ENETUNREACH || (!in_none && met.error == lab_.refusal());
        if (in_both ? !served : in_none ? !ordinary : !(served || ordinary)) return false;
      }
      return connect_once(Socket::v4, frontend(201).endpoint, lab_.listener_fd()).peer.has_value();
    });
  }

  const ServiceLab& lab_;
  const Step& step_;
};

}  // namespace

TEST_CASE("killed before any of its system calls, a writer leaves every service old or new") {
  ServiceLab lab;
  auto netns = Netns::current();
  REQUIRE(netns);
  const Service one{"web", frontends(1, 6), backends_v4(1, 3)};
  const Service moved{"web", frontends(4, 9), backends_v4(11, 5)};
  const Service same_list{"web", frontends(1, 6), backends_v4(21, 2)};
  const Service same_backends{"web", frontends(3, 5), backends_v4(1, 3)};
  const Service emptied{"web", frontends(1, 6), {}};
  unsigned rounds = 0;
  for (const Step& step :
       {Step{"created", std::nullopt, one}, Step{"changed in all", one, moved},
        Step{"given other backends", one, same_list}, Step{"given other frontends", one, same_backends},
        Step{"emptied", one, emptied}, Step{"removed", one, std::nullopt}}) {
    CAPTURE(step.what);
    auto used = lab.open_table();
    const auto neighbour = used.upsert(kNeighbour);
    REQUIRE_MESSAGE(neighbour, text(neighbour));
    Trial trial(lab, step);
    unsigned call = 1;
    for (; trial.round(*netns, used, call); ++call) {
      CAPTURE(call);
      REQUIRE(call < 500);
    }
    rounds += call;
    const auto removed = used.remove("web");
    REQUIRE_MESSAGE(removed, text(removed));
  }
  MESSAGE(rounds, " kills");
  CHECK(rounds >= 100);
}

TEST_CASE("killed while they mend what another left, writers still leave every service old or new") {
  ServiceLab lab;
  auto netns = Netns::current();
  REQUIRE(netns);
  const Step step{"changed in all", Service{"web", frontends(1, 6), backends_v4(1, 3)},
                  Service{"web", frontends(4, 9), backends_v4(11, 5)}};
  auto used = lab.open_table();
  const auto neighbour = used.upsert(kNeighbour);
  REQUIRE_MESSAGE(neighbour, text(neighbour));
  Trial trial(lab, step);
  unsigned kills = 0;
  for (unsigned call = 1; call <= 40; ++call) kills += trial.round_of_menders(*netns, used, call);
  MESSAGE(kills, " kills");
  CHECK(kills >= 200);
}
