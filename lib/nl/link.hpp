// Links: requests that create, change and remove them, and what the kernel tells about them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nl/socket.hpp"
#include "patu/types.hpp"

namespace patu::nl {

struct Link {
  std::uint32_t ifindex = 0;
  std::string name;
  std::string kind;  // "bridge", "veth", …; empty for hardware and loopback
  std::string alias;
  MacAddress mac;
  std::uint32_t mtu = 0;
  std::uint32_t flags = 0;   // IFF_*
  std::uint32_t master = 0;  // ifindex, 0: none
  std::uint32_t group = 0;
  std::uint32_t peer_ifindex = 0;  // IFLA_LINK: of a veth, in its own namespace; 0: none
  std::int32_t peer_netnsid = -1;  // IFLA_LINK_NETNSID; -1: same namespace, or gone
  bool carrier = false;
  bool hairpin = false;   // as the port of a bridge: sends back what is for itself
  bool isolated = false;  // likewise: reaches no other isolated port
};

struct VethSpec {
  IfName name;  // stays in the socket's namespace, down
  IfName peer_name;
  int peer_netns_fd = -1;    // where the peer is born: devices are never moved, that waits for an rcu_barrier
  std::uint32_t master = 0;  // bridge that `name` joins; 0: none
  std::uint32_t mtu = 1500;
  MacAddress mac;
  MacAddress peer_mac;
};

struct BridgeSpec {
  IfName name;
  MacAddress mac;
  std::uint32_t mtu = 1500;
  bool up = true;  // at once
};

// Pure builders, for Socket::call and Socket::batch. All creations are NLM_F_EXCL.
Request create_veth(const VethSpec& spec);
Request create_bridge(const BridgeSpec& spec);
Request delete_link(std::uint32_t ifindex);
Request delete_link(const IfName& name);
Request delete_link_group(std::uint32_t group);  // every device of the group shares one wait
Request set_link_up(std::uint32_t ifindex);
Request set_link_up(const IfName& name);
// The same for the end in a pod, which then also announces its IPv4 addresses whenever it comes up or changes its MAC
// (arp_notify): in one message, so that it costs nothing.
Request set_announcing_link_up(std::uint32_t ifindex);
Request set_link_down(std::uint32_t ifindex);
// 1 to 255 bytes. A request of its own, for the creation's batch: the kernel ignores IFLA_IFALIAS in a creation.
Request set_link_alias(const IfName& name, std::string_view alias);
Request set_link_group(std::uint32_t ifindex, std::uint32_t group);
Request set_link_master(std::uint32_t ifindex, std::uint32_t master);  // 0: none
Request set_link_promiscuous(std::uint32_t ifindex, bool promiscuous);
// Of the port of a bridge.
Request set_port_modes(std::uint32_t ifindex, bool hairpin, bool isolated);
// IPv6 interface identifiers are made from the MAC, as the pod program expects (IN6_ADDR_GEN_MODE_EUI64).
Request set_link_eui64(const IfName& name);
Request get_link(const IfName& name);  // for a batch: the reply is one RTM_NEWLINK, without statistics
Request get_link(std::uint32_t ifindex);

// Errors: protocol.
Result<Link> parse_link(const Message& message);

// Empty if there is no such link. Errors: io, timed_out, protocol.
Result<std::optional<Link>> find_link(Socket& socket, const IfName& name);
Result<std::optional<Link>> find_link(Socket& socket, std::uint32_t ifindex);
// Ports of a bridge, or with master 0 all links.
Result<std::vector<Link>> list_links(Socket& socket, std::uint32_t master);

}  // namespace patu::nl
