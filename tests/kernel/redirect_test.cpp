// Socket redirection: which connections are redirected and which never, and that those that are, are.
#include <doctest/doctest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "raw_map.hpp"
#include "redirect_node.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

bool is_redirected(const RedirectNode& node, const Connection& c) {
  return node.state_of(c.client.get()) == PATU_STREAM_REDIRECTED &&
         node.state_of(c.server.get()) == PATU_STREAM_REDIRECTED;
}

// Neither end ever was in the map.
bool stayed_out(const RedirectNode& node, const Connection& c) {
  return !node.stream_of(c.client.get()) && !node.stream_of(c.server.get());
}

// A connection inside one namespace.
Connection connect_to_itself(const Netns& netns, const IpAddress& from, const IpAddress& to) {
  const UniqueFd listener = socket_in(netns, AF_INET);
  const SocketAddress at = socket_address(AF_INET, to, 0);
  if (::bind(listener.get(), at.get(), at.size) != 0 || ::listen(listener.get(), 1) != 0) return {};
  Connection out;
  out.client = socket_in(netns, AF_INET);
  const SocketAddress source = socket_address(AF_INET, from, 0);
  const SocketAddress target = socket_address(AF_INET, to, port_of(listener.get()));
  if (::bind(out.client.get(), source.get(), source.size) != 0 ||
      ::connect(out.client.get(), target.get(), target.size) != 0)
    return {};
  out.server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return out;
}

}  // namespace

TEST_CASE("a connection between two pods that chose it is redirected both ways, in every pair of families") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    node.check([&]() -> bool {
      const Connection c = connect_pods(a, b, family);
      EXPECT(c);
      EXPECT(exchange_once(c));
      EXPECT(exchange_once(c));
      EXPECT(node.redirected_bytes(c.client.get()) == 16);
      EXPECT(node.redirected_bytes(c.server.get()) == 12);
      EXPECT(tcp_bytes_sent(c.client.get()) == 0);
      EXPECT(tcp_bytes_sent(c.server.get()) == 0);
      EXPECT(node.sockets_in_map() == 2);
      return true;
    });
    CHECK(node.sockets_in_map() == 0);
  }
}

TEST_CASE("a pod that did not choose redirection is left alone, whichever end it is") {
  RedirectNode node(Rules::patu);
  const NodePod& willing = node.add_pod();
  const NodePod& unwilling = node.add_pod(false);
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    node.check([&]() -> bool {
      for (const bool outward : {true, false}) {
        const Connection c =
            outward ? connect_pods(willing, unwilling, family) : connect_pods(unwilling, willing, family);
        EXPECT(c);
        EXPECT(exchange_once(c));
        EXPECT(stayed_out(node, c));
        EXPECT(tcp_bytes_sent(c.client.get()) >= 8);
      }
      EXPECT(node.sockets_in_map() == 0);
      return true;
    });
  }
}

TEST_CASE("an excluded port is left alone as either end's, and its neighbour is not") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    const Connection to = connect_pods(a, b, family, RedirectNode::kExcludedPort);
    EXPECT(to);
    EXPECT(exchange_once(to));
    EXPECT(stayed_out(node, to));
    const Connection from = connect_pods(b, a, family, 0, RedirectNode::kExcludedPort);
    EXPECT(from);
    EXPECT(exchange_once(from));
    EXPECT(stayed_out(node, from));
    const Connection next = connect_pods(a, b, family, RedirectNode::kExcludedPort + 1);
    EXPECT(next);
    EXPECT(exchange_once(next));
    EXPECT(is_redirected(node, next));
    return true;
  });
}

TEST_CASE("the node's own connections with its pods are left alone") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  auto here = Netns::current();
  REQUIRE(here);
  const NodePod host{std::move(*here), *IpAddress::parse("10.200.0.1"), *IpAddress::parse("fd00:200::1"), "", {}};
  node.check_families([&](const Family& family) -> bool {
    for (const bool outward : {true, false}) {
      const Connection c = outward ? connect_pods(a, host, family) : connect_pods(host, a, family);
      EXPECT(c);
      EXPECT(exchange_once(c));
      EXPECT(stayed_out(node, c));
    }
    return true;
  });
}

TEST_CASE("a pod's connections to itself are left alone, over loopback and by its own address") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const IpAddress loopback = IpAddress::v4(127, 0, 0, 1);
  node.check([&]() -> bool {
    for (const IpAddress& address : {loopback, a.v4}) {
      const Connection c = connect_to_itself(a.netns, address, address);
      EXPECT(c);
      EXPECT(exchange_once(c));
      EXPECT(stayed_out(node, c));
    }
    return true;
  });
}

