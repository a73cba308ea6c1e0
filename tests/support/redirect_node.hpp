// A node with pods that speak TCP to each other, under patu's redirection or under the simple one that patu is not.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "patu/patu.hpp"
#include "patu_maps.h"
#include "socket_address.hpp"
#include "wire.hpp"

namespace patu::test {

// Ends a body that runs in a child: doctest's checks count in the parent only.
#define EXPECT(...)                                                                   \
  do {                                                                                \
    if (!(__VA_ARGS__)) {                                                             \
      std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #__VA_ARGS__); \
      return false;                                                                   \
    }                                                                                 \
  } while (false)

enum class Rules : std::uint8_t {
  patu,    // bpf/redirect.bpf.c, by the public API
  simple,  // simple_redirect.bpf.c: whenever the peer is in the map, keyed by addresses and ports
};

// Pairs of address families that two ends of one connection can have.
struct Family {
  const char* name;
  int client;
  int server;
  bool v6;  // the addresses of the connection
};
inline constexpr std::array kFamilies{
    Family{"IPv4", AF_INET, AF_INET, false},
    Family{"IPv6", AF_INET6, AF_INET6, true},
    Family{"mapped addresses", AF_INET6, AF_INET6, false},
    Family{"IPv4 to a dual-stack listener", AF_INET, AF_INET6, false},
};
inline constexpr Family kIpv4 = kFamilies[0];

struct NodeLimits {
  std::uint32_t bytes = 1u << 20;
  std::uint32_t sockets = 8192;
};

struct NodePod {
  Netns netns;
  IpAddress v4;
  IpAddress v6;
  std::string port;  // the host's end
  MacAddress mac;
};

class RedirectNode final {
 public:
  static constexpr std::uint16_t kExcludedPort = 5999;

  // Fails the test if a step fails.
  explicit RedirectNode(Rules rules, NodeLimits limits = {});
  ~RedirectNode();
  RedirectNode(const RedirectNode&) = delete;
  RedirectNode& operator=(const RedirectNode&) = delete;

  const NodePod& add_pod(bool chooses_redirection = true);
  // A pod whose frames pass a wire. What the maps say of it is what they would say without the wire.
  const NodePod& add_pod_behind(WireRules rules);
  // Receive packet steering at both ends of every pod's cable: whichever CPU a packet's hash says handles it.
  void steer_packets() const;
  Datapath& datapath();

  // Runs `body` in a child inside the cgroup; a failed check unless it returns true in time.
  void check(const std::function<bool()>& body, unsigned seconds = 60) const;
  // The same for each of kFamilies.
  void check_families(const std::function<bool(const Family&)>& body, unsigned seconds = 60) const;
  // Of a socket of the calling process; nothing if it never entered the map.
  std::optional<patu_stream> stream_of(int socket_fd) const;
  std::uint64_t redirected_bytes(int socket_fd) const;  // that the socket has sent
  std::uint32_t state_of(int socket_fd) const;          // PATU_STREAM_*, of a socket that entered
  void put_stream(int socket_fd, const patu_stream& stream) const;
  std::size_t sockets_in_map() const;

 private:
  struct State;
  NodePod& attach(Netns netns, bool chooses_redirection);
  std::unique_ptr<State> state_;
};

// ---- sockets of pods; all stream, close-on-exec ----

UniqueFd socket_in(const Netns& netns, int family, int flags = 0, int protocol = 0);
SocketAddress socket_address(int family, const IpAddress& address, std::uint16_t port);
const IpAddress& address_of(const NodePod& pod, const Family& family);
std::uint16_t port_of(int socket_fd);

struct Listening {
  UniqueFd fd;
  std::uint16_t port = 0;
};
Listening listen_in(const NodePod& pod, const Family& family, std::uint16_t port = 0);
UniqueFd accept_one(const Listening& listener);  // waits 10 s

struct Connection {
  UniqueFd client;
  UniqueFd server;
  explicit operator bool() const noexcept { return static_cast<bool>(client) && static_cast<bool>(server); }
};
// Blocking sockets; reads and writes give up after 10 s.
Connection connect_pods(const NodePod& client, const NodePod& server, const Family& family, std::uint16_t port = 0,
                        std::uint16_t client_port = 0);

void set_patience(int fd, int seconds = 10);
void set_blocking(int fd, bool blocking);
bool set_option(int fd, int level, int name, int value);

// All of it, whatever the number of calls; a spurious EAGAIN of a blocking recv is one call more, a time-out is not.
bool send_all(int fd, const std::string& bytes);
std::string receive_exactly(int fd, std::size_t bytes);
std::string receive_to_end(int fd);
bool exchange_once(const Connection& connection);  // a message each way
std::uint64_t tcp_bytes_sent(int fd);              // by TCP_INFO

// Bytes that tell their position.
char byte_at(std::uint64_t position);
std::string bytes_at(std::uint64_t position, std::size_t count);

}  // namespace patu::test
