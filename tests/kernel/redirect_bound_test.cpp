// Socket redirection: what waits at a receiver is bounded, in bytes and in messages, and pushes back as TCP does.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "redirect_node.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr int kBufferBytes = 128 << 10;  // the kernel doubles it
constexpr std::uint64_t kLimitBytes = NodeLimits{}.bytes;
constexpr std::uint64_t kOrdinary = 4 * kBufferBytes;  // what TCP holds at most, at both ends
constexpr std::uint64_t kLargestMessage = 17 * 32768;  // what one sk_msg holds

std::uint32_t charged_bytes(int fd) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof memory;
  ::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size);
  return memory[SK_MEMINFO_RMEM_ALLOC];
}

Connection connect_small(const NodePod& a, const NodePod& b, const Family& family) {
  Connection c = connect_pods(a, b, family);
  set_option(c.client.get(), SOL_SOCKET, SO_SNDBUF, kBufferBytes);
  set_option(c.server.get(), SOL_SOCKET, SO_RCVBUF, kBufferBytes);
  set_blocking(c.client.get(), false);
  return c;
}

// Sends numbered bytes until the kernel takes no more, or `most` were sent. A kernel that still works on what it has may
// take more in a moment, so EAGAIN counts when it lasts.
std::uint64_t fill(int fd, std::size_t message, std::uint64_t most) {
  std::uint64_t position = 0;
  for (int refusals = 0; position < most && refusals < 100;) {
    const std::string bytes = bytes_at(position, message);
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      position += static_cast<std::uint64_t>(sent);
      refusals = 0;
    } else {
      ++refusals;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  return position;
}

bool drains_intact(int fd, std::uint64_t bytes) {
  for (std::uint64_t position = 0; position < bytes;) {
    const std::string got = receive_exactly(fd, std::min<std::uint64_t>(1u << 20, bytes - position));
    if (got.empty() || got != bytes_at(position, got.size())) return false;
    position += got.size();
  }
  return true;
}

}  // namespace

TEST_CASE("a sender to a receiver that never reads is stopped, and loses nothing") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const std::size_t message : {std::size_t{1000}, std::size_t{65536}, std::size_t{1} << 20}) {
    for (const Family& family : kFamilies) {
      CAPTURE(family.name);
      CAPTURE(message);
      node.check([&]() -> bool {
        const Connection c = connect_small(a, b, family);
        EXPECT(c);
        const std::uint64_t taken = fill(c.client.get(), message, 64u << 20);
        EXPECT(taken <= kLimitBytes + kLargestMessage + kOrdinary);
        const auto stream = node.stream_of(c.client.get());
        EXPECT(stream->state == PATU_STREAM_FULL_BYTES);
        EXPECT(stream->sent.bytes > 0 && stream->sent.bytes <= kLimitBytes + kLargestMessage);
        EXPECT(charged_bytes(c.server.get()) <= stream->sent.bytes + kOrdinary);
        EXPECT(drains_intact(c.server.get(), taken));
        // The stop is over with the rest.
        EXPECT(send_all(c.client.get(), "go on") && receive_exactly(c.server.get(), 5) == "go on");
        return true;
      });
    }
  }
}

TEST_CASE("a message that is larger than the limit may go to a peer with nothing to read, and to no other") {
  RedirectNode node(Rules::patu, {.bytes = 65536});
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    constexpr std::size_t kLarge = 200'000;
    for (std::uint64_t at = 0; at < 10 * kLarge; at += kLarge) {
      EXPECT(send_all(c.client.get(), bytes_at(at, kLarge)));
      EXPECT(receive_exactly(c.server.get(), kLarge) == bytes_at(at, kLarge));
    }
    EXPECT(node.redirected_bytes(c.client.get()) == 10 * kLarge);
    EXPECT(send_all(c.client.get(), "1") && send_all(c.client.get(), bytes_at(0, kLarge)));
    EXPECT(node.stream_of(c.client.get())->leaving == PATU_STREAM_FULL_BYTES);
    EXPECT(receive_exactly(c.server.get(), 1 + kLarge) == "1" + bytes_at(0, kLarge));
    return true;
  });
}

TEST_CASE("the simple version lets a sender fill the kernel") {
  RedirectNode node(Rules::simple);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_small(a, b, kIpv4);
    EXPECT(c);
    constexpr std::uint64_t kMuch = 64u << 20;
    EXPECT(fill(c.client.get(), 65536, kMuch) >= kMuch);
    EXPECT(charged_bytes(c.server.get()) >= kMuch);
    return true;
  });
}

TEST_CASE("messages of one byte are bounded by their number") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    const Connection c = connect_small(a, b, family);
    EXPECT(c);
    const std::uint64_t taken = fill(c.client.get(), 1, 300'000);
    const auto stream = node.stream_of(c.client.get());
    EXPECT(stream->state == PATU_STREAM_FULL_MESSAGES);
    EXPECT(stream->sent.messages == PATU_STREAM_MAX_MESSAGES + 1);
    EXPECT(drains_intact(c.server.get(), taken));
    return true;
  });
}

