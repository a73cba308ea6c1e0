// Socket redirection: a connection begins, waits and ends as an ordinary one, and nobody who waits is forgotten.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "redirect_node.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

using std::chrono::milliseconds;

// ---- ways to wait for a connection to come up ----

bool wait_by_poll(int fd) {
  pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
  return ::poll(&ready, 1, 5'000) == 1;
}

bool wait_by_select(int fd) {
  fd_set writable;
  FD_ZERO(&writable);
  FD_SET(fd, &writable);
  timeval patience{.tv_sec = 5, .tv_usec = 0};
  return ::select(fd + 1, nullptr, &writable, nullptr, &patience) == 1;
}

bool wait_by_epoll(int fd) {
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLOUT | EPOLLET, .data = {}};
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0 && ::epoll_wait(epoll.get(), &event, 1, 5'000) == 1;
}

// poll(2) on more descriptors than it keeps on its stack: the look at the waiters does not recognise it then.
bool wait_by_long_poll(int fd) {
  std::vector<UniqueFd> others;
  std::vector<pollfd> ready;
  for (int i = 0; i < 64; ++i) {
    others.emplace_back(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ready.push_back({.fd = others.back().get(), .events = POLLIN, .revents = 0});
  }
  ready.push_back({.fd = fd, .events = POLLOUT, .revents = 0});
  return ::poll(ready.data(), ready.size(), 5'000) == 1;
}

struct Waiting {
  const char* name;
  bool (*wait)(int fd);
  bool redirected;
};
constexpr Waiting kWaits[] = {{"poll", wait_by_poll, true},
                              {"select", wait_by_select, true},
                              {"epoll", wait_by_epoll, true},
                              {"poll on many", wait_by_long_poll, false}};

bool begin_connect(int fd, const Family& family, const NodePod& to, std::uint16_t port) {
  const SocketAddress address = socket_address(family.client, address_of(to, family), port);
  return ::connect(fd, address.get(), address.size) == 0 || errno == EINPROGRESS;
}

// What one blocking recv(2) with MSG_WAITALL after the other gets, until it has `bytes` or waits for 10 s in vain. It may
// return short, and with a spurious EAGAIN; what it must not do is sleep while bytes are there.
std::string read_blocked(int fd, std::size_t bytes) {
  std::string got;
  const auto start = std::chrono::steady_clock::now();
  while (got.size() < bytes && std::chrono::steady_clock::now() - start < std::chrono::seconds(9)) {
    std::string part(bytes - got.size(), '\0');
    const ssize_t n = ::recv(fd, part.data(), part.size(), MSG_WAITALL);
    if (n == 0) break;
    if (n > 0) got.append(part, 0, static_cast<std::size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != ENOTCONN) break;
  }
  return got;
}

// Whether another thread's read has what was there to read, in 10 s.
bool is_taken(int fd) {
  pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
  for (int i = 0; i < 10'000 && ::poll(&ready, 1, 0) == 1; ++i) std::this_thread::sleep_for(milliseconds(1));
  return ready.revents == 0;
}

class BlockedReader final {
 public:
  BlockedReader(int fd, std::size_t bytes) : thread_([this, fd, bytes] { got_ = read_blocked(fd, bytes); }) {}
  ~BlockedReader() {
    if (thread_.joinable()) thread_.join();
  }
  std::string end() {
    thread_.join();
    return got_;
  }

 private:
  std::string got_;
  std::thread thread_;
};

constexpr milliseconds kMoment{20};

}  // namespace

TEST_CASE("whoever waits for a connection to come up, by whatever call, gets it redirected") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = milliseconds(5)});
  for (const Family& family : kFamilies) {
    for (const Waiting& waiting : kWaits) {
      CAPTURE(family.name);
      CAPTURE(waiting.name);
      node.check([&]() -> bool {
        const Listening listener = listen_in(far, family);
        Connection c;
        c.client = socket_in(near.netns, family.client, SOCK_NONBLOCK);
        EXPECT(begin_connect(c.client.get(), family, far, listener.port));
        EXPECT(waiting.wait(c.client.get()));
        c.server = accept_one(listener);
        EXPECT(exchange_once(c));
        EXPECT(node.stream_of(c.client.get()).has_value() == waiting.redirected);
        EXPECT((node.redirected_bytes(c.server.get()) == 6) == waiting.redirected);
        return true;
      });
    }
  }
}