TEST_CASE("a loopback address is never redirected, not even if it were a pod's") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const RawMap<patu_addr, patu_pod> pods("pods");
  const IpAddress addresses[] = {IpAddress::v4(127, 0, 0, 1), IpAddress::v4(127, 0, 0, 2)};
  patu_pod entry{};
  for (const auto& [key, value] : pods.all())
    if (value.netns_cookie != 0) entry = value;
  REQUIRE(entry.netns_cookie == *a.netns.cookie());
  for (const IpAddress& address : addresses) {
    patu_addr key{};
    std::copy(address.bytes().begin(), address.bytes().end(), key.bytes);
    pods.put(key, entry);
  }
  node.check([&]() -> bool {
    const Connection c = connect_to_itself(a.netns, addresses[0], addresses[1]);
    EXPECT(c);
    EXPECT(exchange_once(c));
    EXPECT(stayed_out(node, c));
    return true;
  });
  for (const IpAddress& address : addresses) {
    patu_addr key{};
    std::copy(address.bytes().begin(), address.bytes().end(), key.bytes);
    pods.erase(key);
  }
}

TEST_CASE("processes outside of the cgroup are left alone") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const Connection c = connect_pods(a, b, kIpv4);
  REQUIRE(c);
  CHECK(exchange_once(c));
  CHECK(stayed_out(node, c));
}

TEST_CASE("a socket of which more was asked than redirection can give is left alone") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  struct Option {
    int level, name, value;
  };
  for (const Option& option : {Option{SOL_SOCKET, SO_RCVLOWAT, 2}, Option{SOL_SOCKET, SO_ZEROCOPY, 1}}) {
    CAPTURE(option.name);
    node.check([&]() -> bool {
      const Listening listener = listen_in(b, kIpv4);
      EXPECT(set_option(listener.fd.get(), option.level, option.name, option.value));
      Connection c;
      c.client = socket_in(a.netns, AF_INET);
      EXPECT(set_option(c.client.get(), option.level, option.name, option.value));
      const SocketAddress to = socket_address(AF_INET, b.v4, listener.port);
      EXPECT(::connect(c.client.get(), to.get(), to.size) == 0);
      c.server = accept_one(listener);
      EXPECT(exchange_once(c));
      EXPECT(stayed_out(node, c));
      return true;
    });
  }
}

TEST_CASE("the subflows of Multipath TCP are left alone") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const UniqueFd listener = socket_in(b.netns, AF_INET, 0, IPPROTO_MPTCP);
    EXPECT(listener);
    const SocketAddress any = socket_address(AF_INET, IpAddress::v4(0, 0, 0, 0), 0);
    EXPECT(::bind(listener.get(), any.get(), any.size) == 0 && ::listen(listener.get(), 1) == 0);
    Connection c;
    c.client = socket_in(a.netns, AF_INET, 0, IPPROTO_MPTCP);
    const SocketAddress to = socket_address(AF_INET, b.v4, port_of(listener.get()));
    EXPECT(::connect(c.client.get(), to.get(), to.size) == 0);
    c.server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT(exchange_once(c));
    EXPECT(node.sockets_in_map() == 0);
    return true;
  });
}

TEST_CASE("a full map leaves the connection to TCP") {
  RedirectNode node(Rules::patu, {.sockets = 3});
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    const Connection first = connect_pods(a, b, family);
    EXPECT(first);
    const Connection second = connect_pods(a, b, family);
    EXPECT(second);
    EXPECT(node.sockets_in_map() == 3);
    for (int i = 0; i < 2; ++i) EXPECT(exchange_once(first) && exchange_once(second));
    EXPECT(is_redirected(node, first));
    EXPECT(node.state_of(second.client.get()) == PATU_STREAM_NO_PEER);
    EXPECT(!node.stream_of(second.server.get()));
    EXPECT(tcp_bytes_sent(second.client.get()) >= 16);
    return true;
  });
}

TEST_CASE("a connection to a service is redirected to the backend") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  auto services = ServiceTable::open(node.datapath());
  REQUIRE(services);
  for (const Family& family : {kFamilies[0], kFamilies[1], kFamilies[2]}) {
    CAPTURE(family.name);
    const Endpoint frontend{*IpAddress::parse(family.v6 ? "fd00:96::1" : "10.96.0.1"), 80};
    node.check([&]() -> bool {
      const Listening listener = listen_in(b, family);
      EXPECT(services->upsert(
          {.name = "web", .frontends = {{frontend}}, .backends = {Endpoint{address_of(b, family), listener.port}}}));
      Connection c;
      c.client = socket_in(a.netns, family.client);
      const SocketAddress to = socket_address(family.client, frontend.address, frontend.port);
      EXPECT(::connect(c.client.get(), to.get(), to.size) == 0);
      c.server = accept_one(listener);
      EXPECT(exchange_once(c));
      EXPECT(is_redirected(node, c));
      EXPECT(node.redirected_bytes(c.client.get()) == 8 && node.redirected_bytes(c.server.get()) == 6);
      return true;
    });
  }
}
