// The way out of a node, with real packets: who is seen outside, what the table holds, and who may change it when.
#include <doctest/doctest.h>

#include "egress.hpp"
#include "egress_lab.hpp"
#include "failure.hpp"
#include "network_fixture.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Texts = std::vector<std::string>;

cni::MasqueradedNetwork network(const std::string& name, const Texts& prefixes, const std::string& instance = "test") {
  cni::MasqueradedNetwork network{instance, name, {}};
  for (const std::string& prefix : prefixes) network.pods.push_back(must(Prefix::parse(prefix)));
  return network;
}

const Texts kFirst{"10.200.0.0/24", "fd00:200::/64"};
const Texts kSecond{"10.201.0.0/24", "fd00:201::/64"};

// With handles, which tell what was made anew.
std::string table() { return output_of("nft -a list table inet patu-test 2>/dev/null"); }

struct Outside {
  std::string v4, v6;
  bool operator==(const Outside&) const = default;
};

// Whom the outside sees when this pod sends.
Outside seen_outside(const EgressLab& lab, std::size_t pod) {
  return {sender_seen(lab.pod(pod).netns, lab.outside(), ip(kOutsideV4)),
          sender_seen(lab.pod(pod).netns, lab.outside(), ip(kOutsideV6))};
}
const Outside kNode{kNodeV4, kNodeV6};

void check_pods_see_each_other(const EgressLab& lab, std::size_t from, std::size_t to) {
  CHECK(sender_seen(lab.pod(from).netns, lab.pod(to).netns, lab.pod(to).v4) == lab.pod(from).v4.to_string());
  CHECK(sender_seen(lab.pod(from).netns, lab.pod(to).netns, lab.pod(to).v6) == lab.pod(from).v6.to_string());
}

struct Damage {
  std::string command;
  const char* told;
};

}  // namespace

TEST_CASE("a pod is seen outside with the node's address, and by other pods with its own") {
  const EgressLab lab;
  CHECK(cni::forward(true, true).size() >= 2);
  CHECK(seen_outside(lab, 0) == Outside{"10.200.0.2", "fd00:200::2"});
  cni::masquerade(network("first", kFirst));
  CHECK(seen_outside(lab, 0) == kNode);
  CHECK(seen_outside(lab, 1) == kNode);
  check_pods_see_each_other(lab, 0, 1);
  CHECK(seen_outside(lab, 2) == Outside{"10.201.0.2", "fd00:201::2"});
  cni::stop_masquerading(network("first", kFirst));
  CHECK(ruleset().empty());
}

TEST_CASE("pods of two networks of an instance are not masqueraded to each other") {
  const EgressLab lab;
  (void)cni::forward(true, true);
  cni::masquerade(network("first", kFirst));
  cni::masquerade(network("second", kSecond));
  check_pods_see_each_other(lab, 0, 2);
  check_pods_see_each_other(lab, 2, 0);
  CHECK(seen_outside(lab, 0) == kNode);
  CHECK(seen_outside(lab, 2) == kNode);
  cni::stop_masquerading(network("first", kFirst));
  CHECK(seen_outside(lab, 0) == Outside{"10.200.0.2", "fd00:200::2"});
  CHECK(seen_outside(lab, 2) == kNode);
}

TEST_CASE("nft(8) shows the rules as an administrator would write them") {
  const Clean clean;
  cni::masquerade(network("first", kFirst));
  const std::string shown = ruleset();
  for (const char* line : {"type nat hook postrouting priority srcnat; policy accept;\n",
                           "\t\tip saddr @pods4 ip daddr != @pods4 ip daddr != 224.0.0.0/4 masquerade\n",
                           "\t\tip6 saddr @pods6 ip6 daddr != @pods6 ip6 daddr != ff00::/8 masquerade\n",
                           "elements = { 10.200.0.0/24 }", "elements = { fd00:200::/64 }"})
    CHECK_MESSAGE(shown.find(line) != std::string::npos, shown);
  CHECK(count_of(shown, "masquerade") == 2);
  // What it prints, it reads back as the same table.
  (void)output_of("nft list ruleset > /run/rules; nft flush ruleset; nft -f /run/rules");
  CHECK(cni::masquerade_deviations(network("first", kFirst)).empty());
}

