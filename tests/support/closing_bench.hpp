// Sockets that look to the kernel as if the hooks had translated them, and backends that were taken out.
#pragma once

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "raw_map.hpp"
#include "service_lab.hpp"
#include "services/closing.hpp"

namespace patu::test {

using services::Closer;
using services::ClosingWay;

inline constexpr std::uint32_t kService = 7;
inline constexpr ClosingWay kWays[] = {ClosingWay::iterators, ClosingWay::sock_diag};
inline std::string name(ClosingWay way) { return way == ClosingWay::iterators ? "by iterators" : "by sock_diag"; }

using Stale = RawMap<patu_stale_key, std::uint32_t>;

inline patu_addr bytes_of(const IpAddress& address) {
  patu_addr out;
  std::copy(address.bytes().begin(), address.bytes().end(), out.bytes);
  return out;
}

inline patu_stale_key stale_key(const Endpoint& backend, int protocol = IPPROTO_UDP, std::uint32_t service = kService) {
  return {bytes_of(backend.address), htons(backend.port), static_cast<std::uint8_t>(protocol), 0, service};
}

// What the hooks would have remembered.
inline bool remember(int connected_fd, int socket_fd, const patu_stale_key& backend) {
  patu_translation peer{};
  peer.frontend = bytes_of(IpAddress::v4(10, 96, 0, 1));
  peer.frontend_port = htons(53);
  peer.backend = backend.backend;
  peer.backend_port = backend.port;
  peer.protocol = backend.protocol;
  peer.service_id = backend.service_id;
  peer.is_current = 1;
  return ::bpf_map_update_elem(connected_fd, &socket_fd, &peer, BPF_ANY) == 0;
}

enum class State : std::uint8_t { open, closed, other };

// What its owner is told.
inline State state_of(int socket_fd) {
  char byte = 0;
  if (::recv(socket_fd, &byte, 1, MSG_DONTWAIT) >= 0) return State::other;
  if (errno == ECONNABORTED) return State::closed;
  return errno == EAGAIN && peer_of(socket_fd) ? State::open : State::other;
}

struct Bench {
  ServiceLab lab;
  const bpf::Instance& instance = *lab.datapath().instance();
  Stale stale{"stale"};

  int connected_fd() const { return instance.map_fd(bpf::MapId::connected); }

  UniqueFd connected(Socket kind, const Endpoint& to, int type = SOCK_DGRAM) const {
    UniqueFd socket = new_socket(kind, type, 0);
    REQUIRE(socket);
    REQUIRE(connect_socket(socket.get(), kind, to) == 0);
    return socket;
  }
  UniqueFd translated(Socket kind, const Endpoint& to, int type = SOCK_DGRAM, std::uint32_t service = kService) const {
    UniqueFd socket = connected(kind, to, type);
    REQUIRE(
        remember(connected_fd(), socket.get(), stale_key(to, type == SOCK_DGRAM ? IPPROTO_UDP : IPPROTO_TCP, service)));
    return socket;
  }
  ClosedSockets close(ClosingWay way) const {
    auto closed = Closer(instance, way).close_stale();
    REQUIRE_MESSAGE(closed, closed.error().to_string());
    return *closed;
  }
};

// A namespace in which the backends' addresses have a route, as in the sandbox.
inline Netns make_pod() {
  auto netns = Netns::create();
  REQUIRE(netns);
  CHECK(output_in(*netns,
                  "(ip link set lo up && ip route replace local 10.128.0.0/10 dev lo && ip -6 route replace local "
                  "fd00:64::/32 dev lo) 2>&1") == "");
  return std::move(*netns);
}

}  // namespace patu::test
