// A pod's cable made slow or unreliable: a thread carries its frames between the veth and a TAP device.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "patu/netns.hpp"
#include "patu/types.hpp"

namespace patu::test {

using Frame = std::span<const std::uint8_t>;

struct WireRules {
  std::chrono::microseconds delay{0};            // each way
  std::function<bool(Frame)> drops_inward = {};  // of frames to the pod; called by the wire's thread
};

class Wire final {
 public:
  // `veth_end`: the namespace where the veth (eth0) ends, without addresses of its own; `pod`: where the TAP is eth0.
  // Fails the test if a step fails.
  Wire(const Netns& veth_end, const Netns& pod, const MacAddress& mac, WireRules rules);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// True for the acknowledgement that completes a TCP handshake: no data, no other flag, and the first of its connection.
class HandshakeAck final {
 public:
  HandshakeAck();
  bool operator()(Frame frame);

 private:
  struct Seen;
  std::shared_ptr<Seen> seen_;
};

}  // namespace patu::test
