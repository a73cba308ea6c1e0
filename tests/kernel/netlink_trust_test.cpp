// Whoever shares a namespace with one of our sockets may write to its port; no call may believe him, crash or wait.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"
#include "bytes.hpp"
#include "nl/link.hpp"
#include "nl/socket.hpp"
#include "sandbox.hpp"

namespace patu::nl {
namespace {

using test::Bytes;

constexpr std::uint32_t kNoSuchLink = 999'999;
// A socket numbers its requests from 1; these are more than any test sends.
constexpr std::uint32_t kSequences = 8;

UniqueFd netlink_socket() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  REQUIRE(fd);
  return fd;
}

sockaddr_nl address_of(std::uint32_t port) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_pid = port;
  return address;
}

// 0 or an errno.
int send_to(int fd, std::uint32_t port, std::span<const std::byte> bytes, int flags = 0) {
  const sockaddr_nl to = address_of(port);
  const auto sent = ::sendto(fd, bytes.data(), bytes.size(), flags, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return sent < 0 ? errno : 0;
}

Bytes forged(std::uint16_t type, std::uint32_t sequence, std::uint32_t length, std::uint16_t flags = 0) {
  return Bytes().u32(length).u16(type).u16(flags).u32(sequence).u32(0);
}

Bytes forged_ack(std::uint32_t sequence, int error) {
  return forged(NLMSG_ERROR, sequence, 36).u32(static_cast<std::uint32_t>(-error)).header(16, RTM_DELLINK);
}

Bytes forged_link(std::uint32_t sequence, std::uint16_t flags) {
  Bytes bytes = forged(RTM_NEWLINK, sequence, 44, flags);
  return bytes.zeros(4).u32(4242).zeros(8).u16(9).u16(IFLA_IFNAME).text("evil").zeros(4);
}

// Takes the kernel's refusal away, so that the checks behind it are what is tested.
void open_to_all(const Socket& victim) {
  sockaddr address{};
  address.sa_family = AF_UNSPEC;
  REQUIRE(::connect(victim.fd(), &address, sizeof address) == 0);
}

void check_tells_the_truth(Socket& victim) {
  Request wrong = delete_link(kNoSuchLink);
  const auto refused = victim.call(wrong);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().os_error() == ENODEV);
  Request right = set_link_up(1);  // loopback
  CHECK(victim.call(right));
}

TEST_CASE("the kernel refuses what others send to an open socket") {
  auto victim = Socket::open();
  REQUIRE(victim);
  const UniqueFd attacker = netlink_socket();
  CHECK(send_to(attacker.get(), victim->port(), forged_ack(1, 0).view()) == ECONNREFUSED);
  check_tells_the_truth(*victim);
}

TEST_CASE("a forged acknowledgement makes no failure a success, and no success a failure") {
  auto victim = Socket::open();
  REQUIRE(victim);
  open_to_all(*victim);
  const UniqueFd attacker = netlink_socket();
  for (std::uint32_t sequence = 1; sequence <= kSequences; ++sequence) {
    REQUIRE(send_to(attacker.get(), victim->port(), forged_ack(sequence, 0).view()) == 0);
    REQUIRE(send_to(attacker.get(), victim->port(), forged_ack(sequence, EPERM).view()) == 0);
  }
  check_tells_the_truth(*victim);
}

TEST_CASE("forged links are neither found nor listed, and a forged end does not cut a dump short") {
  auto victim = Socket::open();
  REQUIRE(victim);
  open_to_all(*victim);
  const UniqueFd attacker = netlink_socket();
  for (std::uint32_t sequence = 1; sequence <= kSequences; ++sequence) {
    REQUIRE(send_to(attacker.get(), victim->port(), forged_link(sequence, NLM_F_MULTI).view()) == 0);
    REQUIRE(send_to(attacker.get(), victim->port(), forged(NLMSG_DONE, sequence, 20, NLM_F_MULTI).u32(0).view()) == 0);
    REQUIRE(send_to(attacker.get(), victim->port(), forged(NLMSG_DONE, sequence, 20, NLM_F_DUMP_INTR).u32(0).view()) ==
            0);
  }
  const auto none = find_link(*victim, kNoSuchLink);
  REQUIRE(none);
  CHECK_FALSE(*none);
  const auto links = list_links(*victim, 0);
  REQUIRE(links);
  REQUIRE(links->size() == 1);
  CHECK(links->front().name == "lo");
}

