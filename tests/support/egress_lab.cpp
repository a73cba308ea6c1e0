// Everything by ip(8), the datagrams by sockets that were opened in the two namespaces.
#include "egress_lab.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include <cstdio>
#include <cstring>

#include "base/thread.hpp"
#include "base/unique_fd.hpp"
#include "instance.hpp"
#include "sandbox.hpp"
#include "socket_address.hpp"

namespace patu::test {
namespace {

constexpr std::uint16_t kPort = 4243;
constexpr int kPatienceMs = 3000;

void run(const std::string& commands) {
  const std::string said = output_of("{ " + commands + "; } 2>&1");
  REQUIRE_MESSAGE(said.empty(), said);
}

void run_in_netns(const Netns& netns, const std::string& commands) {
  const std::string said = output_in(netns, "{ " + commands + "; } 2>&1");
  REQUIRE_MESSAGE(said.empty(), said);
}

SocketAddress socket_address(const IpAddress& address) {
  const IpAddress::Bytes& bytes = address.bytes();
  SocketAddress out;
  if (address.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(kPort);
    std::memcpy(&in.sin_addr, bytes.data() + 12, 4);
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(kPort);
    std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
  }
  return out;
}

std::string text_of(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const void* bytes = address.storage.ss_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr)
                          : &reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr;
  return ::inet_ntop(address.storage.ss_family, bytes, text, sizeof text);
}

UniqueFd datagram_socket(const Netns& netns, int family) {
  UniqueFd fd;
  must(in_netns(netns.fd(), [&]() -> Result<> {
    fd = UniqueFd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return {};
  }));
  REQUIRE(fd);
  return fd;
}

// A pid's way to name a namespace to ip(8).
std::string by_descriptor(const Netns& netns) {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(netns.fd());
}

constexpr char kNoDad[] = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up";

}  // namespace

EgressLab::EgressLab() : outside_(must(Netns::create())) {
  run_in_netns(outside_, kNoDad);
  run("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
  run("ip link add up0 type veth peer name up0 netns " + by_descriptor(outside_));
  run("ip addr add 192.0.2.1/24 dev up0; ip addr add 2001:db8::1/64 dev up0 nodad; ip link set up0 up");
  run_in_netns(outside_,
               "ip addr add 192.0.2.2/24 dev up0; ip addr add 2001:db8::2/64 dev up0 nodad; ip link set up0 up");
  for (const char* number : {"200", "201"}) {
    const std::string bridge = std::string("br") + number;
    run("ip link add " + bridge + " type bridge; ip link set " + bridge + " up; ip addr add 10." + number +
        ".0.1/24 dev " + bridge + "; ip addr add fd00:" + number + "::1/64 dev " + bridge + " nodad");
  }
  for (const auto& [bridge, last] : {std::pair("200", "2"), std::pair("200", "3"), std::pair("201", "2")})
    add_pod(bridge, last);
}

void EgressLab::add_pod(const std::string& bridge, const std::string& last) {
  const std::string v4 = "10." + bridge + ".0.";
  const std::string v6 = "fd00:" + bridge + "::";
  EgressPod pod{must(Netns::create()), ip((v4 + last).c_str()), ip((v6 + last).c_str())};
  run_in_netns(pod.netns, kNoDad);
  const std::string port = "port" + bridge + last;
  run("ip link add " + port + " type veth peer name eth0 netns " + by_descriptor(pod.netns) + "; ip link set " + port +
      " master br" + bridge + " up");
  run_in_netns(pod.netns, "ip addr add " + v4 + last + "/24 dev eth0; ip addr add " + v6 + last +
                              "/64 dev eth0 nodad; ip link set eth0 up; ip route add default via " + v4 +
                              "1; ip route add default via " + v6 + "1");
  pods_.push_back(std::move(pod));
}

std::string ruleset() { return output_of("nft list ruleset"); }

Clean::~Clean() { (void)output_of("nft flush ruleset"); }

EgressLab::~EgressLab() {
  (void)output_of("nft flush ruleset; ip link del up0; ip link del br200; ip link del br201; for p in " +
                  std::string("port2002 port2003 port2012; do ip link del $p; done") +
                  "; echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding");
}

std::string sender_seen(const Netns& from, const Netns& to, const IpAddress& address) {
  const SocketAddress target = socket_address(address);
  const UniqueFd receiver = datagram_socket(to, target.storage.ss_family);
  const UniqueFd sender = datagram_socket(from, target.storage.ss_family);
  REQUIRE(::bind(receiver.get(), target.get(), target.size) == 0);
  REQUIRE(::sendto(sender.get(), "ping", 4, 0, target.get(), target.size) == 4);
  pollfd waiting{receiver.get(), POLLIN, 0};
  if (::poll(&waiting, 1, kPatienceMs) != 1) return "nobody";
  SocketAddress source;
  char data[8];
  REQUIRE(::recvfrom(receiver.get(), data, sizeof data, 0, source.get(), &source.size) == 4);
  return text_of(source);
}

}  // namespace patu::test
