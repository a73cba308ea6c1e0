// Attaching when a step fails: nothing is left, wherever it happens.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <set>

#include "names.hpp"
#include "network_fixture.hpp"
#include "patu/patu.hpp"
#include "raw_map.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// What attach() says; afterwards all is as it was, inside and outside. Only loopback stays up, which others may use by now.
Error refused_attach(NetworkFixture& fixture, const PodSpec& spec) {
  const Census before = Census::take();
  const std::string inside = output_in(*spec.netns, "ip -o link | grep -v ' lo:'; ip route; ip -6 route");
  auto refused = fixture.network.attach(spec);
  REQUIRE_FALSE(refused);
  CHECK(to_string(Census::take()) == to_string(before));
  CHECK(output_in(*spec.netns, "ip -o link | grep -v ' lo:'; ip route; ip -6 route") == inside);
  check_well(fixture.network);
  return std::move(refused.error());
}

// Lowers the number of descriptors that the process may have, and puts it back.
class DescriptorLimit final {
 public:
  explicit DescriptorLimit(std::size_t limit) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lowered{limit, before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &lowered);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("an interface of that name in the pod is refused, and stays") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  output_in(pod, "ip link add eth0 type bridge");
  const Error error = refused_attach(fixture, {id("web-1"), &pod});
  check_error(error, Errc::already_exists, "attach web-1/eth0: create veth");
  check_error(error, Errc::already_exists, "the pod has an interface eth0");
  CHECK(output_in(pod, "ip -o link").find("eth0") != std::string::npos);
}

TEST_CASE("an interface with the derived name that is not ours is refused, and stays") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  const std::string name = host_ifname(id("web-1")).to_string();
  output_of("ip link add " + name + " type bridge");
  const Error error = refused_attach(fixture, {id("web-1"), &pod});
  check_error(error, Errc::already_exists, ("the node has an interface " + name).c_str());
  must(fixture.network.detach(id("web-1")));
  CHECK(output_of("ip -o link").find(name) != std::string::npos);
  output_of("ip link del " + name);
}

TEST_CASE("an address of somebody else is refused") {
  NetworkFixture fixture;
  const auto pods = make_pods(2);
  fixture.attach("web-1", pods[0]);
  const Error error = refused_attach(fixture, {id("web-2"), &pods[1], {ip("10.200.0.2")}});
  check_error(error, Errc::already_exists, "attach web-2/eth0: address 10.200.0.2 is somebody else's");
  check_error(refused_attach(fixture, {id("web-2"), &pods[1], {ip("fd00:200::2")}}), Errc::already_exists,
              "fd00:200::2");
}

TEST_CASE("a full pool is refused after a sweep, which makes room where pods are gone") {
  NetworkFixture fixture(network_options("patu0", "10.200.0.0/30", "fd00:200::/64"));
  const auto pods = make_pods(2);
  const Attachment web = fixture.attach("web-1", pods[0]);
  const Error error = refused_attach(fixture, {id("web-2"), &pods[1]});
  check_error(error, Errc::exhausted, "attach web-2/eth0: no free address in 10.200.0.0/30");
  output_of("ip link del " + web.host_ifname.to_string());
  CHECK(fixture.attach("web-2", pods[1]).addresses[0].address == ip("10.200.0.2"));
  check_well(fixture.network);
}

TEST_CASE("full maps are refused by name, and freed entries can be used again") {
  NetworkFixture fixture(network_options(), small_datapath(2));
  const auto pods = make_pods(12);
  std::size_t attached = 0;
  while (attached < pods.size()) {
    const std::string name = "pod-" + std::to_string(attached);
    const Census before = Census::take();
    auto result = fixture.network.attach({id(name), &pods[attached]});
    if (result) {
      ++attached;
      continue;
    }
    check_error(result.error(), Errc::exhausted, ("attach " + name).c_str());
    CHECK_MESSAGE(count_of(result.error().to_string(), "map '") >= 1, result.error().to_string());
    CHECK(to_string(Census::take()) == to_string(before));
    CHECK(output_in(pods[attached], "ip -o link").find("eth0") == std::string::npos);
    break;
  }
  REQUIRE(attached >= 2);
  REQUIRE(attached < pods.size());
  check_well(fixture.network);
  must(fixture.network.detach(id("pod-0")));
  fixture.attach("heir", pods[attached]);
  check_well(fixture.network);
}