TEST_CASE("a connect(2) that blocks is redirected, in a process of one thread and of two") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = milliseconds(5)});
  for (const Family& family : kFamilies) {
    for (const bool second_thread : {false, true}) {
      CAPTURE(family.name);
      CAPTURE(second_thread);
      node.check([&]() -> bool {
        std::thread idle;
        if (second_thread) idle = std::thread([] { std::this_thread::sleep_for(milliseconds(200)); });
        const Connection c = connect_pods(near, far, family);
        if (second_thread) idle.join();
        EXPECT(c);
        EXPECT(exchange_once(c));
        EXPECT(node.redirected_bytes(c.client.get()) == 8 && node.redirected_bytes(c.server.get()) == 6);
        return true;
      });
    }
  }
}

TEST_CASE("a reader that blocks before the connection is there gets what is sent, and keeps it with TCP") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = kMoment});
  for (const Family& family : kFamilies) {
    // The connect either blocks in another thread, or has been begun without waiting.
    for (const bool connect_blocks : {true, false}) {
      CAPTURE(family.name);
      CAPTURE(connect_blocks);
      node.check([&]() -> bool {
        const Listening listener = listen_in(far, family);
        Connection c;
        c.client = socket_in(near.netns, family.client, connect_blocks ? 0 : SOCK_NONBLOCK);
        bool connected = false;
        std::thread connecting;
        if (connect_blocks) {
          connecting = std::thread([&] { connected = begin_connect(c.client.get(), family, far, listener.port); });
          std::this_thread::sleep_for(kMoment / 4);
        } else {
          connected = begin_connect(c.client.get(), family, far, listener.port);
          set_blocking(c.client.get(), true);
        }
        BlockedReader reader(c.client.get(), 10);
        c.server = accept_one(listener);
        if (connect_blocks) connecting.join();
        EXPECT(connected && c);
        EXPECT(send_all(c.server.get(), "12345"));
        std::this_thread::sleep_for(kMoment);
        EXPECT(send_all(c.server.get(), "67890"));
        EXPECT(reader.end() == "1234567890");
        EXPECT(!node.stream_of(c.client.get()));
        return true;
      });
    }
  }
}

TEST_CASE("a reader that begins at any moment of another thread's connect(2) is not forgotten") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  // On two CPUs the reader meets every step of the kernel's work on the answer to the SYN.
  node.check(
      [&]() -> bool {
        const Listening listener = listen_in(b, kIpv4);
        const SocketAddress to = socket_address(AF_INET, b.v4, listener.port);
        std::minstd_rand random(1);
        int redirected = 0;
        for (int i = 0; i < 5'000; ++i) {
          const UniqueFd client = socket_in(a.netns, AF_INET);
          set_patience(client.get(), 2);
          std::atomic<bool> ready = false;
          std::atomic<bool> go = false;
          const auto pause = std::chrono::nanoseconds(random() % 80'000);
          ssize_t got = 0;
          std::thread reader([&] {
            char bytes[8];
            ready = true;
            while (!go) {
            }
            const auto start = std::chrono::steady_clock::now();
            while (std::chrono::steady_clock::now() - start < pause) {
            }
            do got = ::recv(client.get(), bytes, sizeof bytes, MSG_WAITALL);
            while (got < 0 && errno == ENOTCONN);
          });
          while (!ready) {
          }
          go = true;
          const bool connected = ::connect(client.get(), to.get(), to.size) == 0;
          const UniqueFd server = accept_one(listener);
          const bool sent = send_all(server.get(), "12345678");
          if (node.redirected_bytes(server.get()) > 0) ++redirected;
          reader.join();
          EXPECT(connected && sent);
          EXPECT(got == 8);
        }
        EXPECT(redirected > 0);
        return true;
      },
      300);
}

