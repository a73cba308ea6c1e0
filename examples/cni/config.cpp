// The keys, one by one; which are honoured stands in README.md as a table.
#include "config.hpp"

#include <nlohmann/json.hpp>

#include "egress.hpp"
#include "failure.hpp"
#include "runtime_config.hpp"

namespace cni {
namespace {

constexpr std::size_t kMaxNameBytes = 255;
constexpr std::uint32_t kDefaultMtu = 1500;  // what the kernel gives a bridge

std::string read_name(const Json& json) {
  Fields fields(&json, "", Reading::strict);
  std::string name = fields.text("name");
  if (name.empty()) throw Failure(Code::invalid_config, "missing network name");
  if (!is_identifier(name)) throw Failure(Code::invalid_config, "name: invalid characters found in network name", name);
  if (name.size() > kMaxNameBytes) throw Failure(Code::invalid_config, "name: longer than 255 bytes");
  return name;
}

bool read_switch(Fields& fields, const char* key, bool usual) {
  const std::string text = fields.text(key);
  if (text == "on" || text == "off") return text == "on";
  if (!text.empty()) fields.complain(key, "'" + text + "' is neither on nor off");
  return usual;
}

// "off", "on" or {"excludePorts": [53, …]}, which is on.
void read_socket_redirect(Fields& fields, Config& out) {
  constexpr char kKey[] = "socketRedirect";
  bool on = false;
  if (const Json* value = fields.take(kKey); value != nullptr && value->is_object()) {
    on = true;
    Fields redirect = fields.object(kKey);
    const Json* ports = redirect.take("excludePorts");
    if (ports != nullptr && !ports->is_array()) redirect.complain("excludePorts", "is no list");
    for (const Json& port : ports == nullptr ? Json::array() : *ports) {
      const bool is_port = port.is_number_unsigned() && port.get<std::uint64_t>() - 1 < 65535;
      if (is_port)
        out.network.redirect_excluded_ports.push_back(port.get<std::uint16_t>());
      else
        redirect.complain("excludePorts", excerpt(port) + " is no port");
    }
    redirect.finish();
  } else {
    on = read_switch(fields, kKey, false);
  }
  out.datapath.socket_redirect = on;
  out.network.socket_redirect = on;
}

void read_own_keys(Fields& fields, Config& out) {
  if (std::string instance = fields.text("instance"); !instance.empty()) out.datapath.instance = std::move(instance);
  if (std::string bpffs = fields.text("bpffs"); !bpffs.empty()) out.datapath.bpffs = std::move(bpffs);
  out.datapath.cgroup = fields.text("cgroup");
  if (const auto max_pods = fields.number("maxPods", 1U << 20); max_pods != 0)
    out.datapath.max_pods = static_cast<std::uint32_t>(max_pods);
  out.services = read_switch(fields, "services", true);
  read_socket_redirect(fields, out);
}

void read_bridge(Fields& fields, Config& out) {
  patu::NetworkOptions& network = out.network;
  network.default_route = fields.flag("isDefaultGateway");
  network.gateway = fields.flag("isGateway") || network.default_route;
  network.force_gateway = fields.flag("forceAddress");
  const auto mtu = static_cast<std::uint32_t>(fields.number("mtu", 65535));
  network.mtu = mtu == 0 ? kDefaultMtu : mtu;
  network.hairpin = fields.flag("hairpinMode");
  network.promiscuous = fields.flag("promiscMode");
  if (network.hairpin && network.promiscuous) fields.complain("promiscMode", "cannot be set together with hairpinMode");
  network.isolated = fields.flag("portIsolation");
  network.duplicate_address_detection = fields.flag("enabledad");
  out.masquerade = fields.flag("ipMasq");
  if (out.masquerade && network.name.size() > kMaxMasqueradedNameBytes) {
    fields.complain("ipMasq",
                    "needs a network's name of at most " + std::to_string(kMaxMasqueradedNameBytes) + " bytes");
    out.masquerade = false;  // where that is not refused there is nothing to take away
  }
  const std::string backend = fields.text("ipMasqBackend");
  if (!backend.empty() && backend != "nftables")
    fields.complain("ipMasqBackend", "\"" + backend + "\" is not supported: patu masquerades by nftables",
                    Code::unsupported_field);
  // A pod's frames bear its own MAC and addresses or are dropped, always; without addresses nothing is checked.
  const bool checks_source = fields.flag("macspoofchk");
  if (checks_source && out.ipam.kind == IpamKind::none)
    fields.complain("macspoofchk", "true is not supported without ipam", Code::unsupported_field);
  fields.decline("vlan", "patu has no VLANs");
  fields.decline("vlanTrunk", "patu has no VLANs");
  fields.pass("preserveDefaultVlan");  // says something only beside the two
  fields.decline("disableContainerInterface", "a pod's interface is always up");
  fields.decline("networkScaling", "patu does not steer packets between CPUs");
}

// What the specification has for runtimes, and they leave in.
void pass_runtime_keys(Fields& fields) {
  for (const char* key : {"cniVersion", "cniVersions", "name", "type", "capabilities", "disableCheck", "disableGC",
                          "loadOnlyInlinedPlugins", "prevResult"})
    fields.pass(key);
}

// Both spellings: the specification's own tag 1.1.0 has the second one. Always strict: what is not listed is removed. Null is a
// list of none: libcni writes an empty list of Go's as that, and leaves the keys out where it was given no list.
std::optional<std::vector<patu::AttachmentId>> read_attachments(const Json& json) {
  std::optional<std::vector<patu::AttachmentId>> out;
  Fields fields(&json, "", Reading::strict);
  for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
    if ((out && !out->empty()) || !json.contains(key)) continue;
    if (!out) out.emplace();
    for (Fields& attachment : fields.objects(key)) {
      const std::string container = attachment.text("containerID");
      const std::string ifname = attachment.text("ifname");
      if (container.empty()) attachment.complain("containerID", "is missing");
      if (ifname.empty()) attachment.complain("ifname", "is missing");
      // What cannot have been attached here is another plugin's, and protects nothing.
      if (auto id = patu::AttachmentId::parse(container, ifname)) out->push_back(std::move(*id));
    }
  }
  return out;
}

// CHECK compares, and a chain passes on.
void read_previous(const Json& json, Reading reading, Config& out) {
  Fields fields(&json, "", reading);
  if (const Json* previous = fields.take("prevResult"); previous != nullptr)
    out.previous = read_result(*previous, "prevResult", reading);
}

Config begin_config(const Json& json) {
  Config out{.network = {.bridge = *patu::IfName::parse("cni0"), .subnets = {}, .name = read_name(json)}};
  out.version = version_of(json);
  return out;
}

void give_addresses(Config& out) {
  patu::NetworkOptions& network = out.network;
  network.subnets = out.ipam.subnets;
  network.routes = out.ipam.routes;
  if (out.ipam.kind == IpamKind::none) {
    network.gateway = false;
    network.default_route = false;
  }
}

}  // namespace