TEST_CASE("a second call changes nothing, and neither does a stop of what never began") {
  const Clean clean;
  cni::stop_masquerading(network("first", kFirst));
  CHECK(ruleset().empty());
  cni::masquerade(network("first", kFirst));
  const std::string before = table();
  cni::masquerade(network("first", kFirst));
  cni::masquerade(network("first", {kFirst[0]}));
  cni::masquerade(network("second", {}));
  cni::stop_masquerading(network("second", kSecond));
  CHECK(table() == before);
  cni::stop_masquerading(network("first", kFirst));
  cni::stop_masquerading(network("first", kFirst));
  CHECK(ruleset().empty());
}

TEST_CASE("prefixes that networks share, or that lie in another's, stay until the last of them goes") {
  const EgressLab lab;
  (void)cni::forward(true, true);
  const auto first = network("first", kFirst);
  const auto same = network("same", kFirst);
  const auto wide = network("wide", {"10.200.0.0/16", "fd00::/16"});
  for (const auto& one : {first, wide, same}) cni::masquerade(one);
  for (const auto& one : {first, wide, same}) CHECK(cni::masquerade_deviations(one).empty());
  cni::stop_masquerading(first);
  CHECK(seen_outside(lab, 0) == kNode);
  CHECK(cni::masquerade_deviations(first).size() == 2);
  cni::stop_masquerading(wide);
  CHECK(seen_outside(lab, 0) == kNode);
  CHECK(seen_outside(lab, 2) == Outside{"10.201.0.2", "fd00:201::2"});
  CHECK(cni::masquerade_deviations(same).empty());
  cni::stop_masquerading(same);
  CHECK(ruleset().empty());
}

TEST_CASE("prefixes of any shape side by side are found again, each by its own bounds") {
  const Clean clean;
  const Texts prefixes{"10.1.1.0/32", "10.1.1.1/32", "10.1.1.2/31", "10.1.1.4/30",
                       "10.1.2.0/24", "fd00::/128",  "fd00::1/128"};
  const auto alone = [&](std::size_t i) { return network("net-" + std::to_string(i), {prefixes[i]}); };
  for (std::size_t i = 0; i < prefixes.size(); ++i) cni::masquerade(alone(i));
  for (std::size_t i = 0; i < prefixes.size(); ++i) CHECK(cni::masquerade_deviations(alone(i)).empty());
  for (const char* wider : {"10.1.1.0/24", "10.1.1.0/31", "fd00::/127"})
    CHECK(cni::masquerade_deviations(network("net-0", {wider})).size() == 2);
}

TEST_CASE("a subnet that is added to a network's configuration does not take the earlier one away") {
  const Clean clean;
  cni::masquerade(network("first", kFirst));
  cni::masquerade(network("first", kSecond));
  CHECK(cni::masquerade_deviations(network("first", {kFirst[0], kFirst[1], kSecond[0], kSecond[1]})).empty());
  cni::stop_masquerading(network("first", kSecond));
  CHECK(ruleset().empty());
}