TEST_CASE("a process of one thread that blocks in a read before the connection is there gets what is sent") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = kMoment});
  const std::uint16_t port = 7000;
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    const pid_t server = start_in(far.netns, true, [&] {
      const Listening listener = listen_in(far, family, port);
      const UniqueFd fd = accept_one(listener);
      const bool first = send_all(fd.get(), "12345");
      std::this_thread::sleep_for(kMoment);
      return first && send_all(fd.get(), "67890") && receive_to_end(fd.get()).empty();
    });
    node.check([&]() -> bool {
      UniqueFd client;
      for (int i = 0; i < 100 && !client; ++i) {  // until the server listens
        client = socket_in(near.netns, family.client, SOCK_NONBLOCK);
        EXPECT(begin_connect(client.get(), family, far, port));
        set_blocking(client.get(), true);
        set_patience(client.get());
        char first;
        if (::recv(client.get(), &first, 1, MSG_WAITALL | MSG_PEEK) != 1) {
          EXPECT(errno == ECONNREFUSED);
          client = UniqueFd();
          std::this_thread::sleep_for(milliseconds(10));
        }
      }
      EXPECT(client);
      EXPECT(read_blocked(client.get(), 10) == "1234567890");
      EXPECT(!node.stream_of(client.get()));
      return true;
    });
    CHECK(wait_for(server) == 0);
  }
}

TEST_CASE("a blocking socket whose caller has left connect(2) is left alone, for it may be about to read") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = kMoment});
  node.check([&]() -> bool {
    const Listening listener = listen_in(far, kIpv4);
    Connection c;
    c.client = socket_in(near.netns, AF_INET, SOCK_NONBLOCK);
    EXPECT(begin_connect(c.client.get(), kIpv4, far, listener.port));
    set_blocking(c.client.get(), true);
    c.server = accept_one(listener);
    EXPECT(exchange_once(c));
    EXPECT(!node.stream_of(c.client.get()));
    return true;
  });
}

TEST_CASE("a socket that another process holds too is left alone, for it may be about to read") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Listening listener = listen_in(b, kIpv4);
    Connection c;
    c.client = socket_in(a.netns, AF_INET);
    const UniqueFd twin(::fcntl(c.client.get(), F_DUPFD_CLOEXEC, 0));
    EXPECT(begin_connect(c.client.get(), kIpv4, b, listener.port));
    c.server = accept_one(listener);
    EXPECT(exchange_once(c));
    EXPECT(!node.stream_of(c.client.get()));
    EXPECT(node.stream_of(c.server.get()));
    return true;
  });
}

TEST_CASE("a writer that blocks before the connection is there is not overtaken") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = kMoment});
  node.check([&]() -> bool {
    const Listening listener = listen_in(far, kIpv4);
    Connection c;
    c.client = socket_in(near.netns, AF_INET, SOCK_NONBLOCK);
    EXPECT(begin_connect(c.client.get(), kIpv4, far, listener.port));
    set_blocking(c.client.get(), true);
    EXPECT(send_all(c.client.get(), "first, "));  // returns when the connection is there
    EXPECT(send_all(c.client.get(), "second"));
    c.server = accept_one(listener);
    EXPECT(receive_exactly(c.server.get(), 13) == "first, second");
    return true;
  });
}

TEST_CASE("a reader that blocks in MSG_WAITALL is woken at every moment of the connection's life") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const Family& family : kFamilies) {
    for (const bool client_reads : {true, false}) {
      CAPTURE(family.name);
      CAPTURE(client_reads);
      node.check([&]() -> bool {
        const Connection c = connect_pods(a, b, family);
        const int reading = client_reads ? c.client.get() : c.server.get();
        const int writing = client_reads ? c.server.get() : c.client.get();
        BlockedReader reader(reading, 10 * 8);
        std::string sent;
        for (int i = 0; i < 8; ++i) {
          std::this_thread::sleep_for(milliseconds(2));
          // The reader sleeps with nothing, with a part of what it wants, and with parts of both ways.
          if (i == 4) EXPECT(node.datapath().set_socket_redirect(false));
          EXPECT(send_all(writing, bytes_at(sent.size(), 10)));
          sent += bytes_at(sent.size(), 10);
        }
        EXPECT(node.redirected_bytes(writing) == 40);
        EXPECT(node.datapath().set_socket_redirect(true));
        EXPECT(reader.end() == sent);
        return true;
      });
    }
  }
}

