// The way out of the node: forwarding, and one nftables table of an instance that masquerades what its pods send outside.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <patu/types.hpp>

namespace cni {

// Of an instance and of a network: nf_tables' NFT_NAME_MAXLEN is 256, and a set's name has a few bytes more than the network's.
inline constexpr std::size_t kMaxMasqueradedNameBytes = 200;

// One network's pods, as seen from outside: its subnets, under a key that is the network's.
struct MasqueradedNetwork {
  std::string instance;            // DatapathOptions::instance: names the table
  std::string name;                // the CNI network
  std::vector<patu::Prefix> pods;  // both families
};

// Makes table, sets, chain and rule if they are not there, and the network's prefixes elements of the sets: one look (one
// round trip) where they are, one transaction where not. Never a rule or an element for a single pod. Throws Failure.
void masquerade(const MasqueradedNetwork& network);
// Empty if all of it is there as masquerade() left it, else what is missing. Throws Failure.
std::vector<std::string> masquerade_deviations(const MasqueradedNetwork& network);
// Whether masquerade() was called for the network and stop_masquerading() not: what an earlier configuration asked for. No where
// the kernel or a name rules that out. Throws Failure.
bool is_masqueraded(const MasqueradedNetwork& network);
// Takes the network's prefixes out, where no other network has the same, and the table with the last of them. Success where
// there is nothing. Throws Failure.
void stop_masquerading(const MasqueradedNetwork& network);

// Turns forwarding on for these families in the calling process's network namespace; the names of the sysctls that it had to
// change. Before IPv6 forwarding, accept_ra becomes 2 on each interface that listens to routers by now (1, the default): it
// would stop doing so, and the node lose its default route. Interfaces that come later are the administrator's. Throws Failure.
std::vector<std::string> forward(bool v4, bool v6);
// The sysctls that are off by now. Throws Failure.
std::vector<std::string> forwarding_deviations(bool v4, bool v6);

}  // namespace cni
