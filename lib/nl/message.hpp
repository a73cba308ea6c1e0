// Netlink messages as bytes: building requests and reading replies. No I/O here.
#pragma once

#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "patu/types.hpp"

namespace patu::nl {

// Values that may be an attribute's payload: no pointers, no arrays, nothing with hidden state.
template <class T>
concept Plain = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !std::is_array_v<T>;

// One request, built in place; an attribute that does not fit is latched and reported when the request is sent.
class Request final {
 public:
  static constexpr std::size_t kCapacity = 2048;

  // NLM_F_REQUEST is always set; NLM_F_ACK and the sequence number are the socket's business.
  template <Plain Header>
  Request(std::uint16_t type, std::uint16_t flags, const Header& header) noexcept {
    start(type, flags, &header, sizeof header);
  }

  template <Plain T>
  Request& put(std::uint16_t type, const T& value) noexcept {
    return put_bytes(type, {reinterpret_cast<const std::byte*>(&value), sizeof value});
  }
  Request& put_string(std::uint16_t type, std::string_view text) noexcept;  // with its terminating zero
  Request& put_flag(std::uint16_t type) noexcept { return put_bytes(type, {}); }
  Request& put_bytes(std::uint16_t type, std::span<const std::byte> bytes) noexcept;
  Request& put_mac(std::uint16_t type, const MacAddress& mac) noexcept;
  // 4 bytes for IPv4, 16 for IPv6.
  Request& put_address(std::uint16_t type, const IpAddress& address) noexcept;
  // Bytes without an attribute's header: VETH_INFO_PEER begins with an ifinfomsg.
  template <Plain T>
  Request& put_raw(const T& value) noexcept {
    return put_raw_bytes({reinterpret_cast<const std::byte*>(&value), sizeof value});
  }
  // Runs `fill` inside of a nest, which closes itself.
  template <class Fill>
  Request& nest(std::uint16_t type, Fill&& fill) {
    const std::size_t at = begin_nest(type);
    fill();
    end_nest(at);
    return *this;
  }

  bool overflowed() const noexcept { return overflowed_; }
  std::uint16_t type() const noexcept { return header()->nlmsg_type; }
  nlmsghdr* header() noexcept { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }
  const nlmsghdr* header() const noexcept { return reinterpret_cast<const nlmsghdr*>(buffer_.data()); }

 private:
  void start(std::uint16_t type, std::uint16_t flags, const void* header, std::size_t size) noexcept;
  Request& put_raw_bytes(std::span<const std::byte> bytes) noexcept;
  std::size_t begin_nest(std::uint16_t type) noexcept;
  void end_nest(std::size_t at) noexcept;

  alignas(nlmsghdr) std::array<char, kCapacity> buffer_{};
  bool overflowed_ = false;
};

// One attribute of a reply; borrows the reply's bytes.
class Attr final {
 public:
  explicit Attr(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  std::uint16_t type() const noexcept;  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
  std::span<const std::byte> payload() const noexcept;
  // Errors: protocol (another size than T's).
  template <Plain T>
  Result<T> as() const {
    T value;
    if (payload().size() != sizeof value) return tl::unexpected(wrong_size());
    std::memcpy(&value, payload().data(), sizeof value);
    return value;
  }
  Result<std::string_view> string() const;  // without its zero; errors: protocol (no terminating zero)
  Result<MacAddress> mac() const;           // errors: protocol
  Result<IpAddress> address() const;        // 4 or 16 bytes; errors: protocol

 private:
  static Error wrong_size();
  std::span<const std::byte> bytes_;
};

// The attributes in some bytes, such as a message's tail or a nest's payload. Ends at the first malformed one.
class AttrRange final {
 public:
  class Iterator final {
   public:
    explicit Iterator(std::span<const std::byte> rest) noexcept;
    Attr operator*() const noexcept { return Attr(rest_.first(length_)); }
    Iterator& operator++() noexcept;
    bool operator==(std::default_sentinel_t) const noexcept { return length_ == 0; }

   private:
    void measure() noexcept;
    std::span<const std::byte> rest_;
    std::size_t length_ = 0;  // of the attribute at the front, without padding; 0: end
  };

  explicit AttrRange(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
  explicit AttrRange(const Attr& nest) noexcept : bytes_(nest.payload()) {}
  Iterator begin() const noexcept { return Iterator(bytes_); }
  std::default_sentinel_t end() const noexcept { return {}; }
  std::optional<Attr> find(std::uint16_t type) const noexcept;

 private:
  std::span<const std::byte> bytes_;
};

// One message of a reply; borrows the receive buffer.
class Message final {
 public:
  explicit Message(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  // Takes the first message off `rest`. Empty at the end; errors: protocol (a length that does not fit).
  static Result<std::optional<Message>> next(std::span<const std::byte>& rest);

  nlmsghdr header() const noexcept;
  std::uint16_t type() const noexcept { return header().nlmsg_type; }
  std::span<const std::byte> payload() const noexcept;
  // The family's fixed header. Errors: protocol (too short).
  template <Plain Header>
  Result<Header> body() const {
    Header value;
    if (payload().size() < sizeof value) return tl::unexpected(too_short());
    std::memcpy(&value, payload().data(), sizeof value);
    return value;
  }
  // What follows a fixed header of that size.
  AttrRange attributes(std::size_t header_size) const noexcept;

 private:
  static Error too_short();
  std::span<const std::byte> bytes_;
};

// What an NLMSG_ERROR or NLMSG_DONE says.
struct Acknowledgement {
  int error = 0;          // 0 or a positive errno
  std::string_view text;  // extended ACK, empty if there is none; borrows the message
};
// Errors: protocol.
Result<Acknowledgement> parse_acknowledgement(const Message& message);

}  // namespace patu::nl
