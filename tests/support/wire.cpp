// Carries frames between a veth and a TAP device, as slowly and as badly as the test wants.
#include "wire.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <deque>
#include <set>
#include <thread>
#include <vector>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"
#include "sandbox.hpp"

namespace patu::test {
namespace {

using Clock = std::chrono::steady_clock;
// Both devices hand checksums and segmentation over in a header before the frame.
constexpr std::size_t kHeaderBytes = 10;  // struct virtio_net_hdr, whose header is not C++
constexpr std::size_t kFrameBytes = kHeaderBytes + 65536;
constexpr const char* kTap = "tap0";

struct Held {
  Clock::time_point due;
  int to;
  std::vector<std::uint8_t> frame;
};

UniqueFd open_tap(const Netns& netns) {
  UniqueFd fd;
  CHECK(in_netns(netns.fd(), [&]() -> Result<> {
    fd = UniqueFd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    ifreq request{};
    std::strcpy(request.ifr_name, kTap);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (!fd || ::ioctl(fd.get(), TUNSETIFF, &request) != 0) return fail_errno(errno, "make a TAP device");
    return {};
  }));
  return fd;
}

UniqueFd open_packet_socket(const Netns& netns) {
  UniqueFd fd;
  CHECK(in_netns(netns.fd(), [&]() -> Result<> {
    fd = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
    if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return fail_errno(errno, "listen at eth0");
    const int on = 1;
    for (const int option : {PACKET_IGNORE_OUTGOING, PACKET_VNET_HDR})
      if (::setsockopt(fd.get(), SOL_PACKET, option, &on, sizeof on) != 0)
        return fail_errno(errno, "option of eth0's socket");
    return {};
  }));
  return fd;
}

}  // namespace

struct Wire::State {
  WireRules rules;
  UniqueFd veth;
  UniqueFd tap;
  UniqueFd stop;
  std::deque<Held> held;  // in the order of their time: the delay is the same for all
  std::thread thread;

  void take(int from, int to) {
    std::array<std::uint8_t, kFrameBytes> buffer;
    for (;;) {
      const ssize_t got = ::read(from, buffer.data(), buffer.size());
      if (got <= static_cast<ssize_t>(kHeaderBytes)) return;
      const Frame whole(buffer.data(), static_cast<std::size_t>(got));
      if (to == tap.get() && rules.drops_inward && rules.drops_inward(whole.subspan(kHeaderBytes))) continue;
      held.push_back({Clock::now() + rules.delay, to, {whole.begin(), whole.end()}});
    }
  }

  void give() {
    for (; !held.empty() && held.front().due <= Clock::now(); held.pop_front()) {
      const Held& next = held.front();
      (void)!::write(next.to, next.frame.data(), next.frame.size());
    }
  }

  void run() {
    std::array<pollfd, 3> ready{{{veth.get(), POLLIN, 0}, {tap.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}}};
    while ((ready[2].revents & POLLIN) == 0) {
      timespec wait{};
      if (!held.empty()) {
        const auto left = std::max(held.front().due - Clock::now(), Clock::duration::zero());
        wait.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
      }
      ::ppoll(ready.data(), ready.size(), held.empty() ? nullptr : &wait, nullptr);
      take(veth.get(), tap.get());
      take(tap.get(), veth.get());
      give();
    }
  }
};

Wire::Wire(const Netns& veth_end, const Netns& pod, const MacAddress& mac, WireRules rules)
    : state_(std::make_unique<State>()) {
  state_->rules = std::move(rules);
  // Born in the pod, so that it goes with the pod; renamed to what the pod expects.
  state_->tap = open_tap(pod);
  state_->veth = open_packet_socket(veth_end);
  state_->stop = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  const std::string said = output_in(pod, std::string("ip link set ") + kTap + " name eth0 address " + mac.to_string() +
                                              " 2>&1 && ip link set lo up 2>&1 && ip link set eth0 up 2>&1");
  REQUIRE_MESSAGE(said.empty(), said);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Wire::~Wire() {
  const std::uint64_t one = 1;
  (void)!::write(state_->stop.get(), &one, sizeof one);
  state_->thread.join();
}

struct HandshakeAck::Seen {
  std::set<std::array<std::uint8_t, 4>> ports;
};

HandshakeAck::HandshakeAck() : seen_(std::make_shared<Seen>()) {}

bool HandshakeAck::operator()(Frame frame) {
  constexpr std::size_t kIp = ETH_HLEN;
  constexpr std::size_t kTcp = kIp + 20;
  constexpr std::uint8_t kAck = 0x10;
  if (frame.size() < kTcp + 20 || frame[12] != 0x08 || frame[13] != 0x00 || frame[kIp + 9] != IPPROTO_TCP) return false;
  const std::size_t ip_bytes = static_cast<std::size_t>(frame[kIp + 2]) << 8 | frame[kIp + 3];
  const std::size_t tcp_header = static_cast<std::size_t>(frame[kTcp + 12] >> 4) * 4;
  if (frame[kTcp + 13] != kAck || ip_bytes != 20 + tcp_header) return false;
  std::array<std::uint8_t, 4> ports;
  std::copy_n(frame.begin() + kTcp, ports.size(), ports.begin());
  return seen_->ports.insert(ports).second;
}

}  // namespace patu::test
