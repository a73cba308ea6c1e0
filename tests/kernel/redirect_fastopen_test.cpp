// Socket redirection and TCP Fast Open: data in the SYN travels by TCP, and nothing overtakes it.
#include <doctest/doctest.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "redirect_node.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

void allow_fast_open(const NodePod& pod) {
  const std::string said = output_in(pod.netns, "echo 3 2>&1 > /proc/sys/net/ipv4/tcp_fastopen");
  REQUIRE_MESSAGE(said.empty(), said);
}

Listening listen_fast(const NodePod& pod, const Family& family) {
  Listening out = listen_in(pod, family);
  if (!set_option(out.fd.get(), IPPROTO_TCP, TCP_FASTOPEN, 64)) return {};
  return out;
}

bool syn_data_was_taken(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

int tcp_bytes_unacknowledged(int fd) {
  int bytes = 0;
  ::ioctl(fd, SIOCOUTQ, &bytes);
  return bytes;
}

UniqueFd send_fast(const NodePod& from, const NodePod& to, const Family& family, std::uint16_t port,
                   const std::string& bytes) {
  UniqueFd fd = socket_in(from.netns, family.client);
  const SocketAddress address = socket_address(family.client, address_of(to, family), port);
  if (::sendto(fd.get(), bytes.data(), bytes.size(), MSG_FASTOPEN, address.get(), address.size) !=
      static_cast<ssize_t>(bytes.size()))
    return {};
  return fd;
}

}  // namespace

TEST_CASE("data in the SYN arrives first, and all that follows in order") {
  for (const std::chrono::milliseconds delay : {std::chrono::milliseconds(0), std::chrono::milliseconds(2)}) {
    RedirectNode node(Rules::patu);
    const NodePod& near = node.add_pod();
    const NodePod& far = node.add_pod_behind({.delay = delay});
    for (const NodePod* pod : {&near, &far}) allow_fast_open(*pod);
    for (const Family& family : kFamilies) {
      CAPTURE(family.name);
      CAPTURE(delay.count());
      node.check([&]() -> bool {
        const Listening listener = listen_fast(far, family);
        int in_syn = 0;
        for (int i = 0; i < 20; ++i) {
          Connection c;
          // The first time the SYN asks for a cookie only.
          c.client = send_fast(near, far, family, listener.port, bytes_at(0, 100));
          EXPECT(c.client);
          if (syn_data_was_taken(c.client.get())) ++in_syn;
          std::thread server([&] {
            c.server = accept_one(listener);
            // A server may answer before the handshake is complete.
            for (std::uint64_t at = 0; at < 2000; at += 100) send_all(c.server.get(), bytes_at(at, 100));
          });
          bool sent = true;
          for (std::uint64_t at = 100; at < 2000; at += 100) sent = sent && send_all(c.client.get(), bytes_at(at, 100));
          server.join();
          EXPECT(sent && c.server);
          EXPECT(receive_exactly(c.server.get(), 2000) == bytes_at(0, 2000));
          EXPECT(receive_exactly(c.client.get(), 2000) == bytes_at(0, 2000));
          EXPECT(node.redirected_bytes(c.client.get()) == 0);
          EXPECT(!syn_data_was_taken(c.client.get()) || !node.stream_of(c.server.get()));
        }
        EXPECT(in_syn > 0);
        return true;
      });
    }
  }
}

TEST_CASE("a connection whose first write is put off into the SYN is in order") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const NodePod* pod : {&a, &b}) allow_fast_open(*pod);
  node.check([&]() -> bool {
    const Listening listener = listen_fast(b, kIpv4);
    for (int i = 0; i < 20; ++i) {
      Connection c;
      c.client = socket_in(a.netns, AF_INET);
      EXPECT(set_option(c.client.get(), IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
      const SocketAddress to = socket_address(AF_INET, b.v4, listener.port);
      EXPECT(::connect(c.client.get(), to.get(), to.size) == 0);
      EXPECT(send_all(c.client.get(), "first, ") && send_all(c.client.get(), "second"));
      c.server = accept_one(listener);
      EXPECT(receive_exactly(c.server.get(), 13) == "first, second");
      EXPECT(send_all(c.server.get(), "answer") && receive_exactly(c.client.get(), 6) == "answer");
    }
    return true;
  });
}

TEST_CASE("data in a SYN that the server does not take is sent again, and not overtaken") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const NodePod* pod : {&a, &b}) allow_fast_open(*pod);
  node.check_families([&](const Family& family) -> bool {
    {
      const Listening giver_of_cookies = listen_fast(b, family);
      EXPECT(send_fast(a, b, family, giver_of_cookies.port, "x"));
      EXPECT(accept_one(giver_of_cookies));
    }
    const Listening listener = listen_in(b, family);
    Connection c;
    c.client = send_fast(a, b, family, listener.port, "first, ");
    c.server = accept_one(listener);
    EXPECT(c);
    EXPECT(!syn_data_was_taken(c.client.get()));
    // What was sent again lies in TCP's queue by now.
    while (tcp_bytes_unacknowledged(c.client.get()) != 0) std::this_thread::yield();
    EXPECT(send_all(c.client.get(), "second"));
    EXPECT(receive_exactly(c.server.get(), 13) == "first, second");
    return true;
  });
}
