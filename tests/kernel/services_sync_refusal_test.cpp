// Who is refused by a sync while the others go in, and what is refused as a whole.
#include "services_sync.hpp"

#include "table_check.hpp"

using namespace patu;
using namespace patu::test;

TEST_CASE("of two services that want one frontend, the later is refused and stays as it was") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service first{"first", frontends(1, 3), {backend_v4(1)}};
  const Service second{"second", frontends(4, 3), {backend_v4(2)}};
  (void)synced(table, {second});
  Service greedy = second;
  greedy.frontends = frontends(3, 2);
  const SyncReport report = synced(table, {first, greedy, {"third", frontends(9, 1), {}}});
  CHECK(report.added == Names{"first", "third"});
  CHECK(report.refused.size() == 1);
  check_refused(report, 0, "second", Errc::already_exists,
                "frontend 10.96.0.3:80/TCP is given to service \"first\" already");
  CHECK(listed(table) == std::vector<Service>{first, second, {"third", frontends(9, 1), {}}});
  CHECK(faults(lab) == "");
}

TEST_CASE("what a refused service has cannot be taken by another, and so on along the chain") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service a{"a", frontends(1, 1), {backend_v4(1)}};
  const Service b{"b", frontends(2, 1), {backend_v4(2)}};
  const Service c{"c", frontends(3, 1), {backend_v4(3)}};
  (void)synced(table, {a, b, c});
  Service invalid = c;
  invalid.frontends = {frontend(9, static_cast<Protocol>(132))};
  const Service free{"free", frontends(20, 1), {backend_v4(4)}};
  // b wants what c has, and a wants what b has.
  const SyncReport report = synced(
      table, {{"a", frontends(2, 1), {}}, {"b", frontends(3, 1), {}}, free, invalid, {"", frontends(30, 1), {}}});
  CHECK(report.added == Names{"free"});
  CHECK(report.changed.empty());
  CHECK(report.removed.empty());
  REQUIRE(report.refused.size() == 4);
  check_refused(report, 0, "", Errc::invalid_argument, "name");
  check_refused(report, 1, "a", Errc::already_exists, "belongs to service \"b\", which stays as it is");
  check_refused(report, 2, "b", Errc::already_exists, "belongs to service \"c\", which stays as it is");
  check_refused(report, 3, "c", Errc::unsupported, "protocol 132");
  CHECK(listed(table) == std::vector<Service>{a, b, c, free});
  CHECK(faults(lab) == "");
}

TEST_CASE("a service that does not fit is refused by the name of the full map, and the others go in") {
  ServiceLab lab(small(4));  // eight entries of each map
  auto table = lab.open_table();
  Service udp{"udp", {frontend(1, Protocol::udp)}, backends_v4(1, 3)};
  (void)synced(table, {udp, {"old", frontends(2, 1), {}}});

  // Six frontends are free, and seven are asked for at first.
  const SyncReport report = synced(table, {udp,
                                           {"old", frontends(2, 1), {}},
                                           {"large", frontends(100, 7), {}},
                                           {"one", frontends(200, 4), {}},
                                           {"two", frontends(300, 3), {}},
                                           {"three", frontends(400, 2), {}}});
  CHECK(report.added == Names{"one", "three"});
  CHECK(report.unchanged == 2);
  REQUIRE(report.refused.size() == 2);
  check_refused(report, 0, "large", Errc::exhausted, "map frontends is full: 2 of 8 entries are used, 7 more");
  check_refused(report, 1, "two", Errc::exhausted, "map frontends is full: 6 of 8 entries are used, 3 more");
  CHECK(listed(table).size() == 4);
  CHECK(faults(lab) == "");

  // What is old takes its place until the new is in; what moves takes none.
  const SyncReport moved = synced(table, {{"three", frontends(200, 4), {}}, {"four", frontends(400, 2), {}}});
  CHECK(moved.refused.empty());
  CHECK(moved.removed == Names{"old", "one", "udp"});
  CHECK(faults(lab) == "");
}

TEST_CASE("a frontend of a service that is refused for want of room stays with it") {
  ServiceLab lab(small(4));
  auto table = lab.open_table();
  const Service full{"full", frontends(1, 6), {backend_v4(1)}};
  (void)synced(table, {full});
  // "full" wants more than there is; "thief" was counted first.
  const SyncReport report = synced(table, {{"thief", frontends(1, 1), {}}, {"full", frontends(2, 12), {}}});
  CHECK(report.added.empty());
  REQUIRE(report.refused.size() == 2);
  check_refused(report, 0, "full", Errc::exhausted, "map frontends");
  check_refused(report, 1, "thief", Errc::already_exists, "belongs to service \"full\", which stays as it is");
  CHECK(listed(table) == std::vector<Service>{full});
  CHECK(faults(lab) == "");
}

TEST_CASE("an empty list needs a word more, and a name that is given twice spoils the call") {
  ServiceLab lab;
  auto table = lab.open_table();
  const Service a{"a", frontends(1, 1), {backend_v4(1)}};
  (void)synced(table, {a});
  const std::string before = lab.dump();
  const auto empty = table.sync({});
  REQUIRE_FALSE(empty);
  CHECK(empty.error().code() == Errc::invalid_argument);
  const auto twice = table.sync(std::vector<Service>{a, {"b", frontends(2, 1), {}}, {"b", frontends(3, 1), {}}});
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code() == Errc::invalid_argument);
  CHECK(twice.error().to_string().find("service \"b\" is given twice") != std::string::npos);
  CHECK(lab.dump() == before);

  CHECK(synced(table, {}, {.allow_empty = true}).removed == Names{"a"});
  CHECK(listed(table).empty());
  CHECK(faults(lab) == "");
}

TEST_CASE("a dry run reports what a sync would do, and writes nothing") {
  ServiceLab lab(small(8));
  auto table = lab.open_table();
  const std::vector<Service> old{{"a", frontends(1, 5), backends_v4(1, 3)}, {"b", frontends(10, 1), {}}, rich()};
  (void)synced(table, old);
  const std::vector<Service> wanted{{"a", frontends(1, 2), backends_v4(1, 2)},
                                    {"b", frontends(3, 1), {}},
                                    {"c", frontends(50, 200), {}},
                                    {"d", frontends(500, 1), {}}};
  const std::string before = lab.dump();
  const SyncReport dry = synced(table, wanted, {.dry_run = true});
  CHECK(lab.dump() == before);
  CHECK(listed(table) == old);
  const SyncReport real = synced(table, wanted);
  CHECK(dry.added == real.added);
  CHECK(dry.changed == real.changed);
  CHECK(dry.removed == real.removed);
  CHECK(dry.unchanged == real.unchanged);
  REQUIRE(dry.refused.size() == real.refused.size());
  for (std::size_t i = 0; i < dry.refused.size(); ++i) {
    CHECK(dry.refused[i].name == real.refused[i].name);
    CHECK(dry.refused[i].reason == real.refused[i].reason);
  }
  CHECK(dry.changed == Names{"a", "b"});
  CHECK(dry.refused.size() == 1);
  CHECK(faults(lab) == "");
}
