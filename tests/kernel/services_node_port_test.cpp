// Ports of the node itself: on every address of it and on no other, from its own processes and from pods.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <set>

#include "datagrams.hpp"
#include "instance.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr std::uint16_t kPort = 30080;
constexpr Protocol kProtocols[] = {Protocol::tcp, Protocol::udp};
const Endpoint kAnyV4{ip("0.0.0.0"), kPort};
const Endpoint kAnyV6{ip("::"), kPort};

struct Kind {
  Socket socket;
  const char* address;
};

// 192.0.2.1, 10.9.8.7 and 2001:db8::1 are the node's. The pod reaches it, and through it the backends, over a veth pair.
struct Node : ServiceLab {
  Netns host = must(Netns::current());
  Netns pod = must(Netns::create());
  ServiceTable table = open_table();

  explicit Node(PeerNames names = PeerNames::truth) : ServiceLab(datapath_options(), names) {
    const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(pod.fd());
    run("ip link add nic type veth peer name eth0 netns " + path +
        " && ip link set nic up && ip addr add 192.0.2.1/24 dev nic && ip addr add 2001:db8::1/64 dev nic nodad && "
        "ip addr add 10.9.8.7/32 dev lo");
    CHECK(output_in(pod,
                    "(ip link set lo up && ip link set eth0 up && ip addr add 192.0.2.2/24 dev eth0 && "
                    "ip addr add 2001:db8::2/64 dev eth0 nodad && ip route add default via 192.0.2.1 && "
                    "ip -6 route add default via 2001:db8::1) 2>&1") == "");
  }
  ~Node() { (void)output_of("(ip link del nic; ip addr del 10.9.8.7/32 dev lo) 2>&1"); }
  void run(const std::string& command) const { CHECK(output_of("(" + command + ") 2>&1") == ""); }

  // Whom a new socket is connected to; empty: nobody.
  std::optional<Endpoint> met(const Netns& from, Socket kind, const Endpoint& to, Protocol protocol) const {
    Shared<std::optional<Endpoint>> out;
    CHECK(run_in(from, true, [&] {
            if (protocol == Protocol::tcp) {
              *out = connect_once(kind, to, listener_fd()).peer;
              return true;
            }
            const UniqueFd socket = new_socket(kind, SOCK_DGRAM, 0);
            if (connect_socket(socket.get(), kind, to) == 0) *out = peer_of(socket.get());
            return true;
          }) == 0);
    return *out;
  }
  std::optional<Endpoint> met(const Netns& from, const Endpoint& to, Protocol protocol = Protocol::udp) const {
    return met(from, kind_for(to), to, protocol);
  }
};

Service web(std::vector<Frontend> frontends) { return {"web", std::move(frontends), {backend_v4(1), backend_v6(1)}}; }

// One frontend a family and protocol.
std::vector<Frontend> everywhere(FrontendKind kind, bool loopback = false, std::uint16_t port = kPort) {
  std::vector<Frontend> out;
  for (const Endpoint& any : {kAnyV4, kAnyV6})
    for (const Protocol protocol : kProtocols) out.push_back({{any.address, port}, protocol, kind, loopback});
  return out;
}

}  // namespace

TEST_CASE("a node port leads to a backend on every address of the node, for its own processes and for pods") {
  Node node;
  FrontendKind kind = FrontendKind::node_port;
  SUBCASE("a node port") {}
  SUBCASE("a host port of no particular address") { kind = FrontendKind::host_port; }
  must(node.table.upsert(web(everywhere(kind))));
  for (const Netns* from : {&node.host, &node.pod})
    for (const Protocol protocol : kProtocols)
      for (const Kind& one : {Kind{Socket::v4, "192.0.2.1"}, Kind{Socket::mapped, "192.0.2.1"},
                              Kind{Socket::v4, "10.9.8.7"}, Kind{Socket::v6, "2001:db8::1"}}) {
        CAPTURE(one.address);
        const Endpoint backend = one.socket == Socket::v6 ? backend_v6(1) : backend_v4(1);
        CHECK(node.met(*from, one.socket, {ip(one.address), kPort}, protocol) == backend);
      }
}

