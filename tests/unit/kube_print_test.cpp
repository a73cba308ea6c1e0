// What patu-kube prints, in full.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "print.hpp"

using namespace patu;

namespace {

Endpoint at(const char* text) { return *Endpoint::parse(text); }

Service sample() {
  Service service{.name = "default/web:http", .frontends = {{at("10.96.5.13:80")}, {at("[fd00:96::1]:80")}}};
  service.frontends.push_back({.endpoint = {IpAddress::v4(0, 0, 0, 0), 30080},
                               .kind = FrontendKind::node_port,
                               .loopback = true,
                               .reserve_port = true});
  service.backends = {at("10.200.0.2:8080"), Backend(at("10.200.0.4:8080"), BackendState::terminating)};
  service.backends[0].local = true;
  service.internal_policy = TrafficPolicy::local;
  service.affinity_timeout = std::chrono::seconds(300);
  return service;
}

kube::Outcome outcome() {
  kube::Outcome outcome;
  outcome.report.added = {"default/a", "default/b"};
  outcome.report.changed = {"default/c"};
  outcome.report.unchanged = 4;
  outcome.report.refused = {{"default/d", Errc::exhausted, "map frontends is full"}};
  outcome.not_honoured = {{"Service default/e port 1/SCTP", "no SCTP"}, {"Service default/f port 2/SCTP", "no SCTP"}};
  outcome.notes = {{"Service default/g", "something"}};
  outcome.headless = 2;
  return outcome;
}

}  // namespace

TEST_CASE("a table has a line for each frontend or backend, and says that there is none") {
  CHECK(kube::table_of({sample(), {.name = "default/empty", .frontends = {{at("10.96.0.1:80")}}}}) ==
        "NAME              KIND                         FRONTEND             BACKEND          STATE         OPTIONS\n"
        "default/web:http  cluster                      10.96.5.13:80/TCP    10.200.0.2:8080  active,local  "
        "affinity=300s,internal=local\n"
        "                  cluster                      [fd00:96::1]:80/TCP  10.200.0.4:8080  terminating\n"
        "                  node_port,loopback,reserved  0.0.0.0:30080/TCP\n"
        "default/empty     cluster                      10.96.0.1:80/TCP     <none>\n");
}

TEST_CASE("JSON of services has every field") {
  const auto list = nlohmann::json::parse(kube::json_of(std::vector<Service>{sample()}));
  REQUIRE(list.size() == 1);
  CHECK(list[0]["name"] == "default/web:http");
  CHECK(list[0]["frontends"][1] == nlohmann::json::parse(R"({"endpoint": "[fd00:96::1]:80", "protocol": "TCP",
      "kind": "cluster", "loopback": false, "reserve_port": false})"));
  CHECK(list[0]["frontends"][2]["kind"] == "node_port");
  CHECK(list[0]["backends"][0] == nlohmann::json::parse(R"({"endpoint": "10.200.0.2:8080", "state": "active",
      "weight": 1, "local": true})"));
  CHECK(list[0]["internal_policy"] == "local");
  CHECK(list[0]["affinity_timeout"] == 300);
  CHECK(kube::json_of(std::vector<Service>{}) == "[]\n");
}

TEST_CASE("an explanation is a sentence, and what there is to it") {
  Explanation explanation{.verdict = Explanation::Verdict::translated,
                          .service = "default/web:http",
                          .frontend = sample().frontends[0],
                          .candidates = {sample().backends[0]},
                          .preferred = at("10.200.0.2:8080"),
                          .why = "one of 1 active backends"};
  const kube::Question question{at("10.96.5.13:80"), Protocol::tcp};
  CHECK(kube::text_of(question, explanation) ==
        "10.96.5.13:80/TCP is translated: one of 1 active backends\n"
        "service    default/web:http\n"
        "frontend   10.96.5.13:80/TCP cluster\n"
        "candidate  10.200.0.2:8080 active,local\n"
        "affinity   10.200.0.2:8080\n");
  const auto json = nlohmann::json::parse(kube::json_of(question, explanation));
  CHECK(json["verdict"] == "translated");
  CHECK(json["candidates"][0]["endpoint"] == "10.200.0.2:8080");
  const auto nothing = nlohmann::json::parse(kube::json_of(question, Explanation{}));
  CHECK(nothing["verdict"] == "untouched");
  CHECK(nothing["service"].is_null());
  CHECK(nothing["frontend"].is_null());
}

TEST_CASE("an outcome is counted, its notes follow, and what was not honoured is said apart, grouped by the reason") {
  CHECK(kube::text_of(outcome()) ==
        "2 added, 1 changed, 0 removed, 4 unchanged, 1 refused\n"
        "without an address to translate: 2 headless, 0 ExternalName\n"
        "notes:\n"
        "  Service default/g: something\n");
  CHECK(kube::complaints_of(outcome()) ==
        "not honoured:\n"
        "  service default/d: map frontends is full\n"
        "  Service default/e port 1/SCTP, Service default/f port 2/SCTP: no SCTP\n");
  CHECK_FALSE(outcome().is_complete());
  CHECK(kube::complaints_of({}).empty());
  CHECK(kube::Outcome{}.is_complete());
  const auto json = nlohmann::json::parse(kube::json_of(outcome()));
  CHECK(json["added"].size() == 2);
  CHECK(json["unchanged"] == 4);
  CHECK(json["not_honoured"].size() == 3);
  CHECK(json["not_honoured"][2]["code"] == "exhausted");
}

TEST_CASE("a dry run says what would be, line by line") {
  kube::Outcome dry = outcome();
  dry.dry_run = true;
  dry.differences = {"+ default/a", "~ default/c", "    + backend 10.0.0.1:80 active"};
  CHECK(kube::text_of(dry).rfind("+ default/a\n~ default/c\n    + backend 10.0.0.1:80 active\nwould be 2 added, ", 0) ==
        0);
}

TEST_CASE("the difference of two services is what went and what came") {
  Service after = sample();
  after.frontends.pop_back();
  after.backends[1].state = BackendState::active;
  after.affinity_timeout = std::chrono::seconds(0);
  const auto lines = kube::differences(sample(), after);
  CHECK(lines ==
        std::vector<std::string>{"    - frontend 0.0.0.0:30080/TCP node_port,loopback,reserved",
                                 "    - backend 10.200.0.4:8080 terminating", "    + backend 10.200.0.4:8080 active",
                                 "    - options affinity=300s,internal=local", "    + options internal=local"});
  CHECK(kube::differences(sample(), sample()).empty());
}

TEST_CASE("names and reasons are printed in printable form only, and JSON is never refused for them") {
  kube::Outcome bad;
  bad.report.refused = {{"a\x1b[2J", Errc::invalid_argument, "\xff"}};
  CHECK(kube::complaints_of(bad) == "not honoured:\n  service a\\x1b[2J: \\xff\n");
  CHECK(nlohmann::json::accept(kube::json_of(bad)));
}
