// Receiving is written out here: libmnl trusts the sender and the lengths, and a container may be the sender.
#include "netlink.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "failure.hpp"

namespace cni {
namespace {

constexpr timeval kPatience{5, 0};
// The kernel puts no more than this into one datagram, whatever the reader's buffer.
constexpr std::size_t kBufferBytes = 32 * 1024;

Failure failed(const char* step) { return {patu::Error::from_errno(errno, step), "netlink"}; }

constexpr std::size_t aligned(std::size_t size) noexcept { return (size + NLA_ALIGNTO - 1) & ~(NLA_ALIGNTO - 1UL); }

// The first whole message of what is left, or null.
const nlmsghdr* next_message(Bytes& rest) noexcept {
  if (rest.size() < sizeof(nlmsghdr)) return nullptr;
  const auto* message = reinterpret_cast<const nlmsghdr*>(rest.data());
  if (message->nlmsg_len < sizeof(nlmsghdr) || message->nlmsg_len > rest.size()) return nullptr;
  rest = rest.subspan(std::min(aligned(message->nlmsg_len), rest.size()));
  return message;
}

}  // namespace

Attributes::Attributes(const nlmsghdr& message, std::size_t header_bytes) noexcept {
  const std::size_t before = sizeof message + aligned(header_bytes);
  if (message.nlmsg_len > before)
    bytes_ = Bytes(reinterpret_cast<const std::byte*>(&message), message.nlmsg_len).subspan(before);
}

std::optional<Attributes::One> Attributes::next() noexcept {
  nlattr header;
  if (bytes_.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes_.data(), sizeof header);
  if (header.nla_len < sizeof header || header.nla_len > bytes_.size()) return std::nullopt;
  const Bytes payload = bytes_.subspan(sizeof header, header.nla_len - sizeof header);
  bytes_ = bytes_.subspan(std::min(aligned(header.nla_len), bytes_.size()));
  return One{static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK), (header.nla_type & NLA_F_NESTED) != 0,
             payload};
}

std::optional<Bytes> Attributes::find(std::uint16_t type) const noexcept {
  Attributes all(bytes_);
  while (const auto one = all.next())
    if (one->type == type) return one->payload;
  return std::nullopt;
}

std::uint32_t Attributes::be32(std::uint16_t type) const noexcept {
  std::uint32_t number = 0;
  if (const auto payload = find(type); payload && payload->size() == sizeof number)
    std::memcpy(&number, payload->data(), sizeof number);
  return ntohl(number);
}

std::string_view Attributes::string(std::uint16_t type) const noexcept {
  const auto payload = find(type);
  if (!payload) return {};
  const std::string_view text(reinterpret_cast<const char*>(payload->data()), payload->size());
  return text.substr(0, text.find('\0'));
}

Attributes Attributes::nest(std::uint16_t type) const noexcept { return Attributes(find(type).value_or(Bytes())); }

Netlink::Netlink(int protocol) : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)) {
  if (!socket_ && errno == EPROTONOSUPPORT && protocol == NETLINK_NETFILTER)
    throw Failure(Code::kernel_unsupported, "this kernel has no netfilter netlink (CONFIG_NETFILTER_NETLINK)");
  if (!socket_) throw failed("open a socket");
  const int on = 1;
  // Connected to port 0, it takes datagrams from the kernel alone.
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0 ||
      ::setsockopt(socket_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on) != 0 ||
      ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) != 0)
    throw failed("prepare the socket");
}

void Netlink::send(Bytes messages) const {
  while (::send(socket_.get(), messages.data(), messages.size(), 0) < 0)
    if (errno != EINTR) throw failed("send");
}

void Netlink::receive(const std::function<bool(const nlmsghdr&)>& on_message) const {
  std::vector<std::byte> buffer(kBufferBytes);
  for (;;) {
    sockaddr_nl sender{};
    socklen_t sender_size = sizeof sender;
    const ssize_t got = ::recvfrom(socket_.get(), buffer.data(), buffer.size(), MSG_TRUNC,
                                   reinterpret_cast<sockaddr*>(&sender), &sender_size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) throw Failure(Code::try_again, "netlink: the kernel did not answer in time");
    if (got < 0) throw failed("receive");
    if (sender.nl_pid != 0) continue;
    if (static_cast<std::size_t>(got) > buffer.size()) throw Failure(Code::io, "netlink: an answer was cut off");
    Bytes rest(buffer.data(), static_cast<std::size_t>(got));
    while (const nlmsghdr* message = next_message(rest))
      if (on_message(*message)) return;
  }
}

int error_of(const nlmsghdr& message) {
  if (message.nlmsg_len < sizeof message + sizeof(int)) return EPROTO;
  int error = 0;
  std::memcpy(&error, reinterpret_cast<const std::byte*>(&message) + sizeof message, sizeof error);
  return error < 0 ? -error : error;
}

}  // namespace cni
