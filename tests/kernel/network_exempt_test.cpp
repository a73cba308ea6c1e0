// Pods that services are not resolved for: in the map from before attach() returns until detach() does, and not a moment lost.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"
#include "real_peer.hpp"
#include "service_lab.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using Exempt = RawMap<std::uint64_t, std::uint32_t>;
using Entries = std::vector<std::pair<std::uint64_t, std::uint32_t>>;

Entries exempt() { return Exempt("exempt").all(); }

PodSpec without_services(const std::string& container, const Netns& pod, const char* ifname = "eth0") {
  PodSpec spec{must(AttachmentId::parse(container, ifname)), &pod};
  spec.services = false;
  return spec;
}

struct Fixture : NetworkFixture {
  Netns pod = must(Netns::create());
  std::uint64_t cookie = must(pod.cookie());

  explicit Fixture(const DatapathOptions& instance = datapath_options(),
                   const NetworkOptions& wanted = network_options())
      : NetworkFixture(wanted, instance) {}
  Attachment attach_exempt(const std::string& container = "vm-1") {
    return must(network.attach(without_services(container, pod)));
  }
  std::string findings(const std::string& container = "vm-1") {
    std::string out;
    for (const Deviation& one : must(network.check(id(container), &pod))) out += one.what + "\n";
    return out;
  }
};

}  // namespace

TEST_CASE("a pod without services is exempt once attach has returned, and not any more once detach has") {
  Fixture fixture;
  const Attachment vm = fixture.attach_exempt();
  CHECK_FALSE(vm.services);
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});
  CHECK_FALSE(must(fixture.network.find(id("vm-1"))).services);
  CHECK(fixture.findings() == "");
  SUBCASE("detach") { must(fixture.network.detach(id("vm-1"))); }
  SUBCASE("abandon") { must(fixture.network.abandon(id("vm-1"))); }
  CHECK(exempt().empty());
}

TEST_CASE("any other pod is not exempt") {
  Fixture fixture;
  const Attachment web = fixture.attach("web-1", fixture.pod);
  CHECK(web.services);
  CHECK(must(fixture.network.find(id("web-1"))).services);
  CHECK(exempt().empty());
}

TEST_CASE("attaching the same pod again is a success, and with another wish for services it is refused") {
  Fixture fixture;
  const Attachment vm = fixture.attach_exempt();
  CHECK(fixture.attach_exempt().host_ifindex == vm.host_ifindex);
  auto refused = fixture.network.attach({id("vm-1"), &fixture.pod});
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::already_exists, "attach vm-1/eth0: it is attached without services");
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});

  const Netns other = must(Netns::create());
  (void)fixture.attach("web-1", other);
  refused = fixture.network.attach(without_services("web-1", other));
  REQUIRE_FALSE(refused);
  check_error(refused.error(), Errc::already_exists, "attach web-1/eth0: it is attached with services");
  CHECK(exempt().size() == 1);
}

TEST_CASE("an exempt entry that was lost is seen, and put back") {
  Fixture fixture;
  const Attachment vm = fixture.attach_exempt();
  Exempt("exempt").clear();
  CHECK(fixture.findings() == "the map 'exempt' has not its network namespace\n");
  SUBCASE("by reconcile") { CHECK(must(fixture.network.reconcile()).repaired == std::vector{id("vm-1")}); }
  SUBCASE("by attaching it again") { (void)fixture.attach_exempt(); }
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});
  CHECK(fixture.findings() == "");
  CHECK(must(fixture.network.reconcile()).repaired.empty());
}

TEST_CASE("a pod that lost all its entries is without services when it has them back") {
  Fixture fixture;
  const Attachment vm = fixture.attach_exempt();
  Exempt("exempt").clear();
  Pods("pods").clear();
  Leases("leases").clear();
  CHECK(must(fixture.network.reconcile()).repaired == std::vector{id("vm-1")});
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});
  for (const auto& [key, pod] : Pods("pods").all()) CHECK((pod.flags & PATU_POD_NO_SERVICES) != 0);
}

TEST_CASE("an instance that is loaded anew finds its pods without services as they were") {
  Fixture fixture;
  const Attachment vm = fixture.attach_exempt();
  (void)must(Datapath::unload(fixture.options, UnloadMode::force));
  fixture.datapath = must(Datapath::open(fixture.options));
  fixture.network = must(Network::open(fixture.datapath, fixture.network_options_));
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});
  CHECK(fixture.findings() == "");
}

TEST_CASE("a pod with two interfaces is exempt as long as one of them says so") {
  Fixture fixture;
  NetworkOptions options = network_options("patu1", "10.201.0.0/24", "fd00:201::/64");
  options.default_route = false;
  Network second = must(Network::open(fixture.datapath, options));
  const Attachment eth0 = fixture.attach_exempt();
  const Attachment eth1 = must(second.attach(without_services("vm-1", fixture.pod, "eth1")));
  REQUIRE(exempt().size() == 1);
  SUBCASE("the first goes first") {
    must(fixture.network.detach(id("vm-1")));
    CHECK(exempt() == Entries{{fixture.cookie, eth1.host_ifindex}});
    must(second.detach(must(AttachmentId::parse("vm-1", "eth1"))));
  }
  SUBCASE("the second goes first") {
    must(second.detach(must(AttachmentId::parse("vm-1", "eth1"))));
    CHECK(exempt() == Entries{{fixture.cookie, eth0.host_ifindex}});
    must(fixture.network.detach(id("vm-1")));
  }
  CHECK(exempt().empty());
  must(second.remove());
}

