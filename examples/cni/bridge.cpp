// Small things that the verbs of the bridge role share.
#include "bridge.hpp"

#include <algorithm>

namespace cni {

const Role kBridgeRole{bridge::add, bridge::del, bridge::check, bridge::gc, bridge::status};

namespace bridge {

MasqueradedNetwork masqueraded(const Config& config) {
  MasqueradedNetwork out{.instance = config.datapath.instance, .name = config.network.name, .pods = {}};
  for (const patu::Subnet& subnet : config.network.subnets)
    if (std::find(out.pods.begin(), out.pods.end(), subnet.prefix) == out.pods.end()) out.pods.push_back(subnet.prefix);
  return out;
}

bool has_family(const Config& config, bool v4) {
  const auto& subnets = config.network.subnets;
  return std::any_of(subnets.begin(), subnets.end(), [&](const auto& one) { return one.prefix.is_v4() == v4; });
}

void stop_masquerading_if_last(const patu::Network& network, const Config& config) {
  MasqueradedNetwork own = masqueraded(config);
  if (!config.masquerade && !is_masqueraded(own)) return;  // one that is may be of an earlier configuration
  if (!expect(network.list()).empty()) return;
  stop_masquerading(own);
  if (!config.masquerade) return;
  // An ADD that came in between found everything in place, and relies on it.
  const auto attached = expect(network.list());
  if (attached.empty()) return;
  // Where another plugin gives the addresses, what is known of the subnets are the addresses.
  if (own.pods.empty())
    for (const patu::Attachment& one : attached)
      for (const patu::InterfaceAddress& address : one.addresses)
        own.pods.push_back(*patu::Prefix::make(address.address, address.address.is_v4() ? 32 : 128));
  masquerade(own);
}

}  // namespace bridge
}  // namespace cni
