// Every key of a network's configuration: what it becomes, and what is refused, with its code and its name.
#include "cni_config.hpp"

using namespace patu;
using namespace patu::test;
using cni::Command;
using cni::Config;
using cni::IpamKind;

namespace {

// redhat-et/patu, deploy/patu.yaml: what nodes of the old patu have in /etc/cni/net.d/10-patu.conf.
constexpr char kOldPatu[] = R"({
  "cniVersion": "0.3.1", "name": "patu-network", "type": "patu", "bridge": "patux", "hairpinMode": true,
  "isGateway": true, "isDefaultGateway": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.200.0.0/24"}]], "routes": [{"dst": "10.200.0.0/16"}]}})";

struct Declined {
  const char* keys;
  const char* named;
};

}  // namespace

TEST_CASE("the old patu's configuration works as it is") {
  const Config config = config_of(cni::parse_json(kOldPatu));
  CHECK(config.version == cni::Version::v0_3_1);
  CHECK(config.network.name == "patu-network");
  CHECK(config.network.bridge.view() == "patux");
  CHECK(config.network.hairpin);
  CHECK(config.network.gateway);
  CHECK(config.network.default_route);
  REQUIRE(config.network.subnets.size() == 1);
  CHECK(config.network.subnets[0].prefix.to_string() == "10.200.0.0/24");
  REQUIRE(config.network.routes.size() == 1);
  CHECK(config.network.routes[0].destination.to_string() == "10.200.0.0/16");
  CHECK_FALSE(config.network.routes[0].gateway);
  CHECK(config.datapath.instance == "default");
  CHECK(config.services);
  CHECK_FALSE(config.network.socket_redirect);
}

TEST_CASE("what is not said is as the reference plugin bridge has it") {
  const Config config = config_of(cni::parse_json(R"({"name": "pods", "type": "bridge"})"));
  CHECK(config.version == cni::Version::v0_1_0);
  CHECK(config.network.bridge.view() == "cni0");
  CHECK(config.network.mtu == 1500);
  CHECK(config.ipam.kind == IpamKind::none);
  CHECK(config.network.subnets.empty());
  const NetworkOptions& network = config.network;
  for (const bool flag :
       {network.gateway, network.default_route, network.force_gateway, network.hairpin, network.promiscuous,
        network.isolated, network.duplicate_address_detection, config.masquerade})
    CHECK_FALSE(flag);
}

TEST_CASE("each flag of the bridge plugin has its option") {
  CHECK(with(R"({"isDefaultGateway": false, "isGateway": true})").network.gateway);
  CHECK_FALSE(with(R"({"isDefaultGateway": false, "isGateway": true})").network.default_route);
  CHECK(with(R"({"isDefaultGateway": true})").network.gateway);
  CHECK(with(R"({"forceAddress": true})").network.force_gateway);
  CHECK(with(R"({"ipMasq": true, "ipMasqBackend": "nftables"})").masquerade);
  CHECK(with(R"({"hairpinMode": true})").network.hairpin);
  CHECK(with(R"({"promiscMode": true})").network.promiscuous);
  CHECK(with(R"({"portIsolation": true})").network.isolated);
  CHECK(with(R"({"enabledad": true})").network.duplicate_address_detection);
  CHECK(with(R"({"mtu": 9000})").network.mtu == 9000);
  CHECK(with(R"({"mtu": 0})").network.mtu == 1500);
  CHECK(with(R"({"macspoofchk": true})").network.bridge.view() == "patux");
  CHECK(with(R"({"bridge": "cni-podman0"})").network.bridge.view() == "cni-podman0");
  CHECK(with(R"({"ipam": null, "isGateway": true})").network.gateway == false);
}

TEST_CASE("patu's own keys") {
  const Config config = with(
      R"({"instance": "two", "bpffs": "/run/bpf", "cgroup": "/sys/fs/cgroup/pods", "maxPods": 64, "services": "off"})");
  CHECK(config.datapath.instance == "two");
  CHECK(config.datapath.bpffs == "/run/bpf");
  CHECK(config.datapath.cgroup == "/sys/fs/cgroup/pods");
  CHECK(config.datapath.max_pods == 64);
  CHECK_FALSE(config.services);
  CHECK(with(R"({"services": "on"})").services);
  CHECK_FALSE(with(R"({"socketRedirect": "off"})").datapath.socket_redirect);
  CHECK(with(R"({"socketRedirect": "on"})").datapath.socket_redirect);
  const Config redirected = with(R"({"socketRedirect": {"excludePorts": [53, 65535]}})");
  CHECK(redirected.network.socket_redirect);
  CHECK(redirected.network.redirect_excluded_ports == std::vector<std::uint16_t>{53, 65535});
}

TEST_CASE("what masquerades has a name that a set can bear") {
  cni::Json json = bridge_json(R"({"ipMasq": true})");
  json["name"] = std::string(200, 'n');
  CHECK(config_of(json).masquerade);
  json["name"] = std::string(201, 'n');
  const Refusal refusal = refusal_of([&] { return config_of(json); });
  CHECK(refusal.code == 7);
  CHECK(refusal.says("ipMasq: needs a network's name of at most 200 bytes"));
  CHECK_FALSE(config_of(json, cni::Command::del).masquerade);
}

