// Real traffic between namespaces.
#include "traffic.hpp"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "sandbox.hpp"

namespace patu::test {
namespace {

constexpr int kPatienceSeconds = 10;
constexpr std::uint16_t kPort = 7777;
constexpr char kDevice[] = "eth0";

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress socket_address(const IpAddress& address, std::uint16_t port) {
  SocketAddress out;
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes().data() + 12, 4);
    std::memcpy(&out.storage, &v4, out.length = sizeof v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (address.is_link_local()) v6.sin6_scope_id = ::if_nametoindex(kDevice);
    std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
    std::memcpy(&out.storage, &v6, out.length = sizeof v6);
  }
  return out;
}

void be_patient(int fd) {
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

// Returns once the answer is there, or when nothing has come in for a while.
bool echo_here(const IpAddress& to, std::size_t bytes) {
  const bool v4 = to.is_v4();
  const UniqueFd fd(
      ::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, v4 ? static_cast<int>(IPPROTO_ICMP) : IPPROTO_ICMPV6));
  be_patient(fd.get());
  const auto id = static_cast<std::uint8_t>(::getpid());
  Bytes request{static_cast<std::uint8_t>(v4 ? 8 : 128), 0, 0, 0, id, id, 0, 1};
  for (std::size_t i = 0; i < bytes; ++i) request.push_back(static_cast<std::uint8_t>(i * 7));
  if (v4) {  // the kernel computes ICMPv6's checksum only
    const std::uint16_t sum = internet_checksum(request);
    request[2] = static_cast<std::uint8_t>(sum >> 8);
    request[3] = static_cast<std::uint8_t>(sum);
  }
  const SocketAddress address = socket_address(to, 0);
  if (::sendto(fd.get(), request.data(), request.size(), 0, address.get(), address.length) < 0) return false;
  Bytes answer(65536);
  for (;;) {
    const ssize_t got = ::recv(fd.get(), answer.data(), answer.size(), 0);
    if (got < 0) return false;
    const auto* begin = answer.data() + (v4 ? 20 : 0);
    const auto* end = answer.data() + got;
    if (end - begin != static_cast<std::ptrdiff_t>(request.size()) || *begin != (v4 ? 0 : 129)) continue;
    return std::equal(begin + 4, end, request.begin() + 4);
  }
}

class Sequence final {
 public:
  explicit Sequence(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint8_t next() noexcept {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint8_t>(state_ >> 56);
  }

 private:
  std::uint64_t state_;
};

bool send_all(int fd, Sequence sequence, std::size_t bytes) {
  Bytes chunk(65536);
  for (std::size_t sent = 0; sent < bytes;) {
    const std::size_t length = std::min(chunk.size(), bytes - sent);
    for (std::size_t i = 0; i < length; ++i) chunk[i] = sequence.next();
    for (std::size_t done = 0; done < length;) {
      const ssize_t n = ::send(fd, chunk.data() + done, length - done, MSG_NOSIGNAL);
      if (n <= 0) return false;
      done += static_cast<std::size_t>(n);
    }
    sent += length;
  }
  return ::shutdown(fd, SHUT_WR) == 0;
}

bool receive_all(int fd, Sequence sequence, std::size_t bytes) {
  Bytes chunk(65536);
  std::size_t received = 0;
  for (;;) {
    const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (n <= 0) return n == 0 && received == bytes;
    for (ssize_t i = 0; i < n; ++i)
      if (chunk[static_cast<std::size_t>(i)] != sequence.next()) return false;
    received += static_cast<std::size_t>(n);
  }
}

bool both_ways(int fd, std::uint64_t mine, std::uint64_t theirs, std::size_t bytes) {
  be_patient(fd);
  bool sent = false;
  std::thread sender([&] { sent = send_all(fd, Sequence(mine), bytes); });
  const bool received = receive_all(fd, Sequence(theirs), bytes);
  sender.join();
  return sent && received;
}

Result<UniqueFd> listen_in(const Netns& netns, const IpAddress& on) {
  UniqueFd fd;
  PATU_TRY(in_netns(netns.fd(), [&]() -> Result<> {
    const SocketAddress address = socket_address(on, kPort);
    fd = UniqueFd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on_again = 1;  // an earlier connection may be in TIME_WAIT
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on_again, sizeof on_again);
    if (::bind(fd.get(), address.get(), address.length) != 0 || ::listen(fd.get(), 1) != 0)
      return fail_errno(errno, "listen");
    return {};
  }));
  be_patient(fd.get());
  return fd;
}

UniqueFd packet_socket(int protocol) {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(static_cast<std::uint16_t>(protocol));
  address.sll_ifindex = static_cast<int>(::if_nametoindex(kDevice));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return UniqueFd();
  return fd;
}

bool send_by_ring(int fd, const std::vector<Bytes>& frames) {
  constexpr unsigned kFrameBytes = 2048;
  const int version = TPACKET_V2;
  tpacket_req ring{};
  ring.tp_block_size = 4096;
  ring.tp_block_nr = static_cast<unsigned>(frames.size() + 1) / 2;
  ring.tp_frame_size = kFrameBytes;
  ring.tp_frame_nr = ring.tp_block_nr * 2;
  if (::setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0) return false;
  if (::setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &ring, sizeof ring) != 0) return false;
  const std::size_t bytes = std::size_t{ring.tp_frame_nr} * kFrameBytes;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return false;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    auto* slot = static_cast<std::uint8_t*>(memory) + i * kFrameBytes;
    std::memcpy(slot + TPACKET2_HDRLEN - sizeof(sockaddr_ll), frames[i].data(), frames[i].size());
    auto* header = reinterpret_cast<tpacket2_hdr*>(slot);
    header->tp_len = static_cast<unsigned>(frames[i].size());
    header->tp_status = TP_STATUS_SEND_REQUEST;
  }
  const bool sent = ::send(fd, nullptr, 0, 0) > 0;
  ::munmap(memory, bytes);
  return sent;
}

