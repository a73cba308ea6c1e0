// Syncs that are killed: every frontend old or new at once, every service old or new for whoever reads, and the next one ends it.
#include "services_sync.hpp"

#include <algorithm>
#include <random>

#include "killing.hpp"
#include "table_check.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Services = std::vector<Service>;  // sorted by name

const Service* find(const Services& services, const std::string& name) {
  const auto at = std::find_if(services.begin(), services.end(), [&](const Service& one) { return one.name == name; });
  return at == services.end() ? nullptr : &*at;
}

const Service* owner(const Services& services, const Frontend& frontend) {
  for (const Service& service : services)
    if (std::count(service.frontends.begin(), service.frontends.end(), frontend) != 0) return &service;
  return nullptr;
}

std::vector<Frontend> all_frontends(const Services& one, const Services& other) {
  std::vector<Frontend> out;
  for (const Services* services : {&one, &other})
    for (const Service& service : *services) out.insert(out.end(), service.frontends.begin(), service.frontends.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

class Trial final {
 public:
  Trial(const ServiceLab& lab, Services one, Services other)
      : lab_(lab),
        table_(lab.open_table()),
        one_(std::move(one)),
        other_(std::move(other)),
        frontends_(all_frontends(one_, other_)) {}

  void reach(const Services& services) {
    const auto done = table_.sync(services, {.allow_empty = true});
    REQUIRE_MESSAGE(done, done.error().to_string());
    REQUIRE(done->refused.empty());
  }
  bool sync_other() const { return static_cast<bool>(lab_.open_table().sync(other_, {.allow_empty = true})); }

  // What programs meet: a frontend that both tables have is never missing, and leads to what one of them says.
  void check_frontends() const {
    for (const Frontend& frontend : frontends_) {
      const Service* old = owner(one_, frontend);
      const Service* next = owner(other_, frontend);
      const auto met = led_to(lab_, frontend);
      const bool right =
          met ? (old && *met == candidates(*old, frontend)) || (next && *met == candidates(*next, frontend))
              : !old || !next;
      CHECK_MESSAGE(right, frontend.endpoint.to_string());
    }
  }

  // What a reader meets: each service is as one of the tables says.
  void check_list() const {
    const auto listed = table_.list();
    REQUIRE(listed);
    for (const Service& service : *listed) {
      const Service* old = find(one_, service.name);
      const Service* next = find(other_, service.name);
      const bool right = (old && service == *old) || (next && service == *next);
      CHECK_MESSAGE(right, service.name);
    }
    for (const Service& service : one_) {
      const bool missing = find(*listed, service.name) == nullptr;
      CHECK_MESSAGE((!missing || !find(other_, service.name)), service.name);
    }
  }

  // Any change mends; the next sync ends what was begun.
  void finish() {
    const auto mended = table_.remove("mends all, removes nothing");
    REQUIRE_MESSAGE(mended, mended.error().to_string());
    CHECK(faults(lab_) == "");
    check_frontends();
    reach(other_);
    CHECK(faults(lab_) == "");
    const auto listed = table_.list();
    REQUIRE(listed);
    CHECK(*listed == other_);
  }

 private:
  const ServiceLab& lab_;
  ServiceTable table_;  // of one who stays; those that are killed have their own
  Services one_;
  Services other_;
  std::vector<Frontend> frontends_;
};

Services first_table() {
  Service rich{"rich", frontends(30, 9), backends_v4(40, 4)};
  rich.frontends.push_back({endpoint("0.0.0.0:30080"), Protocol::tcp, FrontendKind::node_port, true, true});
  std::sort(rich.frontends.begin(), rich.frontends.end());
  rich.close_tcp = true;
  rich.affinity_timeout = std::chrono::seconds(60);
  return {{"a", frontends(1, 6), backends_v4(1, 3)},
          {"b", frontends(7, 3), backends_v4(10, 2)},
          {"gone", frontends(15, 2), backends_v4(20, 1)},
          rich,
          {"same", frontends(60, 1), backends_v4(30, 1)}};
}

// "a" gives two frontends to "b", "b" one to "new", and "gone" leaves both of its own to "a".
Services second_table() {
  Services services = first_table();
  services[0].frontends = frontends(3, 4);
  for (const Frontend& more : frontends(15, 2)) services[0].frontends.push_back(more);
  services[1].frontends = frontends(1, 2);
  for (const Frontend& more : frontends(8, 2)) services[1].frontends.push_back(more);
  services[1].backends = backends_v4(11, 3);
  services[2] = {"new", frontends(7, 1), backends_v4(50, 2)};
  services[3].backends = backends_v4(42, 4);
  services[3].frontends.erase(services[3].frontends.begin());
  return services;
}

}  // namespace

TEST_CASE("killed before any of its system calls, a sync leaves every frontend old or new, and the next one ends it") {
  ServiceLab lab;
  auto netns = Netns::current();
  REQUIRE(netns);
  unsigned kills = 0;
  for (const auto& [one, other] : {std::pair{Services{}, first_table()},
                                   {first_table(), second_table()},
                                   {second_table(), first_table()},
                                   {first_table(), Services{}}}) {
    Trial trial(lab, one, other);
    bool killed = true;
    for (unsigned call = 1; killed; ++call) {
      REQUIRE(call < 1000);
      CAPTURE(call);
      trial.reach(one);
      killed = kill_before(*netns, call, [&] { return trial.sync_other(); });
      trial.check_frontends();
      trial.check_list();
      trial.finish();
      kills += killed ? 1 : 0;
    }
  }
  MESSAGE(kills, " kills");
  CHECK(kills >= 200);
}

TEST_CASE("killed at any moment, a sync of many services leaves every frontend old or new") {
  DatapathOptions options = datapath_options();
  options.max_services = 2000;
  ServiceLab lab(options);
  auto netns = Netns::current();
  REQUIRE(netns);
  Services one;
  Services other;
  for (std::uint32_t i = 0; i < 400; ++i) {
    const std::string name = "s" + std::to_string(1000 + i);
    one.push_back({name, {frontend(i)}, backends_v4(1 + i * 10, 5)});
    // Half of them exchange their frontends with their neighbours.
    other.push_back({name, {frontend(i % 4 < 2 ? i : i ^ 1)}, backends_v4(4 + i * 10, 5)});
  }
  Trial there(lab, one, other);
  Trial back(lab, other, one);
  there.reach(one);
  std::mt19937 random(3);
  unsigned kills = 0;
  for (unsigned round = 0; round < 60; ++round) {
    Trial& trial = round % 2 == 0 ? there : back;
    kills += kill_after(*netns, static_cast<unsigned>(500 + random() % 20'000), [&] {
      auto table = lab.open_table();
      return static_cast<bool>(table.sync(round % 2 == 0 ? other : one));
    });
    trial.check_frontends();
    trial.check_list();
    trial.finish();
  }
  MESSAGE(kills, " kills");
}
