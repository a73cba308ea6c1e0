// A node in the sandbox's own namespace with pods on two bridges, and an outside that knows no way back to pods' addresses.
#pragma once

#include <string>
#include <vector>

#include "patu/netns.hpp"
#include "patu/types.hpp"

namespace patu::test {

inline constexpr char kNodeV4[] = "192.0.2.1";
inline constexpr char kNodeV6[] = "2001:db8::1";
inline constexpr char kOutsideV4[] = "192.0.2.2";
inline constexpr char kOutsideV6[] = "2001:db8::2";

struct EgressPod {
  Netns netns;
  IpAddress v4, v6;
};

class EgressLab final {
 public:
  // Pods 0 and 1 are on one bridge, 10.200.0.0/24 and fd00:200::/64; pod 2 is on another, 10.201.0.0/24 and fd00:201::/64.
  EgressLab();
  EgressLab(const EgressLab&) = delete;
  EgressLab& operator=(const EgressLab&) = delete;
  ~EgressLab();  // and all of the node's nftables rules

  const EgressPod& pod(std::size_t number) const { return pods_.at(number); }
  const Netns& outside() const noexcept { return outside_; }

 private:
  void add_pod(const std::string& bridge, const std::string& last);

  Netns outside_;
  std::vector<EgressPod> pods_;
};

std::string ruleset();  // as nft(8) lists it

// For tests without packets.
struct Clean {
  Clean() = default;
  Clean(const Clean&) = delete;
  Clean& operator=(const Clean&) = delete;
  ~Clean();  // all of the node's nftables rules
};

// Whose address a datagram has that arrives at `address`; "nobody" if it does not.
std::string sender_seen(const Netns& from, const Netns& to, const IpAddress& address);

}  // namespace patu::test