Version version_of(const Json& json) {
  Fields fields(&json, "", Reading::strict);
  std::string text = fields.text("cniVersion");
  if (text.empty()) text = "0.1.0";
  if (auto version = parse_version(text)) return *version;
  throw Failure(Code::incompatible_version, "incompatible CNI versions",
                "config is \"" + text + "\", plugin supports " + excerpt(supported_versions()));
}

Config read_config(const Json& json, const Request& request, Reading reading) {
  Config out = begin_config(json);
  Fields fields(&json, "", reading);
  Fields runtime = fields.object("runtimeConfig");
  pass_runtime_keys(fields);
  out.ipam = read_ipam(fields, runtime);
  out.dns = read_dns(fields.object("dns"));
  if (const auto name = fields.value<patu::IfName>("bridge")) out.network.bridge = *name;
  read_bridge(fields, out);
  read_own_keys(fields, out);
  read_wishes(fields, runtime, request.arguments, out);
  runtime.finish();
  read_previous(json, reading, out);
  if (request.command == Command::gc) out.attachments = read_attachments(json);
  fields.finish();
  give_addresses(out);
  return out;
}

Config read_ipam_config(const Json& json, const Request& request, Reading reading) {
  Config out = begin_config(json);
  Fields fields(&json, "", reading);
  Fields runtime = fields.object("runtimeConfig");
  out.ipam = read_own_ipam(fields, runtime);
  read_own_keys(fields, out);
  read_wishes(fields, runtime, request.arguments, out);
  out.mac = {};
  if (request.command == Command::gc) out.attachments = read_attachments(json);
  give_addresses(out);
  return out;
}

Config read_loopback_config(const Json& json, const Request&, Reading reading) {
  Config out = begin_config(json);
  read_previous(json, reading, out);
  return out;
}

}  // namespace cni
