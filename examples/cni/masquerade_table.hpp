// The nftables table of one instance: what it is to be, whether it is that, and putting another one in its place.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "address_range.hpp"
#include "netlink.hpp"

namespace cni {

// What each network has, by its name.
using NetworkRanges = std::map<std::string, std::vector<AddressRange>>;

struct MasqueradeContents {
  std::uint32_t generation = 0;  // of the kernel's rule set when it was read
  bool exists = false;
  NetworkRanges networks;
};

// table inet patu-INSTANCE {
//   set pods4 { type ipv4_addr; flags interval; elements = { every network's } }
//   set pods6 { … }
//   set pods4.NETWORK { … elements = { this network's } }                  one for each network and family: who has what
//   chain postrouting {
//     type nat hook postrouting priority srcnat; policy accept;
//     ip saddr @pods4 ip daddr != @pods4 ip daddr != 224.0.0.0/4 masquerade
//     ip6 saddr @pods6 ip6 daddr != @pods6 ip6 daddr != ff00::/8 masquerade
//   }
// }
// Sets of intervals take no two elements that overlap, and networks may: hence one set for the rule, and a record of each network.
// Thread: one at a time, in the network namespace that it was made in.
class MasqueradeTable final {
 public:
  explicit MasqueradeTable(const std::string& instance);

  // One round trip: everything but other networks' elements. Empty if it is as replace() leaves it; while somebody changes the
  // rule set, it may be found neither as it was nor as it will be. Throws Failure.
  std::vector<std::string> deviations(const std::string& network, const std::vector<AddressRange>& ranges) const;
  // One round trip: whether there is a record of the network. Throws Failure.
  bool has(const std::string& network) const;
  // Right if nobody has changed the rule set while it was read, which is_at() and replace() find out. Throws Failure.
  MasqueradeContents read() const;
  // Of the kernel's rule set; and whether it is still of that one, and nobody at work on the next. Throws Failure.
  std::uint32_t generation() const;
  bool is_at(std::uint32_t generation) const;
  // Replaces what was read by a table for these networks, in one transaction; if there are none, deletes it. False: somebody
  // has changed the kernel's rule set since. Throws Failure.
  bool replace(const MasqueradeContents& contents) const;

  const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  Netlink netlink_;
};

}  // namespace cni
