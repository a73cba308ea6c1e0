// One sendmsg(2) for each batch, one recvfrom(2) for each answer, and nobody is heard but the kernel.
#include "nl/socket.hpp"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/netns_cookie.hpp"
#include "base/thread.hpp"
#include "base/try.hpp"

namespace patu::nl {
namespace {

// Of one receive, and of a whole call: drops of foreign datagrams do not extend it.
constexpr std::chrono::seconds kPatience{5};
// The kernel fills a reader's buffer with a dump, but never puts more than this into one datagram.
constexpr std::size_t kBufferSize = 32 * 1024;
// All answers to a datagram are queued before the first can be read: so many links of 2 KiB fit into a receive buffer
// of the default size, 208 KiB.
constexpr std::size_t kRequestsPerDatagram = 32;
constexpr unsigned kDumpRestarts = 3;

Result<> set_option(int fd, int level, int option, const void* value, socklen_t size, const char* name) {
  if (::setsockopt(fd, level, option, value, size) == 0) return {};
  return PATU_FAIL_ERRNO(name);
}

Result<> enable(int fd, int option, const char* name) {
  const int on = 1;
  return set_option(fd, SOL_NETLINK, option, &on, sizeof on, name);
}

// Data may also be NLMSG_NOOP and the like, which say nothing.
bool is_answer(std::uint16_t type) noexcept { return type >= NLMSG_MIN_TYPE; }

// A GET that is no dump has exactly one reply or an error, so that an acknowledgement would tell nothing more.
// rtnetlink numbers its types in fours: NEW, DEL, GET, SET.
bool is_get(const Request& request) noexcept { return (request.type() - RTM_BASE) % 4 == RTM_GETLINK - RTM_BASE; }

Error overflow_error() {
  return Error(Errc::invalid_argument,
               "netlink request does not fit into " + std::to_string(Request::kCapacity) + " bytes");
}

Error error_of(const Acknowledgement& acknowledgement) {
  return Error::from_errno(acknowledgement.error, acknowledgement.text);
}

}  // namespace

// What the answers to a batch have said so far.
struct Socket::Batch {
  OnReply on_reply;
  std::vector<std::byte> buffer;
  std::size_t done = 0;  // requests of earlier datagrams
  std::optional<BatchError> failure;

  void note(std::size_t index, Error&& error) {
    if (!failure) failure.emplace(BatchError{index, std::move(error)});
  }
  // True: this was the verdict on request `number` of this datagram, or its reply.
  Result<bool> take(std::size_t number, const Message& message) {
    if (message.type() == NLMSG_ERROR) {
      PATU_TRY_LET(acknowledgement, parse_acknowledgement(message));
      if (acknowledgement.error != 0) note(done + number, error_of(acknowledgement));
      return true;
    }
    if (!is_answer(message.type())) return false;
    auto result = on_reply ? on_reply(done + number, message) : Result<>();
    if (!result) note(done + number, std::move(result.error()));
    return true;
  }
};

Result<Socket> Socket::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return PATU_FAIL_ERRNO("open rtnetlink socket");
  return adopt(std::move(fd));
}

Result<Socket> Socket::open_in(int netns_fd) {
  std::optional<Socket> opened;
  const auto work = [&]() -> Result<> {
    PATU_TRY_LET(socket, open());
    opened.emplace(std::move(socket));
    return {};
  };
  PATU_TRY(in_netns(netns_fd, work));
  return std::move(*opened);
}

Result<Socket> Socket::adopt(UniqueFd fd) {
  Socket socket(std::move(fd));
  PATU_TRY(socket.prepare(), "prepare netlink socket");
  return socket;
}

Result<> Socket::prepare() {
  const int fd = fd_.get();
  const timeval patience{kPatience.count(), 0};
  PATU_TRY(set_option(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience, "SO_RCVTIMEO"));
  PATU_TRY(enable(fd, NETLINK_EXT_ACK, "NETLINK_EXT_ACK"));
  PATU_TRY(enable(fd, NETLINK_CAP_ACK, "NETLINK_CAP_ACK"));
  PATU_TRY(enable(fd, NETLINK_GET_STRICT_CHK, "NETLINK_GET_STRICT_CHK"));
  // A socket that is connected to port 0 takes datagrams from the kernel alone: others get ECONNREFUSED, so that they
  // cannot even fill the queue. Binds it too, if need be.
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return PATU_FAIL_ERRNO("connect");
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return PATU_FAIL_ERRNO("getsockname");
  port_ = address.nl_pid;
  // What came before it was connected is finite, and none of it is ours.
  std::byte rest{};
  while (::recv(fd, &rest, sizeof rest, MSG_DONTWAIT) >= 0 || errno == ENOBUFS || errno == EINTR) {
  }
  if (errno != EAGAIN) return PATU_FAIL_ERRNO("empty the queue");
  return {};
}

std::uint64_t Socket::netns_cookie() const noexcept { return netns_cookie_of(fd_.get()).value_or(0); }

Result<> Socket::call(Request& request) {
  auto result = batch({&request, 1});
  if (!result) return fail(std::move(result.error().error));
  return {};
}

