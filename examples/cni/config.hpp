// A network's configuration: the keys of the reference plugins bridge and host-local, and patu's own, as the library wants them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <patu/datapath.hpp>
#include <patu/network.hpp>

#include "ipam_config.hpp"
#include "request.hpp"
#include "result.hpp"

namespace cni {

struct Config {
  Version version = Version::v0_1_0;
  patu::DatapathOptions datapath;
  patu::NetworkOptions network;  // its name is the CNI network's; subnets only where the library gives the addresses
  bool services = true;
  bool masquerade = false;
  Ipam ipam;
  Dns dns;  // what overrides that of the IPAM
  // Of this pod: what CNI_ARGS, args.cni and runtimeConfig ask for, the last that speaks counts.
  std::optional<patu::MacAddress> mac = {};
  std::vector<patu::IpAddress> addresses = {};
  // Of subnets that have none, as another plugin has it: the library wants one. Nobody is told of them.
  std::vector<patu::IpAddress> unreal_gateways = {};
  std::optional<Result> previous = {};                              // prevResult
  std::optional<std::vector<patu::AttachmentId>> attachments = {};  // GC: the valid ones
};

// The version of a configuration, 0.1.0 if it names none. Throws Failure: incompatible_version.
Version version_of(const Json& json);

// Of the bridge plugin. Throws Failure in strict reading; in lenient reading only for a network without a name, and for a list
// of valid attachments that is none.
Config read_config(const Json& json, const Request& request, Reading reading);
// Of an IPAM plugin, which gets the configuration of another plugin: only what is its own is looked at.
Config read_ipam_config(const Json& json, const Request& request, Reading reading);
// Of the plugin loopback, for which nothing can be configured.
Config read_loopback_config(const Json& json, const Request& request, Reading reading);

}  // namespace cni
