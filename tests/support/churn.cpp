// A backend's address says which set it belongs to; the moments before and after say which sets there were.
#include "churn.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace patu::test {
namespace {

constexpr std::uint16_t kDatagramPort = 53;
constexpr std::uint32_t kAddresses = 4;

Endpoint frontend_at(std::uint32_t i, std::uint16_t port) {
  const auto n = static_cast<std::uint8_t>(1 + i / 2);
  if (i % 2 == 0) return {IpAddress::v4(10, 96, 0, n), port};
  return {IpAddress::from_bytes({0xfd, 0, 0, 0x96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n}), port};
}

Socket kind_of(std::uint32_t i, const Endpoint& to) {
  if (!to.address.is_v4()) return Socket::v6;
  return i % 8 < 4 ? Socket::v4 : Socket::mapped;
}

// What happens between its construction and a judgement.
class Witness final {
 public:
  Witness(ChurnCounters& counters, bool v4) : counters_(counters), v4_(v4), first_(counters.finished) {}

  void arrived(const std::optional<Endpoint>& peer) const {
    if (!peer || !was_in_force(*peer, v4_, first_, counters_.started)) ++counters_.misled;
  }
  void failed(int error) const {
    ++counters_.failed;
    counters_.last_error = error;
  }
  // Only a set that was replaced meanwhile may cost somebody the socket.
  void was_closed(int error) const {
    // kernel: a UDP socket that was destroyed says EDESTADDRREQ to send(2), and ECONNABORTED to recv(2).
    const bool is_told = error == ECONNABORTED || error == EDESTADDRREQ;
    if (!is_told || counters_.started == first_) return failed(error);
    ++counters_.closed;
  }

 private:
  ChurnCounters& counters_;
  bool v4_;
  std::uint32_t first_;
};

int pending_error(int socket_fd) {
  int error = 0;
  socklen_t size = sizeof error;
  (void)::getsockopt(socket_fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

void connect_tcp(const ServiceLab& lab, ChurnCounters& counters, std::uint32_t i) {
  const Endpoint to = frontend_at(i % kAddresses, 80);
  const Witness witness(counters, to.address.is_v4());
  const Connected one = connect_once(kind_of(i, to), to, lab.listener_fd());
  ++counters.tcp_connects;
  if (one.error != 0)
    witness.failed(one.error);
  else
    witness.arrived(one.peer);
}

void connect_udp(ChurnCounters& counters, std::uint32_t i, bool talks) {
  const Endpoint to = frontend_at(i % kAddresses, kDatagramPort);
  const Witness witness(counters, to.address.is_v4());
  const UniqueFd socket = new_socket(kind_of(i, to), SOCK_DGRAM, 0);
  const int error = connect_socket(socket.get(), kind_of(i, to), to);
  ++counters.udp_connects;
  if (error != 0) return witness.failed(error);
  const auto peer = peer_of(socket.get());
  if (!peer) return witness.was_closed(pending_error(socket.get()));
  witness.arrived(peer);
  if (!talks) return;
  const Answer answer = ask_connected(socket.get());
  if (answer.error != 0) return witness.was_closed(answer.error);
  ++counters.answers;
  if (answer.backend != *peer || answer.from != to) ++counters.misled;
}

// Each talks to one frontend alone: where two lead to the same backend, its answers could be either's.
struct Askers {
  std::array<UniqueFd, 16> sockets;
  Askers() {
    for (std::uint32_t i = 0; i < sockets.size(); ++i)
      sockets[i] = new_socket(kind_of(i, frontend_at(i % kAddresses, kDatagramPort)), SOCK_DGRAM, 0);
  }
};

void ask_udp(const Askers& askers, ChurnCounters& counters, std::uint32_t i) {
  const Endpoint to = frontend_at(i % kAddresses, kDatagramPort);
  const Witness witness(counters, to.address.is_v4());
  const Answer answer = ask(askers.sockets[i % askers.sockets.size()].get(), kind_of(i, to), to);
  ++counters.answers;
  if (answer.error != 0) return witness.failed(answer.error);
  witness.arrived(answer.backend);
  if (answer.from != to) ++counters.misled;
}

void work_once(const ServiceLab& lab, ChurnCounters& counters, ChurnWork work, const Askers& askers, std::uint32_t i) {
  switch (work) {
    case ChurnWork::tcp_connect: return connect_tcp(lab, counters, i);
    case ChurnWork::udp_connect:
    case ChurnWork::udp_talk: return connect_udp(counters, i, work == ChurnWork::udp_talk);
    case ChurnWork::udp_ask: return ask_udp(askers, counters, i);
  }
}

}  // namespace

Service churned(std::uint32_t version, Protocols protocols) {
  Service service{"churned", {}, {}};
  for (std::uint32_t i = 0; i < kAddresses; ++i) {
    service.frontends.push_back({frontend_at(i, 80)});
    if (protocols == Protocols::tcp_and_udp)
      service.frontends.push_back({frontend_at(i, kDatagramPort), Protocol::udp});
  }
  for (std::uint32_t i = 0; i < size_of_set(version); ++i)
    service.backends.push_back(backend_v4(version * kSetSize + i));
  for (std::uint32_t i = 0; i < size_of_set(version); ++i)
    service.backends.push_back(backend_v6(version * kSetSize + i));
  std::sort(service.frontends.begin(), service.frontends.end());  // as the table lists them
  return service;
}

Service neighbours(std::uint32_t version) {
  Service service{"neighbours", {}, {backend_v4(version % 1000 + 1, 9), backend_v6(version % 1000 + 1, 9)}};
  for (std::uint32_t i = 0; i < 48; ++i) {
    const auto net = static_cast<std::uint8_t>(i % 2 == 0 ? 0 : version % 2);
    service.frontends.push_back({{IpAddress::v4(10, 97, net, static_cast<std::uint8_t>(i + 1)), 80}});
  }
  return service;
}

bool was_in_force(const Endpoint& peer, bool v4, std::uint32_t first, std::uint32_t last) {
  if (peer.port != kBackendPort || peer.address.is_v4() != v4) return false;
  const auto& b = peer.address.bytes();
  const std::uint32_t number =
      v4 ? std::uint32_t{b[13] & 0x3fu} << 16 | std::uint32_t{b[14]} << 8 | b[15]
         : std::uint32_t{b[12]} << 24 | std::uint32_t{b[13]} << 16 | std::uint32_t{b[14]} << 8 | b[15];
  const std::uint32_t version = number / kSetSize;
  return version >= first && version <= last && number % kSetSize < size_of_set(version);
}

pid_t start_churn_client(const ServiceLab& lab, ChurnCounters& counters, ChurnWork work, std::uint32_t times,
                         unsigned seconds) {
  return lab.start_client(
      [&lab, &counters, work, times] {
        const Askers askers;
        for (std::uint32_t i = 0; i < times && !counters.stop; ++i) work_once(lab, counters, work, askers, i);
        ++counters.clients_done;
        return true;
      },
      seconds);
}

std::string replace(ServiceTable& table, ChurnCounters& counters, std::uint32_t version, Protocols protocols) {
  counters.started = version;
  const auto done = table.upsert(churned(version, protocols));
  counters.finished = version;
  return done ? "" : done.error().to_string();
}

}  // namespace patu::test
