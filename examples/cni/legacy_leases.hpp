// Leases that the reference plugin host-local left behind in its data directory, so that a node can be switched without draining it.
#pragma once

#include <string>
#include <vector>

#include <patu/types.hpp>

namespace cni {

// <data_dir>/<network>/<address>, each holding "<container id>\r\n<ifname>" (host-local before 0.7: the id alone).
struct LegacyLeases {
  std::string data_dir;  // /var/lib/cni/networks, as a rule; empty: there are no such leases
  std::string network;
};

// Addresses that are taken there; empty where there is no directory. A file of no bytes, which a crash leaves, counts: whose it
// is nobody knows. Throws Failure.
std::vector<patu::IpAddress> legacy_addresses(const LegacyLeases& leases);
// Deletes the files of this attachment; whether there were any. Throws Failure.
bool release_legacy(const LegacyLeases& leases, const patu::AttachmentId& id);
// Deletes the files of attachments that are not listed, and those of no bytes. Throws Failure.
void collect_legacy(const LegacyLeases& leases, const std::vector<patu::AttachmentId>& keep);

}  // namespace cni
