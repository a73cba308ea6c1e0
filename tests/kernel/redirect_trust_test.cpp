// Socket redirection: what is sent to a pod reaches that pod and no other namespace, whatever that one claims.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include "raw_map.hpp"
#include "redirect_node.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr std::uint16_t kServerPort = 7000;
constexpr std::uint16_t kClientPort = 7001;

void run_in_namespace(const Netns& netns, const std::string& command) {
  const std::string said = output_in(netns, "(" + command + ") 2>&1");
  REQUIRE_MESSAGE(said.empty(), said);
}

// A connection between two addresses of one namespace, on the ports above.
Connection connect_inside(const Netns& netns, const Family& family, const IpAddress& from, const IpAddress& to) {
  const UniqueFd listener = socket_in(netns, family.server);
  set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const SocketAddress at = socket_address(family.server, to, kServerPort);
  if (::bind(listener.get(), at.get(), at.size) != 0 || ::listen(listener.get(), 1) != 0) return {};
  Connection out;
  out.client = socket_in(netns, family.client);
  set_option(out.client.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const SocketAddress source = socket_address(family.client, from, kClientPort);
  const SocketAddress target = socket_address(family.client, to, kServerPort);
  if (::bind(out.client.get(), source.get(), source.size) != 0 ||
      ::connect(out.client.get(), target.get(), target.size) != 0)
    return {};
  out.server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return out;
}

bool nothing_to_read(int fd) {
  char byte;
  return ::recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

patu_addr key_of(const IpAddress& address) {
  patu_addr key{};
  std::copy(address.bytes().begin(), address.bytes().end(), key.bytes);
  return key;
}

patu_pod entry_of(const RawMap<patu_addr, patu_pod>& pods, const IpAddress& address) {
  const patu_addr wanted = key_of(address);
  for (const auto& [key, value] : pods.all())
    if (std::equal(std::begin(key.bytes), std::end(key.bytes), std::begin(wanted.bytes))) return value;
  FAIL("no entry of " << address.to_string());
  return {};
}

}  // namespace

TEST_CASE("a namespace that claims two pods' addresses gets nothing of what they send each other") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  // One is a stranger, the other a pod that chose redirection and lies about its addresses.
  auto stranger = Netns::create();
  REQUIRE(stranger);
  const NodePod& liar = node.add_pod();
  const Netns* const namespaces[] = {&*stranger, &liar.netns};
  for (const Netns* netns : namespaces)
    for (const NodePod* victim : {&a, &b})
      run_in_namespace(*netns, "ip link set lo up; ip addr add " + victim->v4.to_string() + "/32 dev lo; ip addr add " +
                                   victim->v6.to_string() + "/128 dev lo nodad");
  for (const Netns* netns : namespaces) {
    for (const Family& family : kFamilies) {
      CAPTURE(family.name);
      if (family.client != family.server) continue;  // binds to addresses of one family
      node.check([&]() -> bool {
        const Connection spied = connect_inside(*netns, family, address_of(a, family), address_of(b, family));
        EXPECT(spied);
        EXPECT(node.sockets_in_map() == 0);
        const Connection c = connect_pods(a, b, family, kServerPort, kClientPort);
        EXPECT(c);
        const Connection again = connect_inside(*netns, family, address_of(a, family), address_of(b, family));
        EXPECT(send_all(c.client.get(), "secret") && receive_exactly(c.server.get(), 6) == "secret");
        EXPECT(send_all(c.server.get(), "answer") && receive_exactly(c.client.get(), 6) == "answer");
        EXPECT(node.redirected_bytes(c.client.get()) == 6 && node.redirected_bytes(c.server.get()) == 6);
        EXPECT(nothing_to_read(spied.server.get()) && nothing_to_read(spied.client.get()));
        // Nor can it speak for them.
        EXPECT(exchange_once(spied));
        EXPECT(nothing_to_read(c.server.get()) && nothing_to_read(c.client.get()));
        return true;
      });
    }
  }
}

TEST_CASE("the simple version gives a pod's secret to a namespace that claims its peer's address") {
  RedirectNode node(Rules::simple);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  auto stranger = Netns::create();
  REQUIRE(stranger);
  run_in_namespace(*stranger, "ip link set lo up; ip addr add " + a.v4.to_string() + "/32 dev lo; ip addr add " +
                                  b.v4.to_string() + "/32 dev lo");
  node.check([&]() -> bool {
    Connection spied = connect_inside(*stranger, kIpv4, a.v4, b.v4);
    EXPECT(spied);
    spied.client = UniqueFd();  // its place in the map is for the victim
    const Connection c = connect_pods(a, b, kIpv4, kServerPort, kClientPort);
    EXPECT(c);
    EXPECT(send_all(c.client.get(), "secret"));
    EXPECT(receive_exactly(spied.server.get(), 6) == "secret");
    EXPECT(nothing_to_read(c.server.get()));
    return true;
  });
}

TEST_CASE("two pods with the same connection over loopback do not hear each other") {
  const IpAddress loopback = IpAddress::v4(127, 0, 0, 1);
  const IpAddress loopback6 = *IpAddress::parse("::1");
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    if (family.client != family.server) continue;
    const IpAddress& address = family.v6 ? loopback6 : loopback;
    node.check([&]() -> bool {
      const Connection in_a = connect_inside(a.netns, family, address, address);
      const Connection in_b = connect_inside(b.netns, family, address, address);
      EXPECT(in_a && in_b);
      EXPECT(node.sockets_in_map() == 0);
      EXPECT(send_all(in_a.client.get(), "a") && receive_exactly(in_a.server.get(), 1) == "a");
      EXPECT(nothing_to_read(in_b.server.get()));
      EXPECT(exchange_once(in_b) && exchange_once(in_a));
      return true;
    });
  }
}

