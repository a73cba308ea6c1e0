// How long attaching and detaching take, beside their floor: the two netlink messages without which there is no pod.
//
// Interleaved in one run: patu's attach() and, as the floor, a bare veth pair on a bridge with one address in the pod, by the
// same netlink code. Run it as root: build/tests/bench/attach_bench [pods].
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "nl/addr.hpp"
#include "nl/link.hpp"
#include "patu/patu.hpp"
#include "sandbox.hpp"

using namespace patu;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kDefaultPods = 100;
constexpr int kDetachedSingly = 20;

template <class T>
T take(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "attach_bench: %s\n", result.error().to_string().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

double microseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

void print(const char* what, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("%-44s p50 %8.0f us   p99 %8.0f us\n", what, times[times.size() / 2], times[times.size() * 99 / 100]);
}

// The floor: the pair is born where its ends belong, the pod's end gets an address and both are up.
void attach_barely(nl::Socket& node, std::uint32_t bridge, int number, const Netns& netns) {
  const IfName name = *IfName::parse("bare" + std::to_string(number));
  const IfName eth0 = *IfName::parse("eth0");
  const auto low = static_cast<std::uint8_t>(number);
  nl::Request create = nl::create_veth({.name = name,
                                        .peer_name = eth0,
                                        .peer_netns_fd = netns.fd(),
                                        .master = bridge,
                                        .mac = MacAddress::from_bytes({2, 1, 0, 0, 0, low}),
                                        .peer_mac = MacAddress::from_bytes({2, 2, 0, 0, 0, low})});
  take(node.call(create));
  nl::Request up = nl::set_link_up(name);
  take(node.call(up));
  nl::Socket pod = take(nl::Socket::open_in(netns.fd()));
  const std::uint32_t ifindex = take(nl::find_link(pod, eth0))->ifindex;
  std::vector<nl::Request> requests{nl::add_address(ifindex, {IpAddress::v4(10, 9, 0, low), 16}),
                                    nl::set_link_up(ifindex)};
  if (auto sent = pod.batch(requests); !sent) take(Result<>(tl::unexpected(std::move(sent.error().error))));
}

void run(int pods) {
  Datapath datapath = take(Datapath::open(test::datapath_options()));
  Network network = take(
      Network::open(datapath, {.bridge = *IfName::parse("patux"),
                               .subnets = {{*Prefix::parse("10.200.0.0/16")}, {*Prefix::parse("fd00:200::/64")}}}));
  nl::Socket node = take(nl::Socket::open());
  nl::Request bridge =
      nl::create_bridge({.name = *IfName::parse("bare"), .mac = MacAddress::from_bytes({2, 0, 0, 0, 0, 1})});
  take(node.call(bridge));
  const std::uint32_t bridge_ifindex = take(nl::find_link(node, *IfName::parse("bare")))->ifindex;

  std::vector<double> attach, bare, detach;
  std::vector<Netns> namespaces;
  std::vector<AttachmentId> ids;
  for (int i = 0; i < pods; ++i) {
    namespaces.push_back(take(Netns::create()));
    ids.push_back(take(AttachmentId::parse("pod-" + std::to_string(i))));
    auto before = Clock::now();
    take(network.attach({.id = ids.back(), .netns = &namespaces.back()}));
    attach.push_back(microseconds(before));
    const Netns other = take(Netns::create());
    before = Clock::now();
    attach_barely(node, bridge_ifindex, i % 250, other);
    bare.push_back(microseconds(before));
    nl::Request gone = nl::delete_link(*IfName::parse("bare" + std::to_string(i % 250)));
    before = Clock::now();
    take(node.call(gone));
    detach.push_back(microseconds(before));
  }
  print("attach, IPv4 and IPv6, guarded", attach);
  print("a bare veth pair with one address", bare);
  print("the kernel removes one veth pair", detach);
  detach.clear();
  for (int i = 0; i < std::min(pods, kDetachedSingly); ++i) {
    const auto before = Clock::now();
    take(network.detach(ids[static_cast<std::size_t>(i)]));
    detach.push_back(microseconds(before));
  }
  print("detach one", detach);
  const auto rest = std::span(ids).subspan(static_cast<std::size_t>(std::min(pods, kDetachedSingly)));
  const auto before = Clock::now();
  take(network.detach(rest));
  std::printf("%-44s %12.0f us a pod\n", "detach the rest as a batch",
              microseconds(before) / static_cast<double>(std::max<std::size_t>(rest.size(), 1)));
  nl::Request gone = nl::delete_link(bridge_ifindex);
  take(node.call(gone));
  take(network.remove());
}

}  // namespace

int main(int argc, char** argv) {
  const int pods = argc > 1 ? std::atoi(argv[1]) : kDefaultPods;
  if (const int refused = test::enter_sandbox(); refused != 0) return refused;
  run(std::max(pods, 1));
  take(Datapath::unload(test::datapath_options()));
  return test::leave_sandbox() ? 0 : 1;
}