TEST_CASE("the simple version queues messages of one byte without end") {
  RedirectNode node(Rules::simple);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_small(a, b, kIpv4);
    constexpr std::uint64_t kMany = 50'000;
    EXPECT(fill(c.client.get(), 1, kMany) >= kMany);
    EXPECT(charged_bytes(c.server.get()) == kMany);  // though the kernel holds 1 KiB for each
    return true;
  });
}

TEST_CASE("any number of messages may pass as long as few of them wait") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(c);
    // Never empty: the first message is left half read, as are all after it.
    EXPECT(send_all(c.client.get(), bytes_at(0, 200)));
    constexpr std::uint64_t kMessages = 30'000;
    for (std::uint64_t i = 0; i < kMessages; ++i) {
      EXPECT(send_all(c.client.get(), bytes_at(200 + i * 100, 100)));
      EXPECT(receive_exactly(c.server.get(), 100) == bytes_at(i * 100, 100));
    }
    EXPECT(node.stream_of(c.client.get())->sent.messages == kMessages + 1);
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_REDIRECTED);
    return true;
  });
}

TEST_CASE("a queue that the kernel never shows empty ends the redirection at last") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(c);
    EXPECT(send_all(c.client.get(), bytes_at(0, 20)));
    std::uint64_t i = 0;
    for (; i < 2 * PATU_STREAM_MAX_UNDRAINED && node.state_of(c.client.get()) == PATU_STREAM_REDIRECTED; ++i) {
      EXPECT(send_all(c.client.get(), bytes_at(20 + i * 10, 10)));
      EXPECT(receive_exactly(c.server.get(), 10) == bytes_at(i * 10, 10));
    }
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_FULL_MESSAGES);
    EXPECT(node.stream_of(c.client.get())->sent.messages == PATU_STREAM_MAX_UNDRAINED + 1);
    EXPECT(send_all(c.client.get(), "!") && receive_exactly(c.server.get(), 21) == bytes_at(i * 10, 20) + "!");
    return true;
  });
}

namespace {

// A page that blocks whoever touches it, inside the kernel too, until it is given.
class Trap final {
 public:
  Trap() : page_(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    fd_ = UniqueFd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));
    uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
    uffdio_register range{};
    range.range = {reinterpret_cast<std::uint64_t>(page_), kBytes};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    set_ = fd_ && ::ioctl(fd_.get(), UFFDIO_API, &api) == 0 && ::ioctl(fd_.get(), UFFDIO_REGISTER, &range) == 0;
  }
  ~Trap() { ::munmap(page_, kBytes); }
  Trap(const Trap&) = delete;
  Trap& operator=(const Trap&) = delete;

  bool is_set() const noexcept { return set_; }
  char* page() const noexcept { return static_cast<char*>(page_); }
  // Waits until somebody is caught.
  bool has_caught() const {
    uffd_msg message{};
    return ::read(fd_.get(), &message, sizeof message) == sizeof message && message.event == UFFD_EVENT_PAGEFAULT;
  }
  void open() const {
    uffdio_zeropage zero{};
    zero.range = {reinterpret_cast<std::uint64_t>(page_), kBytes};
    ::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &zero);
  }

 private:
  static constexpr std::size_t kBytes = 4096;
  void* page_;
  UniqueFd fd_;
  bool set_ = false;
};

}  // namespace

TEST_CASE("threads that wait to hand messages over to a receiver that holds its lock are few") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Trap trap;
    EXPECT(trap.is_set());
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(send_all(c.client.get(), "bait"));
    std::string rest;
    std::thread reader([&] { (void)!::recv(c.server.get(), trap.page(), 4, 0); });
    EXPECT(trap.has_caught());
    constexpr std::size_t kThreads = 32;
    constexpr std::size_t kBytes = 100'000;
    std::vector<std::thread> writers;
    std::atomic<std::size_t> sent = 0;
    for (std::size_t i = 0; i < kThreads; ++i) {
      const std::uint64_t before = node.stream_of(c.client.get())->sent.messages;
      writers.emplace_back([&] { sent += send_all(c.client.get(), std::string(kBytes, 'x')) ? kBytes : 0; });
      // The next one starts when this one has been let through or has gone to TCP, which may block it.
      for (int n = 0; n < 50 && node.stream_of(c.client.get())->sent.messages == before; ++n)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const auto stream = node.stream_of(c.client.get());
    const bool few = stream->state == PATU_STREAM_CROWDED && stream->sent.messages <= 20;
    trap.open();
    reader.join();
    const std::string got = receive_exactly(c.server.get(), kThreads * kBytes);
    for (std::thread& writer : writers) writer.join();
    EXPECT(few);
    EXPECT(sent == kThreads * kBytes);
    EXPECT(got == std::string(kThreads * kBytes, 'x'));
    return true;
  });
}
