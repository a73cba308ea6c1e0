// Forwarding: switched on once, told, and without a node losing the routers that it listens to.
#include <doctest/doctest.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/thread.hpp"
#include "base/unique_fd.hpp"
#include "egress.hpp"
#include "failure.hpp"
#include "network_fixture.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Texts = std::vector<std::string>;

std::string sysctl(const std::string& name) { return output_of("cat /proc/sys/net/" + name); }

// A router and this node on one link; the node accepts what the router advertises.
struct Uplink {
  Netns router = must(Netns::create());

  Uplink() {
    (void)output_in(router, "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
    (void)output_of(
        "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad; ip link add up0 type veth peer name up0 netns /proc/" +
        std::to_string(::getpid()) + "/fd/" + std::to_string(router.fd()) + "; ip link set up0 up");
    (void)output_in(router, "ip link set up0 up");
    (void)output_of(
        "echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding; "
        "echo 1 > /proc/sys/net/ipv6/conf/up0/accept_ra");
  }
  ~Uplink() { (void)output_of("ip link del up0"); }
  Uplink(const Uplink&) = delete;
  Uplink& operator=(const Uplink&) = delete;

  void advertise() const {
    must(in_netns(router.fd(), []() -> Result<> {
      const UniqueFd fd(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
      const int hops = 255;
      const unsigned index = ::if_nametoindex("up0");
      nd_router_advert advertisement{};
      advertisement.nd_ra_type = ND_ROUTER_ADVERT;
      advertisement.nd_ra_curhoplimit = 64;
      advertisement.nd_ra_router_lifetime = htons(1800);
      sockaddr_in6 all_nodes{};
      all_nodes.sin6_family = AF_INET6;
      all_nodes.sin6_addr = {{{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};
      all_nodes.sin6_scope_id = index;
      REQUIRE(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops) == 0);
      REQUIRE(::sendto(fd.get(), &advertisement, sizeof advertisement, 0, reinterpret_cast<sockaddr*>(&all_nodes),
                       sizeof all_nodes) == sizeof advertisement);
      return {};
    }));
  }
  // Advertises until the node has heard it, 5 s at most.
  bool is_heard() const {
    for (int i = 0; i < 50 && !has_route(); ++i) {
      advertise();
      ::usleep(100'000);
    }
    return has_route();
  }
  static bool has_route() { return !output_of("ip -6 route show default").empty(); }
};

}  // namespace

TEST_CASE("forwarding is switched on for the families that are asked for, once, and told by name") {
  const Uplink uplink;
  CHECK(cni::forwarding_deviations(true, true) == Texts{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"});
  CHECK(cni::forward(false, false).empty());
  CHECK(cni::forward(true, false) == Texts{"net.ipv4.ip_forward"});
  CHECK(sysctl("ipv4/ip_forward") == "1\n");
  CHECK(sysctl("ipv6/conf/all/forwarding") == "0\n");
  CHECK(sysctl("ipv6/conf/up0/accept_ra") == "1\n");
  CHECK(cni::forwarding_deviations(true, true) == Texts{"net.ipv6.conf.all.forwarding"});
  const Texts changed = cni::forward(true, true);
  CHECK(changed.back() == "net.ipv6.conf.all.forwarding");
  CHECK(std::find(changed.begin(), changed.end(), "net.ipv6.conf.up0.accept_ra") != changed.end());
  CHECK(sysctl("ipv6/conf/all/forwarding") == "1\n");
  CHECK(cni::forward(true, true).empty());
  CHECK(cni::forwarding_deviations(true, true).empty());
}

TEST_CASE("a node that forwards keeps the default route that a router advertised, and goes on listening") {
  const Uplink uplink;
  REQUIRE(uplink.is_heard());
  (void)cni::forward(true, true);
  CHECK(sysctl("ipv6/conf/up0/accept_ra") == "2\n");
  CHECK(Uplink::has_route());
  (void)output_of("ip -6 route flush proto ra");
  CHECK(uplink.is_heard());
}

TEST_CASE("without that the kernel deletes the route, so that the test above tests something") {
  const Uplink uplink;
  REQUIRE(uplink.is_heard());
  (void)output_of("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
  CHECK_FALSE(Uplink::has_route());
}

TEST_CASE("interfaces that do not listen to routers, or forwarded already, stay as they are") {
  const Uplink uplink;
  (void)output_of(
      "ip link add deaf type veth peer name busy; ip link set deaf up; ip link set busy up;"
      "echo 0 > /proc/sys/net/ipv6/conf/deaf/accept_ra; echo 1 > /proc/sys/net/ipv6/conf/busy/forwarding");
  (void)cni::forward(true, true);
  CHECK(sysctl("ipv6/conf/deaf/accept_ra") == "0\n");
  CHECK(sysctl("ipv6/conf/busy/accept_ra") == "1\n");
  CHECK(sysctl("ipv6/conf/up0/accept_ra") == "2\n");
  (void)output_of("ip link del deaf");
}