bool send_here(const std::vector<Bytes>& frames, Path path) {
  cpu_set_t first;
  CPU_ZERO(&first);
  CPU_SET(0, &first);
  if (::sched_setaffinity(0, sizeof first, &first) != 0) return false;
  const UniqueFd fd = packet_socket(0);  // protocol 0: it sends and hears nothing
  if (!fd) return false;
  if (path == Path::ring) return send_by_ring(fd.get(), frames);
  return std::all_of(frames.begin(), frames.end(), [&](const Bytes& frame) {
    return ::send(fd.get(), frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
  });
}

}  // namespace

bool echo(const Netns& from, const IpAddress& to, std::size_t bytes) {
  return run_in(from, false, [&] { return echo_here(to, bytes); }) == 0;
}

bool exchange(const Netns& server, const Netns& client, const IpAddress& server_address, std::size_t bytes) {
  const auto listener = listen_in(server, server_address);
  if (!listener) return false;
  const pid_t serving = start_in(server, false, [&] {
    const UniqueFd fd(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    return fd && both_ways(fd.get(), 1, 2, bytes);
  });
  const int connecting = run_in(client, false, [&] {
    const SocketAddress address = socket_address(server_address, kPort);
    const UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    be_patient(fd.get());
    return ::connect(fd.get(), address.get(), address.length) == 0 && both_ways(fd.get(), 2, 1, bytes);
  });
  return wait_for(serving) == 0 && connecting == 0;
}

bool switch_off_offloads(const Netns& netns) {
  return run_in(netns, false, [] {
           const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
           for (const std::uint32_t command : {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM}) {
             ethtool_value value{command, 0};
             ifreq request{};
             std::memcpy(request.ifr_name, kDevice, sizeof kDevice);
             request.ifr_data = reinterpret_cast<char*>(&value);
             if (::ioctl(fd.get(), SIOCETHTOOL, &request) != 0) return false;
           }
           return true;
         }) == 0;
}

bool send_frames(const Netns& from, const std::vector<Bytes>& frames, Path path) {
  return run_in(from, false, [&] { return send_here(frames, path); }) == 0;
}

Result<Listener> Listener::open(const Netns& netns) {
  UniqueFd fd;
  PATU_TRY(in_netns(netns.fd(), [&]() -> Result<> {
    fd = packet_socket(3 /* ETH_P_ALL */);
    return fd ? Result<>{} : fail_errno(errno, "open a packet socket");
  }));
  return Listener(std::move(fd));
}

std::vector<Bytes> Listener::hear(std::set<std::string> last) {
  std::vector<Bytes> frames;
  pollfd waiting{fd_.get(), POLLIN, 0};
  while (!last.empty() && ::poll(&waiting, 1, kPatienceSeconds * 1000) > 0) {
    Bytes frame(65536);
    const ssize_t got = ::recv(fd_.get(), frame.data(), frame.size(), 0);
    if (got < 0) break;
    frame.resize(static_cast<std::size_t>(got));
    const std::string text(frame.begin(), frame.end());
    std::erase_if(last, [&](const std::string& end) { return text.ends_with(end); });
    frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace patu::test
