// A bridge with pods on it, by netlink.
#include "lab.hpp"

#include <net/if.h>
#include <poll.h>

#include <array>
#include <fstream>

#include "base/try.hpp"
#include "bpf/instance.hpp"
#include "nl/addr.hpp"
#include "nl/link.hpp"
#include "nl/tc.hpp"
#include "sandbox.hpp"

namespace patu::test {
namespace {

constexpr char kBridge[] = "lab";

// So that the bridge itself refuses nothing, and what does not arrive was dropped by the program.
void switch_off_bridge_netfilter() {
  for (const char* family : {"ip", "ip6", "arp"})
    std::ofstream("/proc/sys/net/bridge/bridge-nf-call-" + std::string(family) + "tables") << "0\n";
}

// kernel: a port forwards once a worker has seen its carrier, which waits for others' turn at the rtnl lock; before that every
// frame is dropped.
Result<> await_forwarding(const std::string& port) {
  constexpr char kForwarding = '3';  // BR_STATE_FORWARDING
  for (int i = 0; i < 20'000; ++i) {
    char state = 0;
    std::ifstream("/sys/class/net/" + port + "/brport/state") >> state;
    if (state == kForwarding) return {};
    ::poll(nullptr, 0, 1);
  }
  return fail(Errc::timed_out, port + " does not forward");
}

Result<> bring_up_inside(const LabPod& pod) {
  PATU_TRY_LET(socket, nl::Socket::open_in(pod.netns.fd()));
  PATU_TRY_LET(eth0, nl::find_link(socket, *IfName::parse("eth0")));
  if (!eth0) return fail(Errc::not_found, "eth0");
  std::array requests{
      nl::set_link_up(*IfName::parse("lo")),
      nl::set_link_eui64(*IfName::parse("eth0")),
      nl::add_address(eth0->ifindex, {pod.v4, 24}),
      nl::add_address(eth0->ifindex, {pod.v6, 64}),
      nl::set_link_up(eth0->ifindex),
  };
  auto done = socket.batch(requests);
  if (!done) return fail(std::move(done.error().error));
  return {};
}

}  // namespace

Result<std::unique_ptr<Lab>> Lab::make(unsigned pods, Attachment attachment) {
  PATU_TRY_LET(socket, nl::Socket::open());
  PATU_TRY_LET(program, PodProgram::load());
  std::unique_ptr<Lab> lab(new Lab(std::move(socket), std::move(program)));
  nl::BridgeSpec spec{.name = *IfName::parse(kBridge), .mac = mac("0a:58:0a:01:00:01"), .mtu = 1500};
  nl::Request create = nl::create_bridge(spec);
  PATU_TRY(lab->socket_.call(create), "create the bridge");
  lab->bridge_ = ::if_nametoindex(kBridge);
  switch_off_bridge_netfilter();
  for (unsigned number = 0; number < pods; ++number)
    PATU_TRY(lab->add_pod(number, attachment), "add pod " + std::to_string(number));
  return lab;
}

Result<> Lab::add_pod(unsigned number, Attachment attachment) {
  PATU_TRY_LET(netns, Netns::create());
  const auto last = static_cast<std::uint8_t>(number + 5);
  LabPod pod{std::move(netns),
             "lab-pod" + std::to_string(number),
             0,
             MacAddress::from_bytes({0x0a, 0x58, 10, 1, 0, last}),
             IpAddress::v4(10, 1, 0, last),
             ip("fd00:1::" + std::to_string(last))};
  nl::VethSpec veth{.name = *IfName::parse(pod.port),
                    .peer_name = *IfName::parse("eth0"),
                    .peer_netns_fd = pod.netns.fd(),
                    .master = bridge_,
                    .mtu = 1500,
                    .mac = MacAddress::from_bytes({0x0a, 0x58, 0xff, 1, 0, last}),
                    .peer_mac = pod.mac};
  nl::Request create = nl::create_veth(veth);
  PATU_TRY(socket_.call(create), "create the veth");
  pod.ifindex = ::if_nametoindex(pod.port.c_str());
  PATU_TRY(program_.add_pod(pod.ifindex, bridge_, pod.mac, {pod.v4, pod.v6}, true));
  if (attachment == Attachment::clsact) PATU_TRY(nl::attach_clsact(socket_, pod.ifindex, program_.fd()));
  nl::Request up = nl::set_link_up(pod.ifindex);
  PATU_TRY(socket_.call(up), "bring the port up");
  PATU_TRY(bring_up_inside(pod), "inside the pod");
  PATU_TRY(await_forwarding(pod.port));
  pods_.push_back(std::move(pod));
  return {};
}

Lab::~Lab() {
  for (const LabPod& pod : pods_) {
    nl::Request remove = nl::delete_link(pod.ifindex);
    (void)socket_.call(remove);
  }
  nl::Request remove = nl::delete_link(*IfName::parse(kBridge));
  (void)socket_.call(remove);
}

std::uint64_t Lab::bytes_through_bridge(unsigned number) const {
  std::uint64_t bytes = 0;
  std::ifstream("/sys/class/net/" + pod(number).port + "/statistics/tx_bytes") >> bytes;
  return bytes;
}

}  // namespace patu::test