TEST_CASE("entries that nobody owns do not keep a pod out") {
  NetworkFixture fixture(network_options(), small_datapath(2));
  const Pods map("pods");
  for (unsigned char i = 0; i < 64; ++i) {
    const patu_addr key = address_key(IpAddress::v4(10, 9, 9, i));
    patu_pod stale{};
    stale.ifindex = 4000000;
    if (::bpf_map_update_elem(map.fd(), &key, &stale, BPF_ANY) != 0) break;
  }
  REQUIRE(map.size() >= 6);
  const Netns pod = must(Netns::create());
  fixture.attach("web-1", pod);
  CHECK(map.size() == 3);
}

TEST_CASE("a pod that allows no IPv6 gets no half of an attachment") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  output_in(pod,
            "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
  const Error error = refused_attach(fixture, {id("web-1"), &pod});
  check_error(error, error.code(), "attach web-1/eth0: in the pod: ");
  CHECK(error.os_error() != 0);
}

TEST_CASE("a default route that is there already fails the attachment, and stays") {
  NetworkFixture fixture;
  const Netns pod = must(Netns::create());
  output_in(pod,
            "ip link add uplink type bridge; ip link set uplink up; ip addr add 10.5.0.2/24 dev uplink; "
            "ip route add default via 10.5.0.1");
  const Error error = refused_attach(fixture, {id("web-1"), &pod});
  check_error(error, Errc::already_exists, "attach web-1/eth0: in the pod: add route 0.0.0.0/0 via 10.200.0.1");
  CHECK(output_in(pod, "ip route").find("default via 10.5.0.1") != std::string::npos);
}

TEST_CASE("whichever descriptor cannot be had: nothing is left") {
  NetworkOptions options = network_options();
  SUBCASE("an ordinary network") {}
  SUBCASE("with everything") {
    options.subnets.insert(options.subnets.begin(), {*Prefix::parse("10.201.0.0/24")});
    options.routes = {{*Prefix::parse("10.50.0.0/16")}, {*Prefix::parse("fd50::/64"), {}, 1400}};
    options.isolated = options.hairpin = options.duplicate_address_detection = true;
  }
  SUBCASE("without subnets") {
    options.subnets.clear();
    options.default_route = false;
  }
  NetworkFixture fixture(options);
  const Netns pod = must(Netns::create());
  const Census before = Census::take();
  const std::size_t open = before.descriptors;
  std::set<std::string> errors;
  bool attached = false;
  // The lowest free numbers may lie below the highest open one, so that some limits are no limit.
  for (std::size_t limit = open - 4; limit < open + 30 && !attached; ++limit) {
    auto result = [&] {
      const DescriptorLimit lowered(limit);
      return fixture.network.attach({id("web-1"), &pod});
    }();
    attached = result.has_value();
    if (attached) break;
    CHECK(result.error().os_error() == EMFILE);
    errors.insert(result.error().to_string());
    CHECK(to_string(Census::take()) == to_string(before));
    CHECK(output_in(pod, "ip -o link").find("eth0") == std::string::npos);
  }
  CHECK(attached);
  // Without subnets there is no program to open.
  CHECK(errors.size() >= (options.subnets.empty() ? 1 : 2));
  check_well(fixture.network);
}

TEST_CASE("a batch with one that fails attaches none, and leaves what was attached before") {
  NetworkFixture fixture;
  constexpr std::size_t kPods = 25;
  const auto pods = make_pods(kPods);
  const Attachment first = fixture.attach("pod-0", pods[0]);
  const Census before = Census::take();
  std::vector<PodSpec> specs;
  for (std::size_t i = 0; i < kPods; ++i) specs.push_back({id("pod-" + std::to_string(i)), &pods[i]});
  SUBCASE("in the last pod's namespace") { output_in(pods[kPods - 1], "ip link add eth0 type bridge"); }
  SUBCASE("in the middle, at its last step") {
    output_in(pods[12],
              "ip link add uplink type bridge; ip link set uplink up; ip addr add 10.5.0.2/24 dev uplink; "
              "ip route add default via 10.5.0.1");
  }
  SUBCASE("in its input") { specs[20].addresses = {ip("10.99.0.1")}; }
  SUBCASE("as it is there twice") { specs.push_back(specs[3]); }
  SUBCASE("for an address of another one") { specs[20].addresses = {ip("10.200.0.5")}; }
  auto refused = fixture.network.attach(specs);
  REQUIRE_FALSE(refused);
  CHECK(to_string(Census::take()) == to_string(before));
  for (std::size_t i = 1; i + 1 < kPods; ++i)
    CHECK(output_in(pods[i], "ip -o link").find("eth0@") == std::string::npos);
  CHECK(must(fixture.network.find(id("pod-0"))).host_ifindex == first.host_ifindex);
  check_well(fixture.network);
}
