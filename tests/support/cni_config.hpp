// Configurations of the CNI plugin for tests, and short ways to read them.
#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config.hpp"
#include "failure.hpp"
#include "json.hpp"

namespace patu::test {

using cni::Code;

// What it fails with; code 0 and no text if it does not.
struct Refusal {
  unsigned code = 0;
  std::string text;

  bool says(std::string_view part) const { return text.find(part) != std::string::npos; }
};

template <class Body>
Refusal refusal_of(const Body& body) {
  try {
    (void)body();
  } catch (const cni::Failure& failure) {
    return {static_cast<unsigned>(failure.code()), failure.message() + "|" + failure.details()};
  }
  return {};
}

// With these keys on top of what every configuration of a bridge with addresses has; null takes one away.
inline cni::Json bridge_json(const std::string& keys = "{}") {
  cni::Json json = cni::parse_json(R"({"cniVersion": "1.1.0", "name": "pods", "type": "patu", "bridge": "patux",
    "isDefaultGateway": true, "ipam": {"type": "host-local", "subnet": "10.200.0.0/24"}})");
  json.merge_patch(cni::parse_json(keys));
  return json;
}

inline cni::Config config_of(const cni::Json& json, cni::Command command = cni::Command::add,
                             const cni::Arguments& arguments = {}) {
  const bool takes_away = command == cni::Command::del || command == cni::Command::gc;
  cni::Request request;
  request.command = command;
  request.arguments = arguments;
  return cni::read_config(json, request, takes_away ? cni::Reading::lenient : cni::Reading::strict);
}

inline cni::Config with(const std::string& keys) { return config_of(bridge_json(keys)); }
inline Refusal refused(const std::string& keys) {
  return refusal_of([&] { return config_of(bridge_json(keys)); });
}

}  // namespace patu::test
