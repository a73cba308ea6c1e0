// A delegate gets the same environment and input; ADD's failure is followed by a DEL.
#include "delegated_ipam.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

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
  for (const Address& one : answer.addresses) {
    const patu::IpAddress& address = one.address.address;
    const auto is_same_family = [&](const patu::IpAddress& other) { return other.is_v4() == address.is_v4(); };
    if (std::any_of(config.addresses.begin(), config.addresses.end(), is_same_family))
      throw Failure(Code::invalid_config,
                    "ipam.type: the plugin " + config.ipam.type + " gave two addresses of one family");
    config.network.subnets.push_back({.prefix = prefix_of(one.address), .gateway = one.gateway});
    config.addresses.push_back(address);
  }
  config.network.routes = answer.routes;
}

}  // namespace cni
