// Ports that services keep for themselves: bind(2) is refused where the port would never be reached, and nowhere else.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "instance.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr std::uint16_t kPort = 30080;

// A way to bind. No program is told of IPV6_V6ONLY: on the unspecified address it counts as a socket of both families.
struct Way {
  const char* name;
  Socket kind;
  const char* address;
  bool only_v6 = false;
};
constexpr Way kWays[] = {
    {"any IPv4", Socket::v4, "0.0.0.0"},        {"one IPv4", Socket::v4, "192.0.2.1"},
    {"both families", Socket::v6, "::"},        {"IPv6 alone", Socket::v6, "::", true},
    {"one IPv6", Socket::v6, "2001:db8::1"},    {"mapped", Socket::mapped, "192.0.2.1"},
    {"IPv4 loopback", Socket::v4, "127.0.0.1"}, {"IPv6 loopback", Socket::v6, "::1"},
};

UniqueFd bound(const Way& way, int type, std::uint16_t port, int& error) {
  UniqueFd socket = new_socket(way.kind, type, 0);
  const int only_v6 = way.only_v6 ? 1 : 0;
  if (way.kind != Socket::v4) (void)::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
  const SocketAddress address = address_for(way.kind, {ip(way.address), port});
  error = ::bind(socket.get(), address.get(), address.size) == 0 ? 0 : errno;
  return socket;
}

struct Node : ServiceLab {
  Netns host = must(Netns::current());
  Netns pod = must(Netns::create());
  ServiceTable table = open_table();

  Node() {
    for (const Netns* netns : {&host, &pod})
      CHECK(output_in(*netns,
                      "(ip link set lo up && ip link add nic type bridge && ip link set nic up && ip addr add "
                      "192.0.2.1/24 dev nic && ip addr add 2001:db8::1/64 dev nic nodad) 2>&1") == "");
  }
  ~Node() { (void)output_of("ip link del nic"); }

  int in_use() const { return refusal() == EPERM ? EPERM : EADDRINUSE; }
  int bind_in(const Netns& netns, const Way& way, int type, std::uint16_t port = kPort) const {
    Shared<int> error;
    CHECK(run_in(netns, true, [&] {
            (void)bound(way, type, port, *error);
            return true;
          }) == 0);
    return *error;
  }
};

Frontend reserved(const char* any, Protocol protocol, bool loopback = false, std::uint16_t port = kPort) {
  return {{ip(any), port}, protocol, FrontendKind::node_port, loopback, true};
}

}  // namespace

TEST_CASE("a reserved port cannot be bound in the node's namespace, in the families and the protocol that it is of") {
  Node node;
  bool v4 = true;
  bool v6 = true;
  Protocol protocol = Protocol::tcp;
  SUBCASE("both families, TCP") {}
  SUBCASE("both families, UDP") { protocol = Protocol::udp; }
  SUBCASE("IPv4 alone") { v6 = false; }
  SUBCASE("IPv6 alone") { v4 = false; }
  Service web{"web", {}, {backend_v4(1)}};
  if (v4) web.frontends.push_back(reserved("0.0.0.0", protocol));
  if (v6) web.frontends.push_back(reserved("::", protocol));
  must(node.table.upsert(web));
  const int type = protocol == Protocol::tcp ? SOCK_STREAM : SOCK_DGRAM;
  const int other_type = protocol == Protocol::tcp ? SOCK_DGRAM : SOCK_STREAM;
  for (const Way& way : kWays) {
    CAPTURE(std::string(way.name));
    const bool loopback = ip(way.address).is_loopback();
    const bool of_v4 = ip(way.address).is_v4();
    const bool of_both = way.kind == Socket::v6 && ip(way.address).is_unspecified();
    const bool taken = !loopback && ((of_v4 || of_both) ? v4 || (of_both && v6) : v6);
    CHECK(node.bind_in(node.host, way, type) == (taken ? node.in_use() : 0));
    CHECK(node.bind_in(node.host, way, type, kPort + 1) == 0);
    CHECK(node.bind_in(node.host, way, other_type) == 0);
    CHECK(node.bind_in(node.pod, way, type) == 0);
  }
  must(node.table.remove("web"));
  for (const Way& way : kWays) CHECK(node.bind_in(node.host, way, type) == 0);
}

TEST_CASE("a reserved port of loopback addresses cannot be bound there either") {
  Node node;
  must(node.table.upsert({"web", {reserved("0.0.0.0", Protocol::tcp, true)}, {}}));
  CHECK(node.bind_in(node.host, {"", Socket::v4, "127.0.0.1"}, SOCK_STREAM) == node.in_use());
  CHECK(node.bind_in(node.host, {"", Socket::mapped, "127.0.0.1"}, SOCK_STREAM) == node.in_use());
  CHECK(node.bind_in(node.host, {"", Socket::v6, "::1"}, SOCK_STREAM) == 0);
  CHECK(node.bind_in(node.pod, {"", Socket::v4, "127.0.0.1"}, SOCK_STREAM) == 0);
}

TEST_CASE("a port that is not reserved, or whose reservation is given up, can be bound") {
  Node node;
  Service web{"web", {{{ip("0.0.0.0"), kPort}, Protocol::tcp, FrontendKind::node_port}}, {backend_v4(1)}};
  must(node.table.upsert(web));
  CHECK(node.bind_in(node.host, kWays[0], SOCK_STREAM) == 0);
  web.frontends[0].reserve_port = true;
  must(node.table.upsert(web));
  CHECK(node.bind_in(node.host, kWays[0], SOCK_STREAM) == node.in_use());
  web.frontends[0].reserve_port = false;
  (void)must(node.table.sync({&web, 1}));
  CHECK(node.bind_in(node.host, kWays[0], SOCK_STREAM) == 0);
}

TEST_CASE(
    "a socket that was bound before the service existed stays bound, and one that was refused can bind elsewhere") {
  Node node;
  CHECK(node.as_client([&] {
    int error = 0;
    const UniqueFd before = bound(kWays[0], SOCK_STREAM, kPort, error);
    auto mine = ServiceTable::open(node.datapath());
    if (error != 0 || !mine || !mine->upsert({"web", {reserved("0.0.0.0", Protocol::tcp)}, {}})) return false;
    if (::listen(before.get(), 1) != 0 || local_of(before.get()) != Endpoint{ip("0.0.0.0"), kPort}) return false;
    const UniqueFd refused = bound(kWays[1], SOCK_STREAM, kPort, error);
    if (error != node.in_use()) return false;
    const SocketAddress other = address_for(Socket::v4, {ip("192.0.2.1"), kPort + 1});
    return ::bind(refused.get(), other.get(), other.size) == 0 && ::listen(refused.get(), 1) == 0;
  }));
}