tl::expected<void, BatchError> Socket::batch(std::span<Request> requests, OnReply on_reply) {
  for (std::size_t i = 0; i < requests.size(); ++i)
    if (requests[i].overflowed()) return tl::unexpected(BatchError{i, overflow_error()});
  Batch batch{on_reply, std::vector<std::byte>(kBufferSize), 0, std::nullopt};
  while (batch.done < requests.size()) {
    const auto part = requests.subspan(batch.done, std::min(kRequestsPerDatagram, requests.size() - batch.done));
    auto result = exchange(part, batch);
    if (!result) {
      batch.note(batch.done, std::move(result.error()));
      break;  // the socket fails, not a request
    }
    batch.done += part.size();
  }
  if (batch.failure) return tl::unexpected(std::move(*batch.failure));
  return {};
}

// The kernel works a datagram off in order: the last request is the one to be acknowledged, and its answer the last.
Result<> Socket::exchange(std::span<Request> requests, Batch& batch) {
  const std::uint32_t first = sequence_ + 1;
  for (Request& request : requests) {
    const bool ack = &request == &requests.back() && !is_get(request);
    nlmsghdr* const header = request.header();
    header->nlmsg_seq = ++sequence_;
    header->nlmsg_flags = static_cast<std::uint16_t>((header->nlmsg_flags & ~NLM_F_ACK) | (ack ? NLM_F_ACK : 0));
  }
  PATU_TRY(send(requests));
  const Deadline deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    PATU_TRY_LET(rest, receive(batch.buffer, deadline));
    for (;;) {
      PATU_TRY_LET(message, Message::next(rest));
      if (!message) break;
      const std::uint32_t number = message->header().nlmsg_seq - first;  // wraps, as the sequence does
      if (number >= requests.size()) continue;
      PATU_TRY_LET(answered, batch.take(number, *message));
      if (answered && number + 1 == requests.size()) return {};
    }
  }
}

Result<> Socket::dump(Request& request, FunctionRef<Result<>(const Message&)> on_message,
                      FunctionRef<void()> on_restart) {
  if (request.overflowed()) return fail(overflow_error());
  request.header()->nlmsg_flags |= NLM_F_DUMP;
  std::vector<std::byte> buffer(kBufferSize);
  for (unsigned restarts = 0;; ++restarts) {
    PATU_TRY_LET(consistent, dump_once(request, on_message, buffer));
    if (consistent) return {};
    if (restarts == kDumpRestarts)
      return fail(Errc::busy, "the table changed during the dump, " + std::to_string(kDumpRestarts + 1) + " times");
    if (on_restart) on_restart();
  }
}

// Reads to the end even when it is known to be useless: the kernel refuses another dump while one is under way.
Result<bool> Socket::dump_once(Request& request, FunctionRef<Result<>(const Message&)> on_message,
                               std::vector<std::byte>& buffer) {
  request.header()->nlmsg_seq = ++sequence_;
  PATU_TRY(send({&request, 1}));
  const Deadline deadline = std::chrono::steady_clock::now() + kPatience;
  bool consistent = true;
  Result<> outcome;
  for (;;) {
    PATU_TRY_LET(rest, receive(buffer, deadline));
    // In a namespace of somebody else's the table may grow as fast as it is read.
    if (std::chrono::steady_clock::now() >= deadline) return fail(Errc::timed_out, "the dump does not end");
    for (;;) {
      PATU_TRY_LET(message, Message::next(rest));
      if (!message) break;
      const nlmsghdr header = message->header();
      if (header.nlmsg_seq != sequence_) continue;
      if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) consistent = false;
      if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) {
        PATU_TRY_LET(acknowledgement, parse_acknowledgement(*message));
        if (acknowledgement.error != 0) return fail(error_of(acknowledgement));
        if (!outcome) return fail(std::move(outcome.error()));
        return consistent;
      }
      if (is_answer(header.nlmsg_type) && consistent && outcome) outcome = on_message(*message);
    }
  }
}

Result<> Socket::send(std::span<Request> requests) {
  std::array<iovec, kRequestsPerDatagram> parts;
  for (std::size_t i = 0; i < requests.size(); ++i)
    parts[i] = {requests[i].header(), MNL_ALIGN(requests[i].header()->nlmsg_len)};
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  msghdr message{};
  message.msg_name = &kernel;
  message.msg_namelen = sizeof kernel;
  message.msg_iov = parts.data();
  message.msg_iovlen = requests.size();
  while (::sendmsg(fd_.get(), &message, 0) < 0)
    if (errno != EINTR) return PATU_FAIL_ERRNO("send to netlink");
  return {};
}

Result<std::span<const std::byte>> Socket::receive(std::vector<std::byte>& buffer, Deadline deadline) {
  for (;;) {
    sockaddr_nl sender{};
    socklen_t size = sizeof sender;
    // With MSG_TRUNC the whole length comes back, also of what does not fit.
    const ssize_t length =
        ::recvfrom(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC, reinterpret_cast<sockaddr*>(&sender), &size);
    const int err = length < 0 ? errno : 0;
    if (err != 0 && err != EINTR && err != EAGAIN) return fail_errno(err, "receive from netlink");
    if (err == 0 && size == sizeof sender && sender.nl_pid == 0) {
      if (static_cast<std::size_t>(length) > buffer.size())
        return fail(Errc::protocol, "netlink answer of " + std::to_string(length) + " bytes is too long");
      return std::span<const std::byte>(buffer).first(static_cast<std::size_t>(length));
    }
    if (err == EAGAIN || std::chrono::steady_clock::now() >= deadline)
      return fail(Errc::timed_out, "the kernel did not answer in time");
  }
}

}  // namespace patu::nl
