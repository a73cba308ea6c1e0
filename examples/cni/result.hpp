// What an ADD answers, in the shape of each version of the specification, and what came before in a chain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <patu/network.hpp>
#include <patu/types.hpp>

#include "fields.hpp"
#include "json.hpp"

namespace cni {

enum class Version { v0_1_0, v0_2_0, v0_3_0, v0_3_1, v0_4_0, v1_0_0, v1_1_0 };

// Empty for a version that is not known.
std::optional<Version> parse_version(std::string_view text);
std::string_view to_string(Version version);
// The answer to VERSION.
Json supported_versions();

struct Dns {
  std::vector<std::string> nameservers;
  std::string domain;
  std::vector<std::string> search;
  std::vector<std::string> options;

  bool is_empty() const { return nameservers.empty() && domain.empty() && search.empty() && options.empty(); }
  bool operator==(const Dns&) const = default;
};
Dns read_dns(Fields fields);

struct Interface {
  std::string name;
  std::string mac = {};
  std::string sandbox = {};  // the namespace's path; empty: the node's own
  std::uint32_t mtu = 0;     // from 1.1.0 on, as the two that follow; 0: not said
  std::string socket_path = {};
  std::string pci_id = {};

  bool operator==(const Interface&) const = default;
};

struct Address {
  patu::InterfaceAddress address;
  std::optional<patu::IpAddress> gateway = {};
  std::optional<std::size_t> interface = {};  // its place among the interfaces

  bool operator==(const Address&) const = default;
};

struct Result {
  std::vector<Interface> interfaces;
  std::vector<Address> addresses;
  std::vector<patu::Route> routes;
  Dns dns;

  bool operator==(const Result&) const = default;
};

// In the shape of that version. Versions before 0.3.0 have one address of each family and no interfaces.
Json to_json(const Result& result, Version version);
// Of any version, told by its shape. Throws Failure in strict reading.
Result read_result(const Json& json, const std::string& path, Reading reading);
patu::Route read_route(Fields& fields);

}  // namespace cni