TEST_CASE("a node port is on no other address, and of no other protocol") {
  Node node;
  // The lab's listener has this port on every address: what is not translated meets it where it asked.
  must(node.table.upsert(web(everywhere(FrontendKind::node_port, false, kBackendPort))));
  CHECK(node.met(node.pod, {ip("192.0.2.1"), kBackendPort}, Protocol::tcp) == backend_v4(1));
  for (const Endpoint& other : {backend_v4(7), backend_v6(7)})
    for (const Protocol protocol : kProtocols)
      for (const Netns* from : {&node.host, &node.pod}) CHECK(node.met(*from, other, protocol) == other);
  for (const Endpoint& other : {endpoint("198.51.100.1:8080"), endpoint("192.0.2.1:8081"), endpoint("192.0.2.2:8080"),
                                endpoint("[2001:db8::2]:8080"), endpoint("[2001:db8::1]:8081")})
    CHECK(node.met(node.pod, other) == other);
  must(node.table.upsert(web({{{kAnyV4.address, kBackendPort}, Protocol::udp, FrontendKind::node_port}})));
  CHECK(node.met(node.pod, {ip("192.0.2.1"), kBackendPort}) == backend_v4(1));
  CHECK(node.met(node.pod, {ip("192.0.2.1"), kBackendPort}, Protocol::tcp) == endpoint("192.0.2.1:8080"));
  CHECK(node.met(node.pod, {ip("2001:db8::1"), kBackendPort}) == endpoint("[2001:db8::1]:8080"));
}

TEST_CASE("datagrams to a node port are answered from the node's address that was asked") {
  Node node(PeerNames::as_shipped);
  const DatagramServer server;
  must(node.table.upsert(web(everywhere(FrontendKind::node_port, true))));
  for (const Netns* from : {&node.host, &node.pod})
    CHECK(run_in(*from, true, [&] {
            for (const Kind& kind :
                 {Kind{Socket::v4, "192.0.2.1"}, Kind{Socket::mapped, "10.9.8.7"}, Kind{Socket::v6, "2001:db8::1"}}) {
              const UniqueFd socket = new_socket(kind.socket, SOCK_DGRAM, 0);
              const Endpoint asked{ip(kind.address), kPort};
              const Answer answer = ask(socket.get(), kind.socket, asked);
              if (answer.from != asked || answer.backend != (asked.address.is_v4() ? backend_v4(1) : backend_v6(1)))
                return false;
            }
            return true;
          }) == 0);
}

TEST_CASE("loopback addresses have a node port only if it says so, and only in the node's own namespace") {
  Node node;
  for (const bool loopback : {false, true}) {
    must(node.table.upsert(web(everywhere(FrontendKind::node_port, loopback))));
    for (const Kind& kind :
         {Kind{Socket::v4, "127.0.0.1"}, Kind{Socket::mapped, "127.1.2.3"}, Kind{Socket::v6, "::1"}}) {
      const Endpoint to{ip(kind.address), kPort};
      const Endpoint backend = kind.socket == Socket::v6 ? backend_v6(1) : backend_v4(1);
      CHECK(node.met(node.host, kind.socket, to, Protocol::udp) == (loopback ? backend : to));
      CHECK(node.met(node.pod, kind.socket, to, Protocol::udp) == to);
    }
  }
  CHECK(node.met(node.host, endpoint("127.0.0.1:30080"), Protocol::tcp) == backend_v4(1));
  CHECK(node.met(node.host, endpoint("[::1]:30080"), Protocol::tcp) == backend_v6(1));
}