TEST_CASE("datagrams whose lengths lie do no harm") {
  auto victim = Socket::open();
  REQUIRE(victim);
  open_to_all(*victim);
  const UniqueFd attacker = netlink_socket();
  for (const std::uint32_t length : {0U, 1U, 15U, 16U, 17U, 4096U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    CAPTURE(length);
    for (std::uint32_t sequence = 1; sequence <= kSequences; ++sequence)
      REQUIRE(send_to(attacker.get(), victim->port(), forged(NLMSG_ERROR, sequence, length).u32(0).view()) == 0);
  }
  for (const std::size_t size : {1, 3, 4, 15, 19})
    REQUIRE(send_to(attacker.get(), victim->port(), forged_ack(1, 0).view().first(size)) == 0);
  // Longer than the buffer of a call.
  REQUIRE(send_to(attacker.get(), victim->port(), forged(NLMSG_ERROR, 1, 36).zeros(100'000).view()) == 0);
  check_tells_the_truth(*victim);
}

TEST_CASE("what was in the queue of a socket before it was adopted is thrown away") {
  UniqueFd fd = netlink_socket();
  sockaddr_nl own = address_of(0);
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
  socklen_t size = sizeof own;
  REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
  const UniqueFd attacker = netlink_socket();
  // Full to the last byte, so that the kernel could not even put its answer there.
  for (const std::size_t padding : {4000, 0}) {
    const Bytes datagram = forged_ack(1, 0).zeros(padding);
    int error = 0;
    for (int i = 0; i < 10'000 && error == 0; ++i)
      error = send_to(attacker.get(), own.nl_pid, datagram.view(), MSG_DONTWAIT);
    REQUIRE(error == EAGAIN);
  }
  auto victim = Socket::adopt(std::move(fd));
  REQUIRE(victim);
  CHECK(victim->port() == own.nl_pid);
  check_tells_the_truth(*victim);
}

TEST_CASE("a process that floods the port of an open socket changes nothing") {
  auto victim = Socket::open();
  auto netns = Netns::current();
  REQUIRE((victim && netns));
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t flood = test::start_in(*netns, false, [&] {
    const UniqueFd attacker(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    for (std::uint32_t round = 0; round < 20'000; ++round) {
      if (send_to(attacker.get(), victim->port(), forged_ack(round % 512, 0).view()) != ECONNREFUSED) return false;
      if (round == 100 && ::write(writer.get(), "x", 1) != 1) return false;
    }
    return true;
  });
  writer = UniqueFd();
  char started = 0;
  CHECK(::read(reader.get(), &started, 1) == 1);
  for (int i = 0; i < 100; ++i) check_tells_the_truth(*victim);
  CHECK(test::wait_for(flood) == 0);
}

TEST_CASE("a flood does not stretch a call that nobody answers") {
  auto victim = Socket::open();
  REQUIRE(victim);
  open_to_all(*victim);
  std::atomic<bool> stop{false};
  std::atomic<bool> ended{false};
  std::thread flood([&, attacker = netlink_socket()] {
    // A minute at most, twelve times what a call may take.
    for (int i = 0; i < 6'000 && !stop; ++i) {
      (void)send_to(attacker.get(), victim->port(), forged_ack(1, 0).view(), MSG_DONTWAIT);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    ended = true;
  });
  Request request = delete_link(kNoSuchLink);
  request.header()->nlmsg_len = 12;  // the kernel skips what is shorter than a header
  const auto result = victim->call(request);
  CHECK_FALSE(ended);
  stop = true;
  flood.join();
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == Errc::timed_out);
}

}  // namespace
}  // namespace patu::nl
