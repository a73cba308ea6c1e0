// A netlink socket that believes nobody but the kernel. It belongs to the namespace that it was opened in.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/function_ref.hpp"
#include "base/unique_fd.hpp"
#include "nl/message.hpp"

namespace patu::nl {

// What a failing message of a batch was, beside its error.
struct BatchError {
  std::size_t index;
  Error error;
};

// Replies come only from port 0, answer our sequence numbers, and have lengths that fit; anything else is dropped (a
// sender that is not the kernel) or an error (a reply that cannot be right). The kernel refuses other senders, so that
// a flood cannot push the answers out of the queue. Every wait is bounded.
// Thread: one at a time.
class [[nodiscard]] Socket final {
 public:
  // NETLINK_ROUTE in the caller's namespace. Errors: permission_denied, io.
  static Result<Socket> open();
  // In another namespace, by way of a thread that ends at once.
  static Result<Socket> open_in(int netns_fd);
  // Takes over a NETLINK_ROUTE or NETLINK_SOCK_DIAG socket, bound or not; sets the options that the rules need. Errors: io.
  static Result<Socket> adopt(UniqueFd fd);

  using OnReply = FunctionRef<Result<>(std::size_t index, const Message&)>;

  // Sends one request and waits for its acknowledgement. Errors: what the kernel says, with the text of its extended
  // ACK; timed_out, protocol, invalid_argument (the request overflowed).
  Result<> call(Request& request);
  // Sends all requests in one datagram (one for every 32) and waits for the last one's answer. The kernel goes on after
  // a failure, so the ones behind it may have happened. Replies to GET requests arrive through `on_reply`; dumps have
  // no place here. The first failure is returned with its index.
  tl::expected<void, BatchError> batch(std::span<Request> requests, OnReply on_reply = {});
  // Runs a dump; starts again when the kernel says that it was interrupted, three times at most, and tells `on_restart`
  // before it does, so that what was collected can be thrown away. Errors: as call(); busy (interrupted each time).
  Result<> dump(Request& request, FunctionRef<Result<>(const Message&)> on_message, FunctionRef<void()> on_restart);

  int fd() const noexcept { return fd_.get(); }
  std::uint32_t port() const noexcept { return port_; }
  // SO_NETNS_COOKIE of the namespace the socket was born in; 0 before Linux 5.14.
  std::uint64_t netns_cookie() const noexcept;

 private:
  struct Batch;
  using Deadline = std::chrono::steady_clock::time_point;

  explicit Socket(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  Result<> prepare();
  Result<> send(std::span<Request> requests);
  Result<std::span<const std::byte>> receive(std::vector<std::byte>& buffer, Deadline deadline);
  Result<> exchange(std::span<Request> requests, Batch& batch);
  // False: the kernel says that the dump was interrupted.
  Result<bool> dump_once(Request& request, FunctionRef<Result<>(const Message&)> on_message,
                         std::vector<std::byte>& buffer);

  UniqueFd fd_;
  std::uint32_t port_ = 0;
  std::uint32_t sequence_ = 0;
};

}  // namespace patu::nl
