// Every length is checked here, unsigned, before a byte behind it is touched.
#include "nl/message.hpp"

#include <libmnl/libmnl.h>

#include <algorithm>

#include "base/try.hpp"

namespace patu::nl {
namespace {

// The longest string that rtnetlink takes is an interface's alias (IFALIASZ, with its zero).
constexpr std::size_t kStringCapacity = 256;
// The kernel's MAX_ERRNO.
constexpr int kMaxErrno = 4095;

constexpr std::size_t aligned(std::size_t length) noexcept { return MNL_ALIGN(length); }

// Everything is copied out: a reply's bytes need not be aligned.
template <Plain T>
T load(std::span<const std::byte> bytes) noexcept {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::span<const std::byte> skip(std::span<const std::byte> bytes, std::size_t count) noexcept {
  return bytes.subspan(std::min(bytes.size(), count));
}

}  // namespace

void Request::start(std::uint16_t type, std::uint16_t flags, const void* header, std::size_t size) noexcept {
  nlmsghdr* const message = mnl_nlmsg_put_header(buffer_.data());
  message->nlmsg_type = type;
  message->nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  put_raw_bytes({static_cast<const std::byte*>(header), size});
}

Request& Request::put_string(std::uint16_t type, std::string_view text) noexcept {
  std::array<std::byte, kStringCapacity> copy{};
  if (text.size() >= copy.size()) {
    overflowed_ = true;
    return *this;
  }
  std::copy_n(reinterpret_cast<const std::byte*>(text.data()), text.size(), copy.data());
  return put_bytes(type, std::span(copy).first(text.size() + 1));
}

Request& Request::put_bytes(std::uint16_t type, std::span<const std::byte> bytes) noexcept {
  if (!overflowed_ && !mnl_attr_put_check(header(), kCapacity, type, bytes.size(), bytes.data())) overflowed_ = true;
  return *this;
}

Request& Request::put_mac(std::uint16_t type, const MacAddress& mac) noexcept {
  return put_bytes(type, std::as_bytes(std::span(mac.bytes())));
}

Request& Request::put_address(std::uint16_t type, const IpAddress& address) noexcept {
  const auto bytes = std::as_bytes(std::span(address.bytes()));
  return put_bytes(type, address.is_v4() ? bytes.last(4) : bytes);
}

Request& Request::put_raw_bytes(std::span<const std::byte> bytes) noexcept {
  const std::size_t at = header()->nlmsg_len;
  if (overflowed_ || aligned(bytes.size()) > kCapacity - at) {
    overflowed_ = true;
    return *this;
  }
  std::memcpy(buffer_.data() + at, bytes.data(), bytes.size());
  header()->nlmsg_len = static_cast<std::uint32_t>(at + aligned(bytes.size()));
  return *this;
}

std::size_t Request::begin_nest(std::uint16_t type) noexcept {
  const std::size_t at = header()->nlmsg_len;
  if (!overflowed_ && mnl_attr_nest_start_check(header(), kCapacity, type) == nullptr) overflowed_ = true;
  return at;
}

void Request::end_nest(std::size_t at) noexcept {
  if (!overflowed_) mnl_attr_nest_end(header(), reinterpret_cast<nlattr*>(buffer_.data() + at));
}

std::uint16_t Attr::type() const noexcept {
  if (bytes_.size() < sizeof(nlattr)) return 0;
  return load<nlattr>(bytes_).nla_type & NLA_TYPE_MASK;
}

std::span<const std::byte> Attr::payload() const noexcept { return skip(bytes_, sizeof(nlattr)); }

Result<std::string_view> Attr::string() const {
  const std::string_view text(reinterpret_cast<const char*>(payload().data()), payload().size());
  const std::size_t end = text.find('\0');
  if (end == std::string_view::npos) return fail(Errc::protocol, "netlink string has no terminating zero");
  return text.substr(0, end);
}

Result<MacAddress> Attr::mac() const {
  PATU_TRY_LET(bytes, as<MacAddress::Bytes>());
  return MacAddress::from_bytes(bytes);
}

Result<IpAddress> Attr::address() const {
  if (payload().size() == 4) {
    const auto part = load<std::array<std::uint8_t, 4>>(payload());
    return IpAddress::v4(part[0], part[1], part[2], part[3]);
  }
  PATU_TRY_LET(bytes, as<IpAddress::Bytes>());
  return IpAddress::from_bytes(bytes);
}

Error Attr::wrong_size() { return Error(Errc::protocol, "netlink attribute of an unexpected size"); }

AttrRange::Iterator::Iterator(std::span<const std::byte> rest) noexcept : rest_(rest) { measure(); }

AttrRange::Iterator& AttrRange::Iterator::operator++() noexcept {
  rest_ = skip(rest_, aligned(length_));
  measure();
  return *this;
}

void AttrRange::Iterator::measure() noexcept {
  length_ = 0;
  if (rest_.size() < sizeof(nlattr)) return;
  const std::size_t claimed = load<nlattr>(rest_).nla_len;
  if (claimed >= sizeof(nlattr) && claimed <= rest_.size()) length_ = claimed;
}

std::optional<Attr> AttrRange::find(std::uint16_t type) const noexcept {
  for (const Attr attr : *this)
    if (attr.type() == type) return attr;
  return std::nullopt;
}

Result<std::optional<Message>> Message::next(std::span<const std::byte>& rest) {
  if (rest.empty()) return std::nullopt;
  if (rest.size() < sizeof(nlmsghdr)) return fail(Errc::protocol, "netlink message is cut off in its header");
  const std::size_t claimed = load<nlmsghdr>(rest).nlmsg_len;
  if (claimed < sizeof(nlmsghdr) || claimed > rest.size())
    return fail(Errc::protocol, "netlink message has a length that does not fit");
  const Message message(rest.first(claimed));
  rest = skip(rest, aligned(claimed));
  return message;
}

nlmsghdr Message::header() const noexcept {
  return bytes_.size() < sizeof(nlmsghdr) ? nlmsghdr{} : load<nlmsghdr>(bytes_);
}

std::span<const std::byte> Message::payload() const noexcept { return skip(bytes_, sizeof(nlmsghdr)); }

AttrRange Message::attributes(std::size_t header_size) const noexcept {
  return AttrRange(skip(payload(), aligned(header_size)));
}

Error Message::too_short() { return Error(Errc::protocol, "netlink message is shorter than its family's header"); }

Result<Acknowledgement> parse_acknowledgement(const Message& message) {
  PATU_TRY_LET(negative, message.body<int>(), "acknowledgement");
  if (negative > 0 || negative < -kMaxErrno) return fail(Errc::protocol, "netlink acknowledgement with no valid errno");
  Acknowledgement out{-negative, {}};
  const nlmsghdr header = message.header();
  if (message.type() == NLMSG_ERROR && message.payload().size() < sizeof(nlmsgerr))
    return fail(Errc::protocol, "netlink acknowledgement is cut off");
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return out;

  std::size_t offset = sizeof(int);  // of an NLMSG_DONE
  if (message.type() == NLMSG_ERROR) {
    PATU_TRY_LET(error, message.body<nlmsgerr>());
    offset = sizeof error;
    // The whole request is echoed unless the kernel says that it left it out.
    if ((header.nlmsg_flags & NLM_F_CAPPED) == 0) {
      if (error.msg.nlmsg_len < sizeof(nlmsghdr) || error.msg.nlmsg_len > message.payload().size())
        return fail(Errc::protocol, "netlink acknowledgement echoes a length that does not fit");
      offset += error.msg.nlmsg_len - sizeof(nlmsghdr);
    }
  }
  if (const auto text = message.attributes(offset).find(NLMSGERR_ATTR_MSG)) {
    PATU_TRY_LET(sentence, text->string(), "extended acknowledgement");
    out.text = sentence;
  }
  return out;
}

}  // namespace patu::nl
