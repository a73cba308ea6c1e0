// Real traffic between namespaces: echo requests, TCP streams, raw frames and what is heard of them.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "frame.hpp"
#include "patu/netns.hpp"

namespace patu::test {

// One ICMP echo request from the namespace, with `bytes` of data; true if the same data came back.
bool echo(const Netns& from, const IpAddress& to, std::size_t bytes = 56);

// Bytes of a known sequence both ways at once over one TCP connection; true if all arrived as they were sent.
bool exchange(const Netns& server, const Netns& client, const IpAddress& server_address, std::size_t bytes);

// Switches checksum offload and segmentation of eth0 off: checksums are then computed, and checked by the receiver.
bool switch_off_offloads(const Netns& netns);

enum class Path : std::uint8_t {
  send,  // send(2): the kernel copies the frame
  ring,  // PACKET_TX_RING: all but the Ethernet header stays in memory that is shared with the sender
};
// Sends frames out of eth0, in order, from one CPU.
bool send_frames(const Netns& from, const std::vector<Bytes>& frames, Path path);

// Hears every frame that arrives at eth0 from its construction on.
class Listener final {
 public:
  static Result<Listener> open(const Netns& netns);
  // All frames until each of `last` was heard (as the end of a frame), or 10 s have passed without any frame.
  std::vector<Bytes> hear(std::set<std::string> last);

 private:
  explicit Listener(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace patu::test
