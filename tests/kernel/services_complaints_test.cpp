// What users of other socket load balancers complain about, by number: a test each of what a socket meets here.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <set>

#include "closing_bench.hpp"
#include "datagrams.hpp"
#include "instance.hpp"

using namespace patu;
using namespace patu::test;

namespace {

const Endpoint kDns = endpoint("10.96.0.10:53");
const Endpoint kSecond = endpoint("10.96.0.11:53");

Service dns(std::vector<Backend> backends, const Endpoint& at = kDns) {
  return {"dns " + at.to_string(), {{at, Protocol::udp}}, std::move(backends)};
}

struct Lab : ServiceLab {
  explicit Lab(const DatapathOptions& options = datapath_options()) : ServiceLab(options, PeerNames::as_shipped) {}
  DatagramServer server;
  ServiceTable table = open_table();

  // In a client: an object of its own, since a child inherits the other.
  bool change(const Service& service) const {
    auto mine = ServiceTable::open(datapath());
    return mine && mine->upsert(service).has_value();
  }
};

UniqueFd datagram_socket() { return new_socket(Socket::v4, SOCK_DGRAM, 0); }
bool connects(const UniqueFd& socket, const Endpoint& to) { return connect_socket(socket.get(), Socket::v4, to) == 0; }
bool disconnects(const UniqueFd& socket) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  return ::connect(socket.get(), &nobody, sizeof nobody) == 0;
}
Answer asks(const UniqueFd& socket, const Endpoint& to) { return ask(socket.get(), Socket::v4, to); }

}  // namespace

TEST_CASE(
    "cilium #12859, #27300, #40336, #48096, #48244, calico #4509: connected UDP does not stay with a dead backend") {
  Lab lab;
  must(lab.table.upsert(dns({backend_v4(1)})));
  CHECK(lab.as_client([&] {
    const UniqueFd socket = datagram_socket();
    if (!connects(socket, kDns) || ask_connected(socket.get()).backend != backend_v4(1)) return false;
    if (!lab.change(dns({backend_v4(2)}))) return false;
    if (receive_datagram(socket.get()).error != ECONNABORTED) return false;
    return connects(socket, kDns) && ask_connected(socket.get()).backend == backend_v4(2);
  }));
}

TEST_CASE("cilium #38649, #44835: however many sockets there are, none is forgotten when its backend goes") {
  DatapathOptions smallest = datapath_options();
  smallest.max_services = smallest.max_pods = 1;
  Lab lab(smallest);
  must(lab.table.upsert(dns({backend_v4(1)})));
  CHECK(lab.as_client([&] {
    std::vector<UniqueFd> sockets;
    for (int i = 0; i < 500; ++i) {
      sockets.push_back(datagram_socket());
      if (!connects(sockets.back(), kDns)) return false;
    }
    if (!lab.change(dns({backend_v4(2)}))) return false;
    return std::all_of(sockets.begin(), sockets.end(),
                       [](const UniqueFd& socket) { return state_of(socket.get()) == State::closed; });
  }));
}

TEST_CASE(
    "cilium #44767: a socket that is connected to something else by now, or was never translated, is not closed") {
  Lab lab;
  must(lab.table.upsert(dns({backend_v4(1)})));
  must(lab.table.upsert(dns({backend_v4(1)}, kSecond)));
  CHECK(lab.as_client([&] {
    const UniqueFd dead = datagram_socket();
    const UniqueFd elsewhere = datagram_socket();
    const UniqueFd reused = datagram_socket();
    const UniqueFd direct = datagram_socket();
    const UniqueFd other_service = datagram_socket();
    if (!connects(dead, kDns) || !connects(elsewhere, kDns) || !connects(elsewhere, backend_v4(7))) return false;
    if (!connects(reused, kDns) || !disconnects(reused) || !connects(reused, backend_v4(1))) return false;
    if (!connects(direct, backend_v4(1)) || !connects(other_service, kSecond)) return false;
    if (peer_of(reused.get()) != backend_v4(1) || peer_of(elsewhere.get()) != backend_v4(7)) return false;
    if (!lab.change(dns({backend_v4(2)})) || state_of(dead.get()) != State::closed) return false;
    for (const UniqueFd* one : {&elsewhere, &reused, &direct, &other_service})
      if (state_of(one->get()) != State::open) return false;
    return ask_connected(other_service.get()).from == kSecond;
  }));
}

TEST_CASE("cilium #44767: an unconnected UDP socket leaves the dead backend with its next datagram") {
  Lab lab;
  must(lab.table.upsert(dns({backend_v4(1)})));
  CHECK(lab.as_client([&] {
    const UniqueFd socket = datagram_socket();
    if (asks(socket, kDns).backend != backend_v4(1) || !lab.change(dns({backend_v4(2)}))) return false;
    const Answer answer = asks(socket, kDns);
    return answer.from == kDns && answer.backend == backend_v4(2);
  }));
}

TEST_CASE(
    "cilium #11301, #17312: a conversation over unconnected UDP stays where it is while other backends come and go") {
  Lab lab;
  must(lab.table.upsert(dns(backends_v4(1, 8))));
  CHECK(lab.as_client([&] {
    const UniqueFd socket = datagram_socket();
    const Endpoint first = asks(socket, kDns).backend;
    for (std::uint32_t others = 20; others < 50; others += 3) {
      std::vector<Backend> backends = backends_v4(others, 1 + others % 7);
      backends.emplace_back(first);
      if (!lab.change(dns(backends)) || asks(socket, kDns).backend != first) return false;
    }
    return true;
  }));
}

