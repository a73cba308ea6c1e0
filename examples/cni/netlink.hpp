// A netlink socket of the plugin's own, for what the library has no verb for: it hears nobody but the kernel.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "descriptor.hpp"

namespace cni {

using Bytes = std::span<const std::byte>;

// Attributes, one behind the other, as they are in a message behind its header or in an attribute that is a nest.
class Attributes final {
 public:
  explicit Attributes(Bytes bytes) noexcept : bytes_(bytes) {}
  // Those of a message whose own header (nfgenmsg, ifinfomsg) has so many bytes.
  Attributes(const nlmsghdr& message, std::size_t header_bytes) noexcept;

  // The next attribute's type, without its flags, and its payload; nothing behind the last one or a torn one.
  struct One {
    std::uint16_t type;
    bool nested;
    Bytes payload;
  };
  std::optional<One> next() noexcept;
  // The payload of the first one of that type.
  std::optional<Bytes> find(std::uint16_t type) const noexcept;
  // Of a big-endian number, as nf_tables has them; 0 where there is none.
  std::uint32_t be32(std::uint16_t type) const noexcept;
  // Without the final NUL; empty where there is none.
  std::string_view string(std::uint16_t type) const noexcept;
  Attributes nest(std::uint16_t type) const noexcept;  // empty where there is none

 private:
  Bytes bytes_;
};

// Every wait for an answer is bounded; to send a transaction of nf_tables waits for the one that is under way, without a bound.
// Thread: one at a time.
class Netlink final {
 public:
  // In the network namespace of the calling thread. Throws Failure.
  explicit Netlink(int protocol);

  // Throws Failure.
  void send(Bytes messages) const;
  // Hands each of the kernel's messages to `on_message` until that returns true. Throws Failure: also if 5 s pass without any.
  void receive(const std::function<bool(const nlmsghdr&)>& on_message) const;

 private:
  Descriptor socket_;
};

// The errno, positive, that an NLMSG_ERROR holds; 0 is an acknowledgement.
int error_of(const nlmsghdr& message);

}  // namespace cni