TEST_CASE("a key that is known and not honoured is refused with code 2, its name and its value") {
  for (const Declined& one : std::initializer_list<Declined>{
           {R"({"vlan": 100})", "vlan: 100"},
           {R"({"vlanTrunk": [{"id": 5}]})", "vlanTrunk: [{\"id\":5}]"},
           {R"({"disableContainerInterface": true})", "disableContainerInterface: true"},
           {R"({"ipMasqBackend": "iptables"})", "ipMasqBackend: \"iptables\""},
           {R"({"networkScaling": true})", "networkScaling: true"},
           {R"({"macspoofchk": true, "ipam": null})", "macspoofchk: true"},
           {R"({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}})",
            "runtimeConfig.portMappings: [{\"hostPort\":80}]"},
           {R"({"runtimeConfig": {"bandwidth": {"ingressRate": 1}}})", "runtimeConfig.bandwidth: "},
           {R"({"runtimeConfig": {"aliases": ["web"]}})", "runtimeConfig.aliases: [\"web\"]"},
           {R"({"runtimeConfig": {"infinibandGUID": "c2:11"}})", "runtimeConfig.infinibandGUID: "},
           {R"({"runtimeConfig": {"deviceID": "0000:00"}})", "runtimeConfig.deviceID: "},
           {R"({"runtimeConfig": {"other": 1}})", "runtimeConfig.other: 1"},
           {R"({"ingressPolicy": "isolated"})", "ingressPolicy: \"isolated\""},
           {R"({"ipmasq": true})", "ipmasq: true"},
           {R"({"ipam": {"other": 1}})", "ipam.other: 1"},
           {R"({"ipam": {"routes": [{"dst": "10.0.0.0/8", "via": "10.200.0.9"}]}})",
            "ipam.routes[0].via: \"10.200.0.9\""},
           {R"({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]}})", "ipam.ranges: a second set of IPv4"},
           {R"({"runtimeConfig": {"ipRanges": [[{"subnet": "10.1.0.0/24"}]]}})",
            "ipam.subnet: a second set of IPv4"}}) {
    const Refusal refusal = refused(one.keys);
    CHECK_MESSAGE(refusal.code == 2, one.keys);
    CHECK_MESSAGE(refusal.says(one.named), refusal.text);
  }
}

TEST_CASE("what asks for nothing, and what runtimes leave in, passes") {
  for (
      const char* keys :
      {R"({"vlan": 0, "vlanTrunk": [], "preserveDefaultVlan": true, "disableContainerInterface": false})",
       R"({"runtimeConfig": {"portMappings": [], "bandwidth": {}, "aliases": [], "deviceID": "", "cgroupPath": "/x"}})",
       R"({"capabilities": {"portMappings": true}, "disableCheck": true, "disableGC": false, "cniVersions": ["1.0.0"]})",
       R"({"cni.dev/attachments": [], "cni.dev/anything": {"a": 1}, "loadOnlyInlinedPlugins": false})",
       R"({"args": {"labels": {"a": "b"}, "cni": {"anything": 1}}, "vlan": null, "networkScaling": false})"})
    CHECK_MESSAGE(refused(keys).text.empty(), refused(keys).text);
}

TEST_CASE("a value that cannot be is refused with code 7 and the key") {
  for (const Declined& one :
       std::initializer_list<Declined>{{R"({"name": null})", "missing network name"},
                                       {R"({"name": "a b"})", "name: invalid characters"},
                                       {R"({"bridge": "a/b"})", "bridge: "},
                                       {R"({"bridge": 1})", "bridge: is no text"},
                                       {R"({"mtu": "1500"})", "mtu: is not a whole number"},
                                       {R"({"mtu": -1})", "mtu: "},
                                       {R"({"mtu": 65536})", "mtu: "},
                                       {R"({"ipMasq": "true"})", "ipMasq: is neither"},
                                       {R"({"hairpinMode": true, "promiscMode": true})", "promiscMode: "},
                                       {R"({"services": "yes"})", "services: 'yes'"},
                                       {R"({"socketRedirect": {"excludePorts": [0]}})", "0 is no port"},
                                       {R"({"socketRedirect": {"excludePorts": 5}})", "is no list"},
                                       {R"({"dns": []})", "dns: is no object"},
                                       {R"({"dns": {"search": [1]}})", "dns.search: "},
                                       {R"({"runtimeConfig": {"mac": "x"}})", "runtimeConfig.mac: "},
                                       {R"({"runtimeConfig": {"ips": ["x"]}})", "runtimeConfig.ips: "},
                                       {R"({"ipam": []})", "ipam: is no object"},
                                       {R"({"prevResult": 5})", "prevResult: is no object"}}) {
    const Refusal refusal = refused(one.keys);
    CHECK_MESSAGE(refusal.code == 7, one.keys);
    CHECK_MESSAGE(refusal.says(one.named), refusal.text);
  }
}

