// Where a pod's addresses come from: the keys of the reference plugin host-local, or another plugin's name.
#pragma once

#include <string>
#include <vector>

#include <patu/ipam.hpp>
#include <patu/network.hpp>

#include "fields.hpp"
#include "result.hpp"

namespace cni {

enum class IpamKind {
  none,       // no addresses: the pod is on the bridge, and that is all
  own,        // the library gives them, from ranges
  delegated,  // another plugin does
};

struct Ipam {
  IpamKind kind = IpamKind::none;
  std::string type;                   // the plugin's
  std::vector<patu::Subnet> subnets;  // the ranges, in their order
  std::vector<patu::Route> routes;
  std::string data_dir;     // where host-local keeps its leases; empty: there are none to look for
  std::string resolv_conf;  // the path of a resolv.conf, for what to say of DNS
};

// Of the key "ipam", and of "ipRanges" of runtimeConfig, whose sets come before those of "ranges".
Ipam read_ipam(Fields& config, Fields& runtime);
// The same, whatever its type says: for the IPAM plugin itself.
Ipam read_own_ipam(Fields& config, Fields& runtime);
// What a resolv.conf says; at most 64 KiB of it. Throws Failure.
Dns read_resolv_conf(const std::string& path);

}  // namespace cni
