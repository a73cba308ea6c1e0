// Configurations that are cut off, damaged or nonsense: nothing crashes, and what comes out is a configuration or a Failure.
#include <random>

#include "cni_config.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr char kFull[] = R"({"cniVersion": "1.1.0", "name": "pods", "type": "patu", "bridge": "patux",
  "isDefaultGateway": true, "ipMasq": true, "mtu": 1400, "hairpinMode": true, "dns": {"nameservers": ["10.0.0.1"]},
  "socketRedirect": {"excludePorts": [53]}, "args": {"cni": {"ips": ["10.1.0.7"], "mac": "02:00:00:00:00:01"}},
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.5"}],
  [{"subnet": "fd00::/64"}]], "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1300, "scope": 0}]},
  "runtimeConfig": {"ips": ["10.1.0.8/24"], "dns": {"servers": ["10.0.0.2"]}},
  "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}],
  "prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/x", "mtu": 1}],
  "ips": [{"address": "10.1.0.7/24", "interface": 0}], "ip4": {"ip": "10.1.0.7/24"}, "routes": [{"dst": "::/0"}]}})";

// Whether it was a configuration, for each command; anything but a Failure ends the test.
void read_by_all(const cni::Json& json) {
  for (const auto command : {cni::Command::add, cni::Command::del, cni::Command::gc})
    (void)refusal_of([&] { return config_of(json, command); });
  for (const auto reading : {cni::Reading::strict, cni::Reading::lenient}) {
    (void)refusal_of([&] { return cni::read_ipam_config(json, {}, reading); });
    (void)refusal_of([&] { return cni::read_loopback_config(json, {}, reading); });
  }
}

void read_text(const std::string& text) {
  (void)refusal_of([&] {
    read_by_all(cni::parse_json(text));
    return 0;
  });
}

void visit(const cni::Json& value, const cni::Json::json_pointer& path, std::vector<cni::Json::json_pointer>& out) {
  out.push_back(path);
  if (value.is_array())
    for (std::size_t i = 0; i < value.size(); ++i) visit(value[i], path / i, out);
  if (value.is_object())
    for (const auto& [key, member] : value.items()) visit(member, path / key, out);
}

}  // namespace

TEST_CASE("what is not JSON, too long or too deep is refused with code 6") {
  const auto code = [](const std::string& text) { return refusal_of([&] { return cni::parse_json(text); }).code; };
  for (const char* text : {"", " ", "{", "{]", "{\"a\": }", "{} {}", "\xff", "{\"a\": \"\xff\"}", "nul"})
    CHECK(code(text) == 6);
  CHECK(code(std::string(cni::kMaxInputBytes + 1, ' ')) == 6);
  CHECK(code("{}" + std::string(cni::kMaxInputBytes - 2, ' ')) == 0);
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(code(nested(cni::kMaxDepth)) == 0);
  CHECK(code(nested(cni::kMaxDepth + 1)) == 6);
  CHECK(code(std::string(1000000, '[')) == 6);
  CHECK(refusal_of([] { return config_of(cni::parse_json("[]")); }).code == 7);
  CHECK(refusal_of([] { return config_of(cni::parse_json("5")); }).code == 7);
}

TEST_CASE("the configuration that is mutated below is a good one") {
  CHECK(config_of(cni::parse_json(kFull)).masquerade);
}

TEST_CASE("a configuration that is cut off anywhere") {
  const std::string full = kFull;
  for (std::size_t length = 0; length < full.size(); ++length)
    CHECK(refusal_of([&] { return cni::parse_json(full.substr(0, length)); }).code == 6);
}

TEST_CASE("every value replaced by every kind of value") {
  const cni::Json full = cni::parse_json(kFull);
  std::vector<cni::Json::json_pointer> paths;
  visit(full, cni::Json::json_pointer(), paths);
  REQUIRE(paths.size() > 60);
  const cni::Json kinds = cni::parse_json(
      R"([null, true, -1, 18446744073709551615, 1.5e300, "", "x", "10.1.0.1", "::/0", [], {}, [null], [[]], [{}], {"a": [1]}])");
  for (const auto& path : paths)
    for (const cni::Json& kind : kinds) {
      cni::Json mutated = full;
      mutated[path] = kind;
      read_by_all(mutated);
    }
}

TEST_CASE("bytes replaced at random") {
  std::mt19937 random(1);  // the same every time
  for (int i = 0; i < 20000; ++i) {
    std::string text = kFull;
    for (unsigned changes = random() % 4 + 1; changes != 0; --changes)
      text[random() % text.size()] = "{}[]\",:0127.eE-x\\u"[random() % 18];
    read_text(text);
  }
}