TEST_CASE("calico felix #3067: without affinity the sockets of one pod spread over the backends of a UDP service") {
  Lab lab;
  must(lab.table.upsert(dns(backends_v4(1, 4))));
  CHECK(lab.as_client([&] {
    std::set<Endpoint> met;
    for (int i = 0; i < 100; ++i) met.insert(asks(datagram_socket(), kDns).backend);
    return met.size() == 4;  // the odds against it are 4 * (3/4)^100
  }));
}

TEST_CASE("cilium #42170, #48259: a backend that is not ready for a moment keeps its conversations") {
  Lab lab;
  must(lab.table.upsert(dns({backend_v4(1)})));
  CHECK(lab.as_client([&] {
    const UniqueFd connected = datagram_socket();
    if (!connects(connected, kDns)) return false;
    for (const BackendState state : {BackendState::maintenance, BackendState::terminating, BackendState::active}) {
      if (!lab.change(dns({{backend_v4(1), state}, {backend_v4(2)}}))) return false;
      if (ask_connected(connected.get()).backend != backend_v4(1)) return false;
      if (state != BackendState::active && asks(datagram_socket(), kDns).backend != backend_v4(2)) return false;
    }
    return true;
  }));
}

TEST_CASE(
    "cilium, known issues of kube-proxy replacement: one backend behind many frontends answers as the one asked") {
  Lab lab;
  std::vector<Endpoint> frontends;
  for (std::uint8_t i = 1; i <= 6; ++i) {  // more than a socket's first array has places
    frontends.push_back({IpAddress::v4(10, 96, 3, i), 53});
    must(lab.table.upsert(dns({backend_v4(1)}, frontends.back())));
  }
  CHECK(lab.as_client([&] {
    const UniqueFd socket = datagram_socket();
    std::vector<UniqueFd> connected;
    for (const Endpoint& frontend : frontends) {
      connected.push_back(datagram_socket());
      if (!connects(connected.back(), frontend)) return false;
    }
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < frontends.size(); ++i)
        if (asks(socket, frontends[i]).from != frontends[i] || ask_connected(connected[i].get()).from != frontends[i] ||
            asks(socket, frontends[i]).from != frontends[i])
          return false;
      std::reverse(frontends.begin() + round, frontends.end());
      std::reverse(connected.begin() + round, connected.end());
    }
    return true;
  }));
}

TEST_CASE("istio #27619, calico #6908: getpeername tells the service that was asked for, not the pod") {
  Lab lab;
  must(lab.table.upsert({"web", {{endpoint("10.96.0.1:80")}}, {backend_v4(1)}}));
  must(lab.table.upsert(dns({backend_v4(1)})));
  CHECK(lab.as_client([&] {
    const UniqueFd datagrams = datagram_socket();
    return connects(datagrams, kDns) && peer_of(datagrams.get()) == kDns &&
           connect_once(Socket::v4, endpoint("10.96.0.1:80"), lab.listener_fd()).peer == endpoint("10.96.0.1:80");
  }));
}

TEST_CASE("cilium #10002, #45184: what is refused is refused at once, with the error of a closed port") {
  Lab lab;
  must(lab.table.upsert(dns({})));
  must(lab.table.upsert({"web", {{endpoint("10.96.0.1:80")}}, {}}));
  CHECK(lab.as_client([&] {
    const UniqueFd datagrams = datagram_socket();
    const UniqueFd stream = new_socket(Socket::v4, SOCK_STREAM, 0);
    return connect_socket(datagrams.get(), Socket::v4, kDns) == lab.refusal() &&
           send_datagram(datagrams.get(), Socket::v4, kDns) == lab.refusal() &&
           connect_socket(stream.get(), Socket::v4, endpoint("10.96.0.1:80")) == lab.refusal();
  }));
}

TEST_CASE("cilium #16078, #16259, #20607: processes of every cgroup below are served, and none outside") {
  Lab lab;
  must(lab.table.upsert(dns({backend_v4(1)})));
  const std::string nested = cgroup_path() + "/kubepods/pod1/container";
  CHECK(output_of("mkdir -p " + nested + " 2>&1") == "");
  const auto served = [&] { return asks(datagram_socket(), kDns).from == kDns; };
  CHECK(run_in(must(Netns::current()), false, [&] {
          if (served()) return false;
          if (output_of("echo " + std::to_string(::getpid()) + " 2>&1 > " + nested + "/cgroup.procs") != "")
            return false;
          return served();
        }) == 0);
  CHECK(output_of("cd " + cgroup_path() + " && rmdir -p kubepods/pod1/container 2>&1") == "");
}

TEST_CASE("link updates: no connect goes astray while the programs are exchanged for another build's") {
  Lab lab;
  must(lab.table.upsert({"web", {{endpoint("10.96.0.1:80")}}, backends_v4(1, 4)}));
  Shared<std::atomic<bool>> done;
  Shared<std::atomic<int>> connects;
  const pid_t client = lab.start_client([&] {
    for (; !*done; ++*connects)  // the frontend has no route: a connect that is not translated fails
      if (connect_once(Socket::v4, endpoint("10.96.0.1:80"), lab.listener_fd()).error != 0) return false;
    return true;
  });
  while (*connects == 0 && ::kill(client, 0) == 0) ::usleep(1000);
  for (int i = 0; i < 10; ++i) {
    auto meta = must(lab.datapath().instance()->meta());
    meta.build[PATU_COMPONENT_SERVICE] ^= 1;
    must(lab.datapath().instance()->put_meta(meta));
    (void)must(Datapath::open(datapath_options()));
  }
  *done = true;
  CHECK(wait_for(client) == 0);
}