TEST_CASE("the simple version hands one pod's loopback bytes to another pod") {
  const IpAddress loopback = IpAddress::v4(127, 0, 0, 1);
  RedirectNode node(Rules::simple);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    Connection in_b = connect_inside(b.netns, kIpv4, loopback, loopback);
    in_b.client = UniqueFd();
    const Connection in_a = connect_inside(a.netns, kIpv4, loopback, loopback);
    EXPECT(in_a && in_b.server);
    EXPECT(send_all(in_a.client.get(), "a"));
    EXPECT(receive_exactly(in_b.server.get(), 1) == "a");
    return true;
  });
}

TEST_CASE("an address that passes to another namespace takes no bytes along, and those under way arrive") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const RawMap<patu_addr, patu_pod> pods("pods");
  // Whose record changes, and which end of the connection notices.
  for (const NodePod* moved : {&a, &b}) {
    for (const bool removed : {false, true}) {
      CAPTURE(removed);
      const patu_pod entry = entry_of(pods, moved->v4);
      node.check([&]() -> bool {
        const Connection c = connect_pods(a, b, kIpv4);
        EXPECT(c);
        EXPECT(exchange_once(c));
        EXPECT(send_all(c.client.get(), "redirected, "));
        patu_pod other = entry;
        ++other.netns_cookie;
        removed ? pods.erase(key_of(moved->v4)) : pods.put(key_of(moved->v4), other);
        EXPECT(send_all(c.client.get(), "by TCP"));
        // A pod without a record is cut off by the guard at its port, for as long as that lasts.
        if (removed) pods.put(key_of(moved->v4), other);
        EXPECT(receive_exactly(c.server.get(), 18) == "redirected, by TCP");
        EXPECT(node.state_of(c.client.get()) == PATU_STREAM_POD_CHANGED);
        EXPECT(exchange_once(c));
        EXPECT(node.state_of(c.server.get()) == PATU_STREAM_POD_CHANGED);
        return true;
      });
      pods.put(key_of(moved->v4), entry);
    }
  }
}

TEST_CASE("a pod that no longer wants redirection has it no longer, at its next message") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const RawMap<patu_addr, patu_pod> pods("pods");
  const patu_pod entry = entry_of(pods, b.v6);
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kFamilies[1]);
    EXPECT(c);
    EXPECT(exchange_once(c));
    patu_pod unwilling = entry;
    unwilling.flags = 0;
    pods.put(key_of(b.v6), unwilling);
    EXPECT(exchange_once(c));
    EXPECT(node.redirected_bytes(c.client.get()) == 8 && node.redirected_bytes(c.server.get()) == 6);
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_POD_CHANGED);
    return true;
  });
  pods.put(key_of(b.v6), entry);
}

TEST_CASE("pods of two bridges are not redirected to each other") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const RawMap<patu_addr, patu_pod> pods("pods");
  const patu_pod entry = entry_of(pods, b.v4);
  patu_pod elsewhere = entry;
  ++elsewhere.bridge_ifindex;
  pods.put(key_of(b.v4), elsewhere);
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(c);
    EXPECT(exchange_once(c));
    EXPECT(node.sockets_in_map() == 0);
    return true;
  });
  pods.put(key_of(b.v4), entry);
}

TEST_CASE("a connection does not send to the dead one whose addresses and ports it has") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    Connection dead = connect_pods(a, b, family, kServerPort, kClientPort);
    EXPECT(dead);
    EXPECT(exchange_once(dead));
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(dead.client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    dead.client = UniqueFd();
    // The server's end was reset, but its program has not closed it.
    const Connection c = connect_pods(a, b, family, kServerPort, kClientPort);
    EXPECT(c);
    EXPECT(send_all(c.client.get(), bytes_at(0, 60'000)) &&
           receive_exactly(c.server.get(), 60'000) == bytes_at(0, 60'000));
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_NO_PEER);
    EXPECT(node.redirected_bytes(c.client.get()) == 0);
    for (int i = 0; i < 3; ++i) EXPECT(exchange_once(c));
    char byte;
    EXPECT(::recv(dead.server.get(), &byte, 1, MSG_DONTWAIT) <= 0);
    return true;
  });
}

TEST_CASE("a connection does not send to a peer that the kernel has given up") {
  // The reset that would tell is lost, as it may be on a real path.
  const auto is_reset = [](Frame frame) {
    return frame.size() >= 54 && frame[23] == IPPROTO_TCP && (frame[47] & 0x04) != 0;
  };
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.drops_inward = is_reset});
  node.check([&]() -> bool {
    const Connection c = connect_pods(far, near, kIpv4);
    EXPECT(exchange_once(c));
    output_in(near.netns, "ss --kill state established 2>&1");
    EXPECT(send_all(c.client.get(), "anybody there?"));
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_NO_PEER);
    EXPECT(node.redirected_bytes(c.client.get()) == 8);
    EXPECT(tcp_bytes_sent(c.client.get()) >= 14);
    return true;
  });
}