TEST_CASE("a DEL and a GC take what an ADD would refuse") {
  for (const Command command : {Command::del, Command::gc}) {
    const Config config = config_of(bridge_json(R"({"vlan": 5, "unknown": {}, "mtu": "x", "bridge": "patuy", "dns": 5,
        "ipam": {"ranges": 5, "routes": [5], "dataDir": "/leases"}, "prevResult": 5,
        "runtimeConfig": {"portMappings": [{"hostPort": 80}], "ips": [1], "mac": []}})"),
                                    command);
    CHECK(config.network.bridge.view() == "patuy");
    CHECK(config.ipam.data_dir == "/leases");
    CHECK(config.network.subnets.size() == 1);
  }
}

TEST_CASE("of CNI_ARGS, args.cni and runtimeConfig the last that speaks counts") {
  const cni::Arguments arguments{.ip = *IpAddress::parse("10.200.0.5"), .mac = *MacAddress::parse("02:00:00:00:00:01")};
  const auto wished = [&](const std::string& keys) {
    const Config config = config_of(bridge_json(keys), Command::add, arguments);
    std::string text = config.mac->to_string();
    for (const IpAddress& address : config.addresses) text += " " + address.to_string();
    return text;
  };
  CHECK(wished("{}") == "02:00:00:00:00:01 10.200.0.5");
  CHECK(wished(R"({"args": {"cni": {"ips": ["10.200.0.6"]}}})") == "02:00:00:00:00:01 10.200.0.6");
  CHECK(wished(R"({"args": {"cni": {"ips": ["10.200.0.6"], "mac": "02:00:00:00:00:02"}},
                   "runtimeConfig": {"mac": "02:00:00:00:00:03"}})") == "02:00:00:00:00:03 10.200.0.6");
  CHECK(
      wished(R"({"args": {"cni": {"ips": ["10.200.0.6"]}}, "runtimeConfig": {"ips": ["10.200.0.7/24", "fd00::7"]}})") ==
      "02:00:00:00:00:01 10.200.0.7 fd00::7");
}

TEST_CASE("what the runtime says of DNS stands above what the configuration does") {
  const cni::Dns dns =
      with(R"({"dns": {"nameservers": ["10.0.0.1"], "domain": "a", "search": ["b"], "options": ["c"]}})").dns;
  CHECK(dns == cni::Dns{{"10.0.0.1"}, "a", {"b"}, {"c"}});
  const cni::Dns own = with(R"({"dns": {"domain": "a"}, "runtimeConfig": {"dns": {"servers": ["10.0.0.2"],
      "searches": ["b"], "options": ["c"]}}})")
                           .dns;
  CHECK(own == cni::Dns{{"10.0.0.2"}, "", {"b"}, {"c"}});
}

TEST_CASE("versions: absent is 0.1.0, and one that is not known is refused with code 1") {
  CHECK(with(R"({"cniVersion": null})").version == cni::Version::v0_1_0);
  for (const char* version : {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"})
    CHECK(cni::to_string(with(R"({"cniVersion": ")" + std::string(version) + "\"}").version) == version);
  for (const char* version : {"9.9.9", "1.0", "1.1.1", "v1.0.0"}) {
    const Refusal refusal = refused(R"({"cniVersion": ")" + std::string(version) + "\"}");
    CHECK(refusal.code == 1);
    CHECK(refusal.says("config is \"" + std::string(version) + "\", plugin supports [\"0.1.0\""));
  }
}

TEST_CASE("the list of a GC is read strictly, in both spellings") {
  const auto attachments = [](const std::string& keys) {
    return config_of(bridge_json(keys), Command::gc).attachments;
  };
  CHECK_FALSE(attachments("{}"));
  CHECK(attachments(R"({"cni.dev/valid-attachments": []})")->empty());
  cni::Json null = bridge_json();
  null["cni.dev/valid-attachments"] = nullptr;  // an empty list, as libcni writes it
  CHECK(config_of(null, Command::gc).attachments.value().empty());
  null["cni.dev/attachments"] = cni::Json::parse(R"([{"containerID": "a", "ifname": "eth0"}])");
  CHECK(config_of(null, Command::gc).attachments->size() == 1);
  for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
    const auto list = attachments("{\"" + std::string(key) + R"(": [{"containerID": "a", "ifname": "eth0"}]})");
    REQUIRE(list->size() == 1);
    CHECK(list->front().to_string() == "a/eth0");
  }
  CHECK(attachments(R"({"cni.dev/valid-attachments": [{"containerID": "/", "ifname": "eth0"}]})")->empty());
  for (const char* wrong : {"5", "{}", "[5]", R"([{"containerID": "a"}])", R"([{"ifname": "eth0"}])"}) {
    const std::string keys = R"({"cni.dev/valid-attachments": )" + std::string(wrong) + "}";
    CHECK_MESSAGE(refusal_of([&] { return attachments(keys); }).code == 7, wrong);
  }
}