TEST_CASE("what somebody else does to the table is found, told and mended; other tables are left alone") {
  const Clean clean;
  (void)output_of("nft add table inet other; nft add chain inet other input");
  const auto first = network("first", kFirst);
  cni::masquerade(network("second", kSecond));
  cni::masquerade(first);
  const std::string right = ruleset();
  const std::string at = "inet patu-test ";
  for (const Damage& damage : std::vector<Damage>{
           {"nft flush chain " + at + "postrouting", "the rules are not"},
           {"nft insert rule " + at + "postrouting ip saddr 10.200.0.7 accept", "the rules are not"},
           {"nft add rule " + at + "postrouting ip saddr 10.200.0.7 accept", "the rules are not"},
           {"nft flush chain " + at + "postrouting; nft add rule " + at +
                "postrouting ip saddr @pods4 ip daddr != @pods4 masquerade; nft add rule " + at +
                "postrouting ip6 saddr @pods6 ip6 daddr != @pods6 masquerade",
            "the rules are not"},
           {"nft delete element " + at + "pods4 '{ 10.200.0.0/24 }'", "set pods4 lacks 10.200.0.0-10.200.0.255"},
           {"nft flush set " + at + "pods6.first", "set pods6.first lacks fd00:200::-fd00:200::ffff:ffff:ffff:ffff"},
           {"nft flush set " + at + "pods4; nft add element " + at +
                "pods4 '{ 10.200.0.0/25, 10.200.0.192/26, 10.201.0.0/24 }'",
            "set pods4 lacks 10.200.0.0-"},
           {"nft flush chain " + at + "postrouting; nft delete chain " + at + "postrouting", "chain postrouting"},
           {"nft flush chain " + at + "postrouting; nft delete chain " + at + "postrouting; nft add chain " + at +
                "postrouting '{ type nat hook postrouting priority 0; }'",
            "chain postrouting"},
           {"nft add chain " + at + "postrouting '{ policy drop; }'", "chain postrouting"},
           {"nft add table inet patu-test '{ flags dormant; }'", "dormant"},
       }) {
    CAPTURE(damage.command);
    const std::string complaint = output_of(damage.command + " 2>&1");
    REQUIRE_MESSAGE(complaint.empty(), complaint);
    const Texts deviations = cni::masquerade_deviations(first);
    REQUIRE(!deviations.empty());
    CHECK_MESSAGE(deviations[0].find(damage.told) != std::string::npos, deviations[0]);
    cni::masquerade(first);
    CHECK(cni::masquerade_deviations(first).empty());
    CHECK(ruleset() == right);
  }
  // With the table, who else was in it is lost.
  (void)output_of("nft delete table inet patu-test");
  CHECK(cni::masquerade_deviations(first) == Texts{"table inet patu-test is not there"});
  cni::masquerade(first);
  cni::masquerade(network("second", kSecond));
  CHECK(count_of(ruleset(), "elements") == 6);
  cni::stop_masquerading(first);
  cni::stop_masquerading(network("second", kSecond));
  CHECK(ruleset().find("patu") == std::string::npos);
  CHECK(ruleset().find("table inet other") != std::string::npos);
}

TEST_CASE("instances have tables of their own") {
  const Clean clean;
  cni::masquerade(network("first", kFirst));
  cni::masquerade(network("first", kFirst, "b-2"));
  cni::stop_masquerading(network("first", kFirst));
  CHECK(ruleset().find("patu-test") == std::string::npos);
  CHECK(cni::masquerade_deviations(network("first", kFirst, "b-2")).empty());
}

TEST_CASE("three hundred networks fit") {
  const Clean clean;
  for (int i = 0; i < 300; ++i) {
    const std::string two = std::to_string(i / 250) + "." + std::to_string(i % 250);
    cni::masquerade(network("net-" + std::to_string(i), {"10." + two + ".0/24"}));
  }
  CHECK(count_of(ruleset(), "set pods4.net-") == 300);
  CHECK(cni::masquerade_deviations(network("net-0", {"10.0.0.0/24"})).empty());
}

TEST_CASE("names that nft could not read back are refused before anything happens") {
  const Clean clean;
  for (const std::string& name : {std::string(), std::string("a b"), std::string("a\""), std::string(201, 'x')}) {
    CHECK_THROWS_AS(cni::masquerade(network(name, kFirst)), cni::Failure);
    CHECK_THROWS_AS(cni::masquerade_deviations(network(name, kFirst)), cni::Failure);
    CHECK_THROWS_AS(cni::stop_masquerading(network(name, kFirst)), cni::Failure);
    CHECK_THROWS_AS(cni::masquerade(network("first", kFirst, name)), cni::Failure);
  }
  CHECK(ruleset().empty());
}

TEST_CASE("a call leaves no descriptor and no thread behind") {
  const Clean clean;
  const std::size_t descriptors = open_descriptors();
  const std::size_t running = threads();
  cni::masquerade(network("first", kFirst));
  (void)cni::masquerade_deviations(network("first", kFirst));
  cni::stop_masquerading(network("first", kFirst));
  (void)cni::forward(true, true);
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == running);
}
