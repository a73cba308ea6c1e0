// The values that cross patu's border: parsed once, valid ever after. All are cheap to copy and compare by value.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "patu/error.hpp"

namespace patu {

// An IPv4 or IPv6 address in 16 bytes; IPv4 is held as the mapped form ::ffff:a.b.c.d, so that one type and one code
// path serve both. Text of a mapped address therefore is that IPv4 address.
class PATU_API IpAddress final {
 public:
  using Bytes = std::array<std::uint8_t, 16>;

  constexpr IpAddress() noexcept = default;  // "::"
  // Dotted decimal of four parts without leading zeros, or any form of RFC 4291 section 2.2. No zone, no port.
  // Errors: invalid_argument.
  static Result<IpAddress> parse(std::string_view text);
  // Network byte order.
  static constexpr IpAddress from_bytes(const Bytes& bytes) noexcept { return IpAddress(bytes); }
  static constexpr IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) noexcept {
    return IpAddress(Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d});
  }

  constexpr const Bytes& bytes() const noexcept { return bytes_; }
  constexpr bool is_v4() const noexcept {
    for (std::size_t i = 0; i < 10; ++i)
      if (bytes_[i] != 0) return false;
    return bytes_[10] == 0xff && bytes_[11] == 0xff;
  }
  constexpr bool is_v6() const noexcept { return !is_v4(); }
  bool is_unspecified() const noexcept;  // 0.0.0.0 or ::
  bool is_loopback() const noexcept;     // 127.0.0.0/8 or ::1
  bool is_multicast() const noexcept;    // 224.0.0.0/4 or ff00::/8
  bool is_link_local() const noexcept;   // 169.254.0.0/16 or fe80::/10
  bool is_broadcast() const noexcept;    // 255.255.255.255

  // Dotted decimal, or the form of RFC 5952.
  std::string to_string() const;
  constexpr auto operator<=>(const IpAddress&) const noexcept = default;

 private:
  explicit constexpr IpAddress(const Bytes& bytes) noexcept : bytes_(bytes) {}
  Bytes bytes_{};
};

// A network: an address whose host bits are zero, and the number of leading bits, 0 to 32 or 0 to 128.
class PATU_API Prefix final {
 public:
  // "10.200.0.0/24" or "fd00:200::/64"; an IPv4 network in mapped form ("::ffff:10.0.0.0/104") is refused, because its
  // length would not be the one that length() gives. Errors: invalid_argument, also for host bits that are set.
  static Result<Prefix> parse(std::string_view text);
  // Errors: invalid_argument (length out of range, host bits set, an IPv6 network whose last address is a mapped one).
  static Result<Prefix> make(const IpAddress& network, unsigned length);
  // The network of that length in which an address is. Errors: as make() has them, but for the host bits.
  static Result<Prefix> around(const IpAddress& address, unsigned length);

  const IpAddress& network() const noexcept { return network_; }
  unsigned length() const noexcept { return length_; }
  bool is_v4() const noexcept { return network_.is_v4(); }
  bool contains(const IpAddress& address) const noexcept;  // false for the other family
  bool overlaps(const Prefix& other) const noexcept;
  IpAddress last() const noexcept;  // all host bits set: the broadcast address in IPv4
  std::string to_string() const;
  bool operator==(const Prefix&) const noexcept = default;

 private:
  Prefix(const IpAddress& network, unsigned length) noexcept : network_(network), length_(length) {}
  IpAddress network_;
  std::uint32_t length_;
};

// An address as an interface has it: with the length of the prefix that is on link.
struct PATU_API InterfaceAddress {
  IpAddress address;
  std::uint32_t prefix_length = 0;  // 0 to 32 for IPv4, 0 to 128 for IPv6

  std::string to_string() const;  // "10.200.0.5/24"
  bool operator==(const InterfaceAddress&) const noexcept = default;
};

class PATU_API MacAddress final {
 public:
  using Bytes = std::array<std::uint8_t, 6>;

  constexpr MacAddress() noexcept = default;  // 00:00:00:00:00:00
  // Six pairs of hexadecimal digits with colons between. Errors: invalid_argument.
  static Result<MacAddress> parse(std::string_view text);
  static constexpr MacAddress from_bytes(const Bytes& bytes) noexcept { return MacAddress(bytes); }

  constexpr const Bytes& bytes() const noexcept { return bytes_; }
  constexpr bool is_multicast() const noexcept { return (bytes_[0] & 1) != 0; }
  bool is_zero() const noexcept;
  std::string to_string() const;  // lower case
  constexpr auto operator<=>(const MacAddress&) const noexcept = default;

 private:
  explicit constexpr MacAddress(const Bytes& bytes) noexcept : bytes_(bytes) {}
  Bytes bytes_{};
};

// The name of a network interface: 1 to 15 bytes, as the kernel's dev_valid_name() has it, and without '%'.
class PATU_API IfName final {
 public:
  // Errors: invalid_argument.
  static Result<IfName> parse(std::string_view text);

  std::string_view view() const noexcept { return text_.data(); }
  const char* c_str() const noexcept { return text_.data(); }
  std::string to_string() const { return std::string(view()); }
  auto operator<=>(const IfName&) const noexcept = default;

 private:
  IfName() noexcept = default;
  std::array<char, 16> text_{};  // zero padded: compared as a whole, and the shape of a map key
};

// An address and a port of a transport protocol.
struct PATU_API Endpoint {
  IpAddress address;
  std::uint16_t port = 0;  // host byte order

  // "10.96.0.1:80" or "[fd00::1]:80": brackets for the IPv6 form, and only for it. The port is 1 to 65535, decimal,
  // without leading zeros.
  // Errors: invalid_argument.
  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
  auto operator<=>(const Endpoint&) const noexcept = default;
};

// Numbers of IANA's protocol registry.
enum class Protocol : std::uint8_t { tcp = 6, udp = 17 };

// "TCP" or "UDP", as Kubernetes writes them.
PATU_API std::string_view to_string(Protocol protocol) noexcept;

// Names one interface of one container: the container's id and the interface's name inside it, as in CNI.
class PATU_API AttachmentId final {
 public:
  static constexpr std::size_t kMaxContainerIdLength = 128;

  // The id matches ^[A-Za-z0-9][A-Za-z0-9_.-]*$ (CNI specification 1.1.0, CNI_CONTAINERID) and has at most 128 bytes.
  // Errors: invalid_argument.
  static Result<AttachmentId> parse(std::string_view container_id, std::string_view ifname = "eth0");

  const std::string& container_id() const noexcept { return container_id_; }
  const IfName& ifname() const noexcept { return ifname_; }
  std::string to_string() const;  // "web-1/eth0"
  auto operator<=>(const AttachmentId&) const noexcept = default;

 private:
  AttachmentId(std::string container_id, const IfName& ifname)
      : container_id_(std::move(container_id)), ifname_(ifname) {}
  std::string container_id_;
  IfName ifname_;
};

}  // namespace patu
