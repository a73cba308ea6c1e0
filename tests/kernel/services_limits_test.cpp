// What sockets meet at the kernel's and the table's limits: no memory, a full map, and protocols that services do not have.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "closing_bench.hpp"
#include "datagrams.hpp"
#include "instance.hpp"

using namespace patu;
using namespace patu::test;

namespace {

const Endpoint kFrontend = endpoint("10.96.0.1:80");

using Affinity = RawMap<patu_affinity_key, patu_affinity>;
using Kind = ServiceEvent::Kind;

Service web(Protocol protocol) { return {"web", {{kFrontend, protocol}}, backends_v4(1, 60)}; }

std::optional<Endpoint> met(const Netns& from) {
  Shared<std::optional<Endpoint>> out;
  CHECK(run_in(from, true, [&] {
          const UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
          if (connect_socket(socket.get(), Socket::v4, kFrontend) == 0) *out = peer_of(socket.get());
          return true;
        }) == 0);
  return *out;
}

void check_event(const std::vector<ServiceEvent>& heard, Kind kind, const Netns& of) {
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].kind == kind);
  CHECK(heard[0].service == "web");
  CHECK(heard[0].frontend.endpoint == kFrontend);
  CHECK(heard[0].netns_cookie == must(of.cookie()));
}

// Four pods have made the four choices that there is room for.
struct Full : ServiceLab {
  ServiceTable table = open_table();
  std::vector<Netns> pods;
  std::vector<std::optional<Endpoint>> first;

  Full() : ServiceLab(small_datapath(1)) {
    Service sticky = web(Protocol::udp);
    sticky.affinity_timeout = std::chrono::hours(1);
    must(table.upsert(sticky));
    for (int i = 0; i < 4; ++i) {
      pods.push_back(make_pod());
      first.push_back(met(pods.back()));
      CHECK(first.back());
    }
    CHECK(Affinity("affinity").size() == 4);
  }
};

}  // namespace

TEST_CASE("with the affinity map full, more pods are served and told of, and what has timed out makes room again") {
  Full lab;
  const Netns late = make_pod();
  auto events = must(lab.table.events());
  for (std::size_t i = 0; i < lab.pods.size(); ++i) CHECK(met(lab.pods[i]) == lab.first[i]);
  CHECK(must(events.read()).empty());
  CHECK(met(late));
  check_event(must(events.read()), Kind::affinity_full, late);
  CHECK(Affinity("affinity").size() == 4);
  for (std::size_t i = 0; i < lab.pods.size(); ++i) CHECK(met(lab.pods[i]) == lab.first[i]);

  const auto entries = Affinity("affinity").all();
  for (std::size_t i = 0; i < 3; ++i) {
    patu_affinity expired = entries[i].second;
    expired.timeout_s = 0;
    Affinity("affinity").put(entries[i].first, expired);
  }
  must(lab.open_table().remove("nothing"));
  CHECK(Affinity("affinity").size() == 1);
  const auto remembered = met(late);
  CHECK(Affinity("affinity").size() == 2);
  for (int i = 0; i < 5; ++i) CHECK(met(late) == remembered);
}

TEST_CASE("with the affinity map full, a conversation still has its socket to remember the backend") {
  const Full lab;
  CHECK(run_in(make_pod(), true, [] {
          const DatagramServer server;
          const UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
          const Answer first = ask(socket.get(), Socket::v4, kFrontend);
          for (int i = 0; i < 20; ++i)
            if (ask(socket.get(), Socket::v4, kFrontend).backend != first.backend) return false;
          return first.error == 0;
        }) == 0);
  CHECK(Affinity("affinity").size() == 4);
}