TEST_CASE("both interfaces of a pod may be detached in one batch") {
  NetworkOptions options = network_options();
  options.default_route = false;
  Fixture fixture(datapath_options(), options);
  (void)fixture.attach_exempt();
  (void)must(fixture.network.attach(without_services("vm-1", fixture.pod, "eth1")));
  const std::vector ids{id("vm-1"), must(AttachmentId::parse("vm-1", "eth1"))};
  must(fixture.network.detach(ids));
  CHECK(exempt().empty());
}

TEST_CASE("reconcile removes what is exempt of no interface, and names the right one for the others") {
  Fixture fixture;
  const Attachment vm = fixture.attach_exempt();
  Exempt("exempt").put(0x123456789, 77);
  Exempt("exempt").put(fixture.cookie, vm.host_ifindex + 1000);
  (void)must(fixture.network.reconcile());
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});
}

TEST_CASE("a map that strays have filled makes room for a pod") {
  const DatapathOptions options = small_datapath(16);
  Fixture fixture(options);
  const Exempt map("exempt");
  for (std::uint64_t stray = 0; stray < options.max_pods; ++stray) map.put(0x100000000 + stray, 1);
  const Attachment vm = fixture.attach_exempt();
  CHECK(exempt() == Entries{{fixture.cookie, vm.host_ifindex}});
}

TEST_CASE("an attach that fails leaves nothing exempt") {
  Fixture fixture;
  (void)output_in(fixture.pod, "ip link add eth0 type bridge");
  CHECK_FALSE(fixture.network.attach(without_services("vm-1", fixture.pod)));
  CHECK(exempt().empty());
}

TEST_CASE("an exempt pod's sockets go where they ask to, and its neighbour's are resolved as ever") {
  Fixture fixture;
  (void)fixture.attach_exempt();
  const Netns neighbour = must(Netns::create());
  (void)fixture.attach("web-1", neighbour);
  Service dns;
  dns.name = "dns";
  dns.frontends = {{endpoint("10.96.0.10:53"), Protocol::udp}, {endpoint("[fd00:96::10]:53"), Protocol::udp}};
  dns.backends = {{endpoint("10.200.0.77:5353")}, {endpoint("[fd00:200::77]:5353")}};
  ServiceTable services = must(ServiceTable::open(fixture.datapath));
  must(services.upsert(dns));

  const auto meets = [](const Netns& from, const char* to) {
    Shared<Endpoint> met;
    CHECK(run_in(from, true, [&] {
            const UniqueFd socket = new_socket(kind_for(endpoint(to)), SOCK_DGRAM, 0);
            if (connect_socket(socket.get(), kind_for(endpoint(to)), endpoint(to)) != 0) return false;
            *met = real_peer(socket.get(), Protocol::udp).value_or(Endpoint{});
            return true;
          }) == 0);
    return *met;
  };
  for (int round = 0; round < 2; ++round) {
    CHECK(meets(fixture.pod, "10.96.0.10:53") == endpoint("10.96.0.10:53"));
    CHECK(meets(fixture.pod, "[fd00:96::10]:53") == endpoint("[fd00:96::10]:53"));
    CHECK(meets(neighbour, "10.96.0.10:53") == endpoint("10.200.0.77:5353"));
    CHECK(meets(neighbour, "[fd00:96::10]:53") == endpoint("[fd00:200::77]:5353"));
    Exempt("exempt").clear();
    CHECK(meets(fixture.pod, "10.96.0.10:53") == endpoint("10.200.0.77:5353"));
    (void)must(fixture.network.reconcile());
  }
  must(fixture.network.detach(id("vm-1")));
  (void)fixture.attach("vm-1", fixture.pod);
  CHECK(meets(fixture.pod, "10.96.0.10:53") == endpoint("10.200.0.77:5353"));
}

TEST_CASE("attaching and detaching that are killed at any time leave nothing that reconcile does not put right") {
  Fixture fixture;
  for (unsigned round = 0; round < 40; ++round) {
    const pid_t child = start_in(here(), false, [&]() -> bool {
      auto network = Network::open(fixture.datapath, fixture.network_options_);
      if (!network) return false;
      for (;;)
        if (!network->attach(without_services("vm-1", fixture.pod)) || !network->detach(id("vm-1"))) return false;
    });
    ::usleep(5000 + round * 731);
    REQUIRE(::kill(child, SIGKILL) == 0);
    (void)wait_for(child);
    (void)must(fixture.network.reconcile());
    const auto attached = must(fixture.network.list());
    REQUIRE(attached.size() <= 1);
    CHECK(exempt() == (attached.empty() ? Entries{} : Entries{{fixture.cookie, attached[0].host_ifindex}}));
  }
}