TEST_CASE("a reader that blocks is woken by the end, by half a close and by a reset") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  enum class End { close, half, reset };
  for (const Family& family : kFamilies) {
    for (const End end : {End::close, End::half, End::reset}) {
      CAPTURE(family.name);
      node.check([&]() -> bool {
        Connection c = connect_pods(a, b, family);
        EXPECT(exchange_once(c));
        BlockedReader reader(c.server.get(), 100);
        std::this_thread::sleep_for(milliseconds(5));
        EXPECT(send_all(c.client.get(), "the rest"));
        // A reset throws away what waits: let the reader have it.
        if (end == End::reset) EXPECT(is_taken(c.server.get()));
        if (end == End::half) {
          EXPECT(::shutdown(c.client.get(), SHUT_WR) == 0);
        } else {
          const linger reset{.l_onoff = end == End::reset, .l_linger = 0};
          ::setsockopt(c.client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
          c.client = UniqueFd();
        }
        EXPECT(reader.end() == "the rest");
        return true;
      });
    }
  }
}

TEST_CASE("half a connection can be closed, and the other half goes on") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    const Connection c = connect_pods(a, b, family);
    EXPECT(send_all(c.client.get(), "request"));
    EXPECT(::shutdown(c.client.get(), SHUT_WR) == 0);
    EXPECT(receive_to_end(c.server.get()) == "request");
    for (int i = 0; i < 100; ++i)
      EXPECT(send_all(c.server.get(), bytes_at(static_cast<std::uint64_t>(i) * 1000, 1000)));
    EXPECT(::shutdown(c.server.get(), SHUT_WR) == 0);
    EXPECT(receive_to_end(c.client.get()) == bytes_at(0, 100'000));
    EXPECT(node.redirected_bytes(c.server.get()) == 100'000);
    return true;
  });
}

TEST_CASE("a close with unread bytes ends the connection for the peer, and breaks nothing") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    node.check([&]() -> bool {
      Connection c = connect_pods(a, b, family);
      EXPECT(send_all(c.client.get(), bytes_at(0, 100'000)));
      EXPECT(node.redirected_bytes(c.client.get()) == 100'000);
      c.server = UniqueFd();
      EXPECT(receive_to_end(c.client.get()).empty());
      // TCP would have said ECONNRESET by now; here it does so once something is sent.
      bool refused = false;
      for (int i = 0; i < 1000 && !refused; ++i) {
        refused = ::send(c.client.get(), "x", 1, MSG_NOSIGNAL) < 0;
        std::this_thread::sleep_for(milliseconds(1));
      }
      EXPECT(refused);
      EXPECT(exchange_once(connect_pods(a, b, family)));
      return true;
    });
    CHECK(node.sockets_in_map() == 0);
  }
}

TEST_CASE("a peer that is killed ends the connection") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const Listening listener = listen_in(b, kIpv4, 7000);
  const pid_t server = start_in(b.netns, true, [&] {
    const UniqueFd fd = accept_one(listener);
    const bool met = send_all(fd.get(), "hello");
    ::pause();
    return met;
  });
  REQUIRE(server > 0);
  node.check([&]() -> bool {
    const UniqueFd client = socket_in(a.netns, AF_INET);
    EXPECT(begin_connect(client.get(), kIpv4, b, listener.port));
    EXPECT(receive_exactly(client.get(), 5) == "hello");
    EXPECT(send_all(client.get(), "unread"));
    ::kill(server, SIGKILL);
    EXPECT(receive_to_end(client.get()).empty());
    return true;
  });
  CHECK(wait_for(server) == 128 + SIGKILL);
}

TEST_CASE("a socket that is disconnected and connected again starts afresh") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Listening listener = listen_in(b, kIpv4);
    Connection c;
    c.client = socket_in(a.netns, AF_INET);
    for (int i = 0; i < 5; ++i) {
      EXPECT(begin_connect(c.client.get(), kIpv4, b, listener.port));
      c.server = accept_one(listener);
      EXPECT(exchange_once(c));
      EXPECT(node.redirected_bytes(c.client.get()) == 8 && node.redirected_bytes(c.server.get()) == 6);
      EXPECT(send_all(c.server.get(), "left over"));
      const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
      EXPECT(::connect(c.client.get(), &nobody, sizeof nobody) == 0);
    }
    return true;
  });
}

TEST_CASE("peeking sees redirected bytes and leaves them") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(send_all(c.client.get(), "12345"));
    char bytes[8];
    EXPECT(::recv(c.server.get(), bytes, sizeof bytes, MSG_PEEK) == 5);
    EXPECT(receive_exactly(c.server.get(), 5) == "12345");
    return true;
  });
}
