// A delegate gets the same environment and input; ADD's failure is followed by a DEL.
#include "delegated_ipam.hpp"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "address_range.hpp"
#include "delegate.hpp"

namespace cni {
namespace {

std::string run(const Call& call, const char* command = nullptr) {
  Delegation delegation{.type = call.config.ipam.type,
                        .path = call.request.path,
                        .environment = call.request.environment,
                        .input = call.input};
  if (command != nullptr) {
    const std::string key = "CNI_COMMAND=";
    std::erase_if(delegation.environment, [&](const std::string& entry) { return entry.rfind(key, 0) == 0; });
    delegation.environment.push_back(key + command);
  }
  return delegate(delegation);
}

patu::Prefix prefix_of(const patu::InterfaceAddress& address) {
  return expect(patu::Prefix::around(address.address, address.prefix_length), "the subnet of " + address.to_string());
}

patu::Subnet subnet_of(const Address& one, Config& config) {
  patu::Subnet subnet{.prefix = prefix_of(one.address), .gateway = one.gateway};
  if (subnet.gateway || config.network.gateway) return subnet;
  subnet.gateway = next(subnet.prefix.network());
  if (subnet.gateway == one.address.address) subnet.gateway = next(*subnet.gateway);
  if (subnet.gateway) config.unreal_gateways.push_back(*subnet.gateway);
  return subnet;
}

// A route that names no gateway goes through the subnet's; where there is none, to whom is on the bridge.
patu::Route route_of(patu::Route route, const Config& config) {
  const auto is_of_family = [&](const patu::IpAddress& gateway) {
    return gateway.is_v4() == route.destination.is_v4();
  };
  const auto& unreal = config.unreal_gateways;
  if (!route.gateway && !route.scope && std::any_of(unreal.begin(), unreal.end(), is_of_family))
    route.scope = RT_SCOPE_LINK;
  return route;
}

}  // namespace

void delegated_del(const Call& call) { (void)run(call, "DEL"); }

void delegated_call(const Call& call) { (void)run(call); }

Result delegated_add(const Call& call) {
  try {
    const std::string printed = run(call);
    if (printed.empty()) throw Failure(Code::decode, "plugin " + call.config.ipam.type + " printed nothing");
    Result answer = read_result(parse_json(printed), "the answer of " + call.config.ipam.type, Reading::strict);
    if (!answer.addresses.empty()) return answer;
    throw Failure(Code::invalid_config, "ipam.type: the plugin " + call.config.ipam.type + " gave no address");
  } catch (const Failure&) {
    Steps undo;
    undo.run([&] { delegated_del(call); });
    throw;
  }
}

void take_addresses(const Result& answer, Config& config) {
  config.network.subnets.clear();
  config.addresses.clear();
  config.unreal_gateways.clear();
  for (const Address& one : answer.addresses) {
    const patu::IpAddress& address = one.address.address;
    const auto is_same_family = [&](const patu::IpAddress& other) { return other.is_v4() == address.is_v4(); };
    if (std::any_of(config.addresses.begin(), config.addresses.end(), is_same_family))
      throw Failure(Code::invalid_config,
                    "ipam.type: the plugin " + config.ipam.type + " gave two addresses of one family");
    config.network.subnets.push_back(subnet_of(one, config));
    config.addresses.push_back(address);
  }
  config.network.routes.clear();
  for (const patu::Route& route : answer.routes) config.network.routes.push_back(route_of(route, config));
}

}  // namespace cni
