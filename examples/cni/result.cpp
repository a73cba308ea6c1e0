// Versions differ in three ways: where addresses stand, whether they say their family, and what 1.1.0 added.
#include "result.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "address_text.hpp"

namespace cni {
namespace {

constexpr std::array<std::string_view, 7> kVersions{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

Json list_of(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push_back(text);
  return list;
}

Json to_json(const Dns& dns) {
  Json out = Json::object();
  if (!dns.nameservers.empty()) out["nameservers"] = list_of(dns.nameservers);
  if (!dns.domain.empty()) out["domain"] = dns.domain;
  if (!dns.search.empty()) out["search"] = list_of(dns.search);
  if (!dns.options.empty()) out["options"] = list_of(dns.options);
  return out;
}

void put_number(Json& out, const char* key, std::uint32_t value) {
  if (value != 0) out[key] = value;
}

void put_text(Json& out, const char* key, const std::string& value) {
  if (!value.empty()) out[key] = value;
}

Json to_json(const patu::Route& route, Version version) {
  Json out = Json::object();
  out["dst"] = route.destination.to_string();
  if (route.gateway) out["gw"] = route.gateway->to_string();
  if (version < Version::v1_1_0) return out;
  put_number(out, "mtu", route.mtu);
  put_number(out, "advmss", route.advmss);
  put_number(out, "priority", route.priority);
  put_number(out, "table", route.table);
  if (route.scope) out["scope"] = unsigned{*route.scope};
  return out;
}

Json to_json(const Interface& interface, Version version) {
  Json out = Json::object();
  out["name"] = interface.name;
  put_text(out, "mac", interface.mac);
  put_text(out, "sandbox", interface.sandbox);
  if (version < Version::v1_1_0) return out;
  put_number(out, "mtu", interface.mtu);
  put_text(out, "socketPath", interface.socket_path);
  put_text(out, "pciID", interface.pci_id);
  return out;
}

Json to_json(const Address& address, Version version) {
  Json out = Json::object();
  if (version < Version::v1_0_0) out["version"] = address.address.address.is_v4() ? "4" : "6";
  if (address.interface) out["interface"] = *address.interface;
  out["address"] = address.address.to_string();
  if (address.gateway) out["gateway"] = address.gateway->to_string();
  return out;
}

// "ip4" or "ip6" of the versions before 0.3.0; null if there is none of that family.
Json family_to_json(const Result& result, bool v4) {
  const auto is_wanted = [&](const Address& one) { return one.address.address.is_v4() == v4; };
  const auto first = std::find_if(result.addresses.begin(), result.addresses.end(), is_wanted);
  if (first == result.addresses.end()) return nullptr;
  Json out = Json::object();
  out["ip"] = first->address.to_string();
  if (first->gateway) out["gateway"] = first->gateway->to_string();
  Json routes = Json::array();
  for (const patu::Route& route : result.routes)
    if (route.destination.is_v4() == v4) routes.push_back(to_json(route, Version::v0_2_0));
  if (!routes.empty()) out["routes"] = std::move(routes);
  return out;
}

// Throws Failure.
std::optional<patu::InterfaceAddress> read_address(Fields& fields, std::string_view key) {
  const std::string text = fields.text(key);
  const auto address = parse_interface_address(text);
  if (!address) fields.complain(key, "'" + text + "' is not an address with the length of its prefix");
  return address;
}

Address read_ip(Fields& fields, std::string_view key) {
  Address out;
  if (auto address = read_address(fields, key)) out.address = *address;
  out.gateway = fields.value<patu::IpAddress>("gateway");
  return out;
}

Interface read_interface(Fields& fields) {
  return {.name = fields.text("name"),
          .mac = fields.text("mac"),
          .sandbox = fields.text("sandbox"),
          .mtu = static_cast<std::uint32_t>(fields.number("mtu", UINT32_MAX)),
          .socket_path = fields.text("socketPath"),
          .pci_id = fields.text("pciID")};
}

}  // namespace

std::optional<Version> parse_version(std::string_view text) {
  const auto found = std::find(kVersions.begin(), kVersions.end(), text);
  if (found == kVersions.end()) return std::nullopt;
  return static_cast<Version>(found - kVersions.begin());
}

std::string_view to_string(Version version) { return kVersions.at(static_cast<std::size_t>(version)); }

Json supported_versions() {
  Json list = Json::array();
  for (const std::string_view version : kVersions) list.push_back(std::string(version));
  return list;
}

Dns read_dns(Fields fields) {
  return {.nameservers = fields.texts("nameservers"),
          .domain = fields.text("domain"),
          .search = fields.texts("search"),
          .options = fields.texts("options")};
}

patu::Route read_route(Fields& fields) {
  patu::Route route{.destination = *patu::Prefix::parse("0.0.0.0/0")};
  if (auto destination = fields.value<patu::Prefix>("dst"))
    route.destination = *destination;
  else
    fields.complain("dst", "is missing");
  route.gateway = fields.value<patu::IpAddress>("gw");
  route.mtu = static_cast<std::uint32_t>(fields.number("mtu", UINT32_MAX));
  route.advmss = static_cast<std::uint32_t>(fields.number("advmss", UINT32_MAX));
  route.priority = static_cast<std::uint32_t>(fields.number("priority", UINT32_MAX));
  route.table = static_cast<std::uint32_t>(fields.number("table", UINT32_MAX));
  if (const Json* scope = fields.take("scope"); scope != nullptr)
    route.scope = static_cast<std::uint8_t>(fields.number("scope", 255));
  return route;
}

Json to_json(const Result& result, Version version) {
  Json out = Json::object();
  out["cniVersion"] = std::string(to_string(version));
  if (version < Version::v0_3_0) {
    if (Json v4 = family_to_json(result, true); !v4.is_null()) out["ip4"] = std::move(v4);
    if (Json v6 = family_to_json(result, false); !v6.is_null()) out["ip6"] = std::move(v6);
  } else {
    for (const Interface& interface : result.interfaces) out["interfaces"].push_back(to_json(interface, version));
    for (const Address& address : result.addresses) out["ips"].push_back(to_json(address, version));
    for (const patu::Route& route : result.routes) out["routes"].push_back(to_json(route, version));
  }
  out["dns"] = to_json(result.dns);
  return out;
}

Result read_result(const Json& json, const std::string& path, Reading reading) {
  Fields fields(&json, path, reading);
  Result out;
  for (const char* key : {"ip4", "ip6"}) {
    Fields family = fields.object(key);
    if (!family.has_any()) continue;
    out.addresses.push_back(read_ip(family, "ip"));
    for (Fields& route : family.objects("routes")) out.routes.push_back(read_route(route));
  }
  for (Fields& interface : fields.objects("interfaces")) out.interfaces.push_back(read_interface(interface));
  for (Fields& ip : fields.objects("ips")) {
    Address address = read_ip(ip, "address");
    if (ip.take("interface") != nullptr) address.interface = ip.number("interface", INT32_MAX);
    out.addresses.push_back(std::move(address));
  }
  for (Fields& route : fields.objects("routes")) out.routes.push_back(read_route(route));
  out.dns = read_dns(fields.object("dns"));
  return out;
}

}  // namespace cni