TEST_CASE("a socket whose choice the kernel has no memory to remember is refused, counted and told of") {
  ServiceLab lab(datapath_options(), PeerNames::as_shipped);
  const DatagramServer server;
  const Netns pod = make_pod();
  const std::string limit = "/proc/sys/net/core/optmem_max";
  if (output_in(pod, "test -w " + limit + " || echo missing") != "") {
    WARN_MESSAGE(false, "before Linux 6.8 net.core.optmem_max is not a namespace's own: nothing to try");
    return;
  }
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    auto table = lab.open_table();
    must(table.upsert(web(protocol)));
    auto events = must(table.events());
    const auto error_of = [&](bool connected) {
      Shared<int> error;
      CHECK(run_in(pod, true, [&] {
              const UniqueFd socket = new_socket(Socket::v4, protocol == Protocol::tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
              *error = connected ? connect_socket(socket.get(), Socket::v4, kFrontend)
                                 : send_datagram(socket.get(), Socket::v4, kFrontend);
              return true;
            }) == 0);
      return *error;
    };
    const int no_memory = lab.refusal() == EPERM ? EPERM : ENOMEM;
    CHECK(output_in(pod, "echo 1 > " + limit + " 2>&1") == "");
    CHECK(error_of(true) == no_memory);
    if (protocol == Protocol::udp) CHECK(error_of(false) == no_memory);
    check_event(must(events.read()), Kind::out_of_memory, pod);
    CHECK(must(table.stats()).at(0).refused == (protocol == Protocol::udp ? 2 : 1));
    CHECK(output_in(pod, "echo 131072 > " + limit + " 2>&1") == "");
    if (protocol == Protocol::udp) {
      CHECK(error_of(true) == 0);
      CHECK(error_of(false) == 0);
    }
    must(table.remove("web"));
  }
}

TEST_CASE("frontends of other protocols are refused by name, and their sockets are refused or left alone") {
  ServiceLab lab;
  auto table = lab.open_table();
  for (const auto& [number, name] : {std::pair{IPPROTO_SCTP, "SCTP"}, {IPPROTO_UDPLITE, "UDP-Lite"}}) {
    const auto refused = table.upsert(web(static_cast<Protocol>(number)));
    REQUIRE_FALSE(refused);
    check_error(refused.error(), Errc::unsupported, name);
  }
  must(table.upsert(web(Protocol::udp)));
  must(table.upsert({"announced", {{backend_v4(500), Protocol::udp, FrontendKind::load_balancer}}, {backend_v4(1)}}));
  CHECK(lab.as_client([&] {
    const UniqueFd lite = new_socket(Socket::v4, SOCK_DGRAM, IPPROTO_UDPLITE);
    if (lite && send_datagram(lite.get(), Socket::v4, kFrontend) != lab.refusal()) return false;
    const UniqueFd other = new_socket(Socket::v4, SOCK_DGRAM, IPPROTO_UDPLITE);
    if (other &&
        (connect_socket(other.get(), Socket::v4, backend_v4(500)) != 0 || peer_of(other.get()) != backend_v4(500)))
      return false;
    // The kernel asks no program about SCTP: a cluster address is one without a route.
    const UniqueFd sctp = new_socket(Socket::v4, SOCK_STREAM, IPPROTO_SCTP);
    return !sctp || connect_socket(sctp.get(), Socket::v4, kFrontend) != 0;
  }));
}

TEST_CASE("a backend that is taken out takes its TCP connections with it only if the service says so, and no others") {
  ServiceLab lab;
  for (const bool close_tcp : {false, true}) {
    CAPTURE(close_tcp);
    Service both = web(Protocol::tcp);
    both.backends = backends_v4(1, 2);
    both.close_tcp = close_tcp;
    must(lab.open_table().upsert(both));
    CHECK(lab.as_client([&] {
      std::vector<UniqueFd> sockets;
      std::vector<UniqueFd> other_ends;
      for (int i = 0; i < 40; ++i) {
        sockets.push_back(new_socket(Socket::v4, SOCK_STREAM, 0));
        if (connect_socket(sockets.back().get(), Socket::v4, kFrontend) != 0) return false;
        other_ends.emplace_back(::accept4(lab.listener_fd(), nullptr, nullptr, SOCK_CLOEXEC));
      }
      std::vector<bool> on_first;
      for (const UniqueFd& socket : sockets) on_first.push_back(peer_of(socket.get()) == backend_v4(1));
      auto mine = ServiceTable::open(lab.datapath());
      Service one = both;
      one.backends = {backend_v4(2)};
      if (!mine || !mine->upsert(one)) return false;
      for (std::size_t i = 0; i < sockets.size(); ++i)
        if (state_of(sockets[i].get()) != (close_tcp && on_first[i] ? State::closed : State::open)) return false;
      return true;
    }));
  }
}
