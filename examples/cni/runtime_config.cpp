// Capabilities reach a plugin only where its configuration declares them; one that is not honoured is refused by name.
#include "runtime_config.hpp"

#include <algorithm>

#include "address_text.hpp"

namespace cni {
namespace {

std::vector<patu::IpAddress> read_addresses(Fields& from) {
  std::vector<patu::IpAddress> out;
  for (const std::string& text : from.texts("ips")) {
    auto address = parse_wanted_address(text);
    if (address)
      out.push_back(*address);
    else
      from.complain("ips", address.error().to_string());
  }
  return out;
}

void take_wishes(Fields& from, Config& out) {
  if (auto addresses = read_addresses(from); !addresses.empty()) out.addresses = std::move(addresses);
  if (auto mac = from.value<patu::MacAddress>("mac")) out.mac = *mac;
}

// The runtime's names for the same things.
Dns read_runtime_dns(Fields fields) {
  Dns dns{.nameservers = fields.texts("servers"),
          .domain = {},
          .search = fields.texts("searches"),
          .options = fields.texts("options")};
  fields.finish();
  return dns;
}

}  // namespace

void read_wishes(Fields& config, Fields& runtime, const Arguments& arguments, Config& out) {
  if (arguments.ip) out.addresses = {*arguments.ip};
  out.mac = arguments.mac;
  // The specification: what is not understood in `args` is ignored.
  Fields labels = config.object("args").object("cni");
  take_wishes(labels, out);
  take_wishes(runtime, out);
  if (Dns dns = read_runtime_dns(runtime.object("dns")); !dns.is_empty()) out.dns = std::move(dns);
  runtime.decline("portMappings", "patu has no host ports; chain the plugin portmap behind it");
  runtime.decline("bandwidth", "patu does not shape traffic; chain the plugin bandwidth behind it");
  runtime.decline("aliases", "patu has no DNS server");
  runtime.decline("infinibandGUID", "a veth is no InfiniBand interface");
  runtime.decline("deviceID", "a veth is no device");
  runtime.pass("cgroupPath");  // says where the pod is, and asks for nothing
}

}  // namespace cni
