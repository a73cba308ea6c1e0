// What the kernel has is read back by ip(8), nft(8) and raw bpf(2) calls.
#include "cni_lab.hpp"

#include "network_fixture.hpp"
#include "run.hpp"
#include "sandbox.hpp"

namespace patu::test {

using cni::Json;

CniLab::CniLab() { CHECK(output_of("mkdir -p /run/leases 2>&1").empty()); }

CniLab::~CniLab() {
  (void)Datapath::unload(datapath_options(), UnloadMode::force);
  // By name: a namespace takes its interfaces along some time after it was deleted, in the midst of the next test.
  (void)output_of(
      "for link in $(ip -o link show type veth | sed 's/^[0-9]*: //; s/[@:].*//'); do ip link del $link; done");
  for (const std::string& pod : pods_) (void)output_of("ip netns del " + pod + " 2>&1");
  (void)output_of("(ip link del patux; nft flush ruleset; rm -rf /run/leases) 2>&1");
}

std::string CniLab::pod(const std::string& name) {
  pods_.push_back(name);
  CHECK(output_of("ip netns add " + name + " 2>&1").empty());
  return path_of(name);
}

Json CniLab::config(const std::string& keys) const {
  Json json = cni::parse_json(R"({"cniVersion": "1.1.0", "name": "pods", "type": "patu-cni", "bridge": "patux",
    "isDefaultGateway": true, "ipMasq": true, "instance": "test",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.200.0.0/24"}], [{"subnet": "fd00:200::/64"}]],
             "dataDir": "/run/leases"}})");
  json["bpffs"] = bpffs_path();
  json["cgroup"] = cgroup_path();
  json.merge_patch(cni::parse_json(keys));
  return json;
}

Answer CniLab::call_as(const std::string& as, const std::string& command, const std::string& container,
                       const Json& config, const std::vector<std::string>& more) const {
  std::vector<std::string> environment = more;
  environment.push_back("CNI_COMMAND=" + command);
  environment.push_back("CNI_CONTAINERID=" + container);
  environment.push_back("CNI_NETNS=" + path_of(container));
  environment.emplace_back("CNI_IFNAME=eth0");
  environment.emplace_back("CNI_PATH=/run/plugins");
  const cni::Outcome outcome = cni::run(as, environment, config.dump());
  Answer answer{.status = outcome.status, .text = outcome.output, .json = nullptr};
  if (!answer.text.empty()) answer.json = Json::parse(answer.text);
  if (answer.status != 0) answer.code = answer.json.at("code").get<unsigned>();
  return answer;
}

Answer CniLab::call(const std::string& command, const std::string& container, const std::string& keys,
                    const std::vector<std::string>& more) const {
  return call_as(role, command, container, config(keys), more);
}

Json CniLab::add(const std::string& container, const std::string& keys) const {
  const Answer answer = call("ADD", container, keys);
  REQUIRE_MESSAGE(answer.is_done(), answer.text);
  return answer.json;
}

Answer CniLab::check(const std::string& container, const Json& previous, const std::string& keys) const {
  Json whole = config(keys);
  whole["prevResult"] = previous;
  return call_as(role, "CHECK", container, whole);
}

bool is_clean() {
  const Census census = Census::take();
  const std::string links = output_of("ip -o link show type veth");
  const std::string rules = ruleset();
  CHECK_MESSAGE(census.leases == 0, to_string(census));
  CHECK_MESSAGE(census.attachments == 0, to_string(census));
  CHECK_MESSAGE(census.pods == 0, to_string(census));
  CHECK_MESSAGE(links.empty(), links);
  CHECK_MESSAGE(rules.empty(), rules);
  return census.leases + census.attachments + census.pods == 0 && links.empty() && rules.empty();
}

std::string addresses_in(const std::string& pod, const std::string& ifname) {
  return output_of("ip -n " + pod + " -o address show dev " + ifname +
                   " scope global 2>/dev/null | awk '{ printf \"%s%s\", (NR > 1 ? \" \" : \"\"), $4 }'");
}

}  // namespace patu::test