TEST_CASE("an address that the node loses has no node ports any more, and one that it gets has them") {
  Node node;
  must(node.table.upsert(web(everywhere(FrontendKind::node_port))));
  const Endpoint old_one{ip("10.9.8.7"), kPort};
  const Endpoint new_one{ip("192.0.2.9"), kPort};
  CHECK(node.met(node.pod, old_one) == backend_v4(1));
  CHECK(node.met(node.pod, new_one) == new_one);
  node.run("ip addr add 192.0.2.9/24 dev nic");
  CHECK(output_of("ip addr del 10.9.8.7/32 dev lo 2>&1") == "");
  (void)must(node.table.refresh_node_addresses());
  CHECK(node.met(node.pod, old_one) == old_one);
  CHECK(node.met(node.pod, new_one) == backend_v4(1));
}

TEST_CASE("CVE-2020-8554: an external address is translated only while it is one of the node's own") {
  Node node;
  const Endpoint foreign = endpoint("203.0.113.9:80");
  must(node.table.upsert(web({{foreign, Protocol::udp, FrontendKind::external},
                              {endpoint("192.0.2.1:80"), Protocol::udp, FrontendKind::external}})));
  for (const Netns* from : {&node.host, &node.pod}) {
    node.run("ip route replace 203.0.113.0/24 dev nic");
    CHECK(node.met(*from, foreign) == foreign);
    CHECK(node.met(*from, endpoint("192.0.2.1:80")) == backend_v4(1));
    node.run("ip addr add 203.0.113.9/32 dev nic");
    (void)must(node.table.refresh_node_addresses());
    CHECK(node.met(*from, foreign) == backend_v4(1));
    node.run("ip addr del 203.0.113.9/32 dev nic");
    (void)must(node.table.refresh_node_addresses());
    CHECK(node.met(*from, foreign) == foreign);
  }
}

TEST_CASE("a host port of one address is on that one alone, while it is the node's") {
  Node node;
  must(node.table.upsert(web({{{ip("192.0.2.1"), kPort}, Protocol::udp, FrontendKind::host_port},
                              {{ip("203.0.113.9"), kPort}, Protocol::udp, FrontendKind::host_port}})));
  for (const Netns* from : {&node.host, &node.pod}) {
    CHECK(node.met(*from, {ip("192.0.2.1"), kPort}) == backend_v4(1));
    CHECK(node.met(*from, {ip("10.9.8.7"), kPort}) == Endpoint{ip("10.9.8.7"), kPort});
  }
  CHECK(node.met(node.pod, {ip("203.0.113.9"), kPort}) == Endpoint{ip("203.0.113.9"), kPort});
}

TEST_CASE("on an address that has the port as a frontend of its own, that one is meant and not the node port") {
  Node node;
  must(node.table.upsert(web(everywhere(FrontendKind::node_port))));
  Service own{"own", {{{ip("192.0.2.1"), kPort}, Protocol::udp, FrontendKind::load_balancer}}, {backend_v4(2)}};
  must(node.table.upsert(own));
  CHECK(node.met(node.pod, {ip("192.0.2.1"), kPort}) == backend_v4(2));
  CHECK(node.met(node.pod, {ip("10.9.8.7"), kPort}) == backend_v4(1));
  must(node.table.remove("own"));
  CHECK(node.met(node.pod, {ip("192.0.2.1"), kPort}) == backend_v4(1));
}

TEST_CASE("a node port without a backend refuses, and is an ordinary port once its service is gone") {
  Node node;
  must(node.table.upsert({"web", everywhere(FrontendKind::node_port), {}}));
  const Endpoint to{ip("192.0.2.1"), kPort};
  for (const Netns* from : {&node.host, &node.pod})
    for (const int type : {SOCK_STREAM, SOCK_DGRAM})
      CHECK(run_in(*from, true, [&] {
              const UniqueFd socket = new_socket(Socket::v4, type, 0);
              return connect_socket(socket.get(), Socket::v4, to) == node.refusal();
            }) == 0);
  must(node.table.remove("web"));
  CHECK(node.met(node.pod, to) == to);
}
