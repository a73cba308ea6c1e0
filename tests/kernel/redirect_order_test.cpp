// Socket redirection: bytes arrive in the order in which they were sent, also where the simple version mixes them up.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "redirect_node.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// ---- many connections that write at once, over CPUs that packets are steered to ----

constexpr std::array<std::size_t, 6> kChunks{1, 7, 100, 1, 1400, 3};
constexpr std::size_t kChunkBytes = 1 + 7 + 100 + 1 + 1400 + 3;

bool send_chunks(int fd) {
  std::uint64_t position = 0;
  for (const std::size_t size : kChunks) {
    if (!send_all(fd, bytes_at(position, size))) return false;
    position += size;
  }
  return true;
}

struct Tally {
  unsigned connections = 0;
  unsigned corrupt = 0;
  unsigned redirected = 0;  // at least from the server
};

// One connection after the other; both ends write, at the same time, as soon as they can. Stops at the first corruption.
Tally run_connections(const RedirectNode& node, Rules rules, const NodePod& a, const NodePod& b, const Family& family,
                      unsigned count) {
  Tally tally;
  const Listening listener = listen_in(b, family);
  std::atomic<bool> running = true;
  std::atomic<unsigned> corrupt = 0;
  const auto meet = [&](int fd) {
    const bool sent = send_chunks(fd) && ::shutdown(fd, SHUT_WR) == 0;
    const std::string got = receive_to_end(fd);
    if (got.size() == kChunkBytes && got != bytes_at(0, kChunkBytes)) ++corrupt;
    if (!sent || got != bytes_at(0, kChunkBytes)) running = false;
  };
  std::thread server([&] {
    for (unsigned i = 0; i < count && running; ++i) {
      const UniqueFd fd = accept_one(listener);
      if (!fd) return;
      meet(fd.get());
      if (rules == Rules::patu && node.redirected_bytes(fd.get()) > 0) ++tally.redirected;
    }
  });
  for (; tally.connections < count && running; ++tally.connections) {
    const UniqueFd fd = socket_in(a.netns, family.client);
    const SocketAddress to = socket_address(family.client, address_of(b, family), listener.port);
    if (::connect(fd.get(), to.get(), to.size) != 0) break;
    meet(fd.get());
  }
  ::shutdown(listener.fd.get(), SHUT_RD);  // wakes a server that waits for a connection that will not come
  server.join();
  tally.corrupt = corrupt;
  return tally;
}

// ---- a slow path ----

// Writes numbered bytes for some milliseconds, in small messages, as fast as it can.
std::uint64_t send_for(int fd, std::chrono::milliseconds duration) {
  std::uint64_t position = 0;
  const auto end = std::chrono::steady_clock::now() + duration;
  while (std::chrono::steady_clock::now() < end && send_all(fd, bytes_at(position, 16))) position += 16;
  return position;
}

// The client writes from the moment that connect(2) returns; the other end has not heard of it by then.
struct Trial {
  bool made = false;
  bool intact = false;
};
Trial write_at_once(const NodePod& from, const NodePod& to, const Family& family) {
  const Listening listener = listen_in(to, family);
  const UniqueFd client = socket_in(from.netns, family.client);
  const SocketAddress address = socket_address(family.client, address_of(to, family), listener.port);
  if (::connect(client.get(), address.get(), address.size) != 0) return {};
  const std::uint64_t sent = send_for(client.get(), std::chrono::milliseconds(4));
  ::shutdown(client.get(), SHUT_WR);
  const UniqueFd server = accept_one(listener);
  return {sent > 0 && server, receive_to_end(server.get()) == bytes_at(0, sent)};
}

// Sleeps in recv(2) until there is a byte.
void receive_blocking(int fd) {
  char byte;
  while (::recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN) {
  }
}

// ---- long streams ----

// Reads to the end, with a rest after each `chunk`; true if `total` bytes came, each at its position.
bool read_slowly(int fd, std::uint64_t total, std::size_t chunk, std::chrono::microseconds rest) {
  std::uint64_t position = 0;
  while (position < total) {
    const std::string got = receive_exactly(fd, std::min<std::uint64_t>(chunk, total - position));
    if (got.empty() || got != bytes_at(position, got.size())) return false;
    position += got.size();
    std::this_thread::sleep_for(rest);
  }
  return receive_to_end(fd).empty();
}

bool write_stream(int fd, std::uint64_t total, std::size_t message) {
  for (std::uint64_t position = 0; position < total; position += message)
    if (!send_all(fd, bytes_at(position, std::min<std::uint64_t>(message, total - position)))) return false;
  return ::shutdown(fd, SHUT_WR) == 0;
}

struct Stream {
  std::uint64_t bytes;
  std::size_t message;
  std::size_t chunk;
  std::chrono::microseconds rest;
};

// The reader begins when the writer has met the limit.
bool stream_arrives(const RedirectNode& node, int from, int to, const Stream& stream) {
  bool written = false;
  std::thread writer([&] { written = write_stream(from, stream.bytes, stream.message); });
  while (node.state_of(from) == PATU_STREAM_REDIRECTED) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const bool read = read_slowly(to, stream.bytes, stream.chunk, stream.rest);
  writer.join();
  return written && read;
}

}  // namespace

TEST_CASE("20 000 connections over steered CPUs that write right after connect deliver every byte") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.steer_packets();
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    node.check(
        [&]() -> bool {
          const Tally tally = run_connections(node, Rules::patu, a, b, family, 5'000);
          EXPECT(tally.connections == 5'000);
          EXPECT(tally.corrupt == 0);
          EXPECT(tally.redirected > 4'000);
          return true;
        },
        240);
  }
}

TEST_CASE("the simple version corrupts some of 20 000 connections over steered CPUs") {
  RedirectNode node(Rules::simple);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.steer_packets();
  node.check(
      [&]() -> bool {
        EXPECT(run_connections(node, Rules::simple, a, b, kIpv4, 20'000).corrupt > 0);
        return true;
      },
      240);
}

TEST_CASE("a path with a delay delivers in order") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = std::chrono::milliseconds(1)});
  node.check_families([&](const Family& family) -> bool {
    for (int i = 0; i < 25; ++i) {
      const Trial trial = i % 2 == 0 ? write_at_once(near, far, family) : write_at_once(far, near, family);
      EXPECT(trial.made && trial.intact);
    }
    // The path does not hinder redirection where both ends are known in time.
    const Connection c = connect_pods(near, far, family);
    EXPECT(c);
    EXPECT(exchange_once(c));
    EXPECT(tcp_bytes_sent(c.client.get()) == 0 && tcp_bytes_sent(c.server.get()) == 0);
    return true;
  });
}

TEST_CASE("the simple version mixes bytes up on a path with a delay") {
  RedirectNode node(Rules::simple);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.delay = std::chrono::milliseconds(1)});
  node.check([&]() -> bool {
    int mixed_up = 0;
    for (int i = 0; i < 25; ++i) {
      const Trial trial = write_at_once(near, far, kIpv4);
      EXPECT(trial.made);
      if (!trial.intact) ++mixed_up;
    }
    EXPECT(mixed_up > 0);
    return true;
  });
}

TEST_CASE("a handshake whose last packet is lost does not mix bytes up") {
  for (const Rules rules : {Rules::patu, Rules::simple}) {
    RedirectNode node(rules);
    const NodePod& near = node.add_pod();
    const NodePod& far = node.add_pod_behind({.drops_inward = HandshakeAck()});
    node.check([&]() -> bool {
      const Listening listener = listen_in(far, kIpv4);
      Connection c;
      c.client = socket_in(near.netns, AF_INET);
      const SocketAddress to = socket_address(AF_INET, far.v4, listener.port);
      EXPECT(::connect(c.client.get(), to.get(), to.size) == 0);
      // The first message takes the lost packet's place, and lies in TCP's queue when the second comes.
      EXPECT(send_all(c.client.get(), "first, "));
      c.server = accept_one(listener);
      EXPECT(c);
      EXPECT(send_all(c.client.get(), "second"));
      const std::string got = receive_exactly(c.server.get(), 13);
      EXPECT(got == (rules == Rules::patu ? "first, second" : "secondfirst, "));
      EXPECT(send_all(c.server.get(), "answer") && receive_exactly(c.client.get(), 6) == "answer");
      return true;
    });
  }
}

TEST_CASE("a handshake that is completed late is redirected from its first byte") {
  RedirectNode node(Rules::patu);
  const NodePod& near = node.add_pod();
  const NodePod& far = node.add_pod_behind({.drops_inward = HandshakeAck()});
  node.check([&]() -> bool {
    // Nobody writes until the server has asked again, after a second.
    const Connection c = connect_pods(near, far, kIpv4);
    EXPECT(c);
    EXPECT(exchange_once(c));
    EXPECT(tcp_bytes_sent(c.client.get()) == 0 && tcp_bytes_sent(c.server.get()) == 0);
    return true;
  });
}

TEST_CASE("a long stream to a slow reader crosses over to TCP and arrives intact") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const auto ms = [](int n) { return std::chrono::microseconds(n * 1000); };
  const Stream streams[] = {{256u << 20, 65536, 8u << 20, ms(5)},
                            {32u << 20, 1u << 20, 1u << 20, ms(1)},
                            {32u << 20, 3000, 300'000, ms(1)},
                            {16u << 20, 700'001, 65'536, ms(0)}};
  for (std::size_t i = 0; i < kFamilies.size(); ++i) {
    CAPTURE(std::string(kFamilies[i].name));
    node.check(
        [&]() -> bool {
          const Connection c = connect_pods(a, b, kFamilies[i]);
          EXPECT(c);
          EXPECT(stream_arrives(node, c.client.get(), c.server.get(), streams[i]));
          const auto stream = node.stream_of(c.client.get());
          EXPECT(stream->state == PATU_STREAM_FULL_BYTES);
          EXPECT(stream->sent.bytes > 0);
          // Both ways were used, and between them every byte once.
          EXPECT(tcp_bytes_sent(c.client.get()) >= streams[i].bytes - stream->sent.bytes);
          EXPECT(stream->sent.bytes < streams[i].bytes);
          // The other direction has a life of its own.
          EXPECT(node.state_of(c.server.get()) == PATU_STREAM_REDIRECTED);
          return true;
        },
        120);
  }
}

TEST_CASE("a stream to a reader that keeps up stays redirected") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(c);
    for (std::uint64_t position = 0; position < 64u << 20; position += 262'144) {
      EXPECT(send_all(c.client.get(), bytes_at(position, 262'144)));
      EXPECT(receive_exactly(c.server.get(), 262'144) == bytes_at(position, 262'144));
    }
    EXPECT(node.redirected_bytes(c.client.get()) == 64u << 20);
    EXPECT(tcp_bytes_sent(c.client.get()) == 0);
    return true;
  });
}

TEST_CASE("switching off in mid-stream loses nothing, and what was switched off stays with TCP") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    const Connection c = connect_pods(a, b, family);
    EXPECT(c);
    bool switched = false;
    std::thread operator_of_node([&] {
      while (node.redirected_bytes(c.client.get()) < 1u << 20) std::this_thread::yield();
      switched = static_cast<bool>(node.datapath().set_socket_redirect(false));
    });
    // Messages and chunks are alike, so that nothing but the switch ends the redirection.
    bool intact = true;
    std::uint64_t position = 0;
    for (; intact && node.state_of(c.client.get()) == PATU_STREAM_REDIRECTED && position < 1u << 30; position += 8192)
      intact = send_all(c.client.get(), bytes_at(position, 8192)) &&
               receive_exactly(c.server.get(), 8192) == bytes_at(position, 8192);
    operator_of_node.join();
    EXPECT(intact && switched);
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_SWITCHED_OFF);
    EXPECT(node.datapath().set_socket_redirect(true));
    const std::uint64_t before = node.redirected_bytes(c.client.get());
    EXPECT(exchange_once(c));
    EXPECT(node.redirected_bytes(c.client.get()) == before);
    EXPECT(tcp_bytes_sent(c.client.get()) >= 8);
    const Connection next = connect_pods(a, b, family);
    EXPECT(exchange_once(next));
    EXPECT(node.redirected_bytes(next.client.get()) == 8);
    return true;
  });
}

TEST_CASE("threads that take turns at a socket go over to TCP at once, also while another reads it") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  for (const bool read_meanwhile : {false, true}) {
    CAPTURE(read_meanwhile);
    node.check([&]() -> bool {
      const Connection c = connect_pods(a, b, kIpv4);
      std::atomic<int> turn = 0;
      std::thread reader;
      if (read_meanwhile) {
        reader = std::thread([&] { receive_blocking(c.client.get()); });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until it sleeps
      }
      std::thread other([&] {
        for (const int mine : {1, 3}) {
          while (turn != mine) std::this_thread::yield();
          send_all(c.client.get(), "b");
          ++turn;
        }
        while (turn != 5) std::this_thread::yield();  // shares the descriptors to the end
      });
      for (const int mine : {0, 2, 4}) {
        while (turn != mine) std::this_thread::yield();
        if (mine == 4) EXPECT(node.datapath().set_socket_redirect(false));
        EXPECT(send_all(c.client.get(), "a"));
        ++turn;
      }
      other.join();
      const auto stream = node.stream_of(c.client.get());
      EXPECT(node.datapath().set_socket_redirect(true));
      EXPECT(send_all(c.server.get(), "!"));
      if (read_meanwhile) reader.join();
      EXPECT(stream->writer == PATU_STREAM_SEVERAL);
      EXPECT(stream->state == PATU_STREAM_SWITCHED_OFF && stream->postponed == 0);
      EXPECT(stream->sent.messages == 4);
      EXPECT(receive_exactly(c.server.get(), 5) == "ababa");
      return true;
    });
  }
}

TEST_CASE("bytes wait unread while redirection is switched off, and come first") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(send_all(c.client.get(), "redirected, "));
    EXPECT(node.datapath().set_socket_redirect(false));
    EXPECT(send_all(c.client.get(), "by TCP"));
    while (tcp_bytes_sent(c.client.get()) < 6) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it is there in microseconds
    EXPECT(receive_exactly(c.server.get(), 18) == "redirected, by TCP");
    return true;
  });
  CHECK(node.datapath().set_socket_redirect(true));
}

TEST_CASE("bytes that went around the program send the rest after them") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(send_all(c.client.get(), "redirected, "));
    // As if TCP had sent a byte since: nothing in this kernel can be made to do that from outside.
    patu_stream stream = *node.stream_of(c.client.get());
    --stream.write_seq;
    node.put_stream(c.client.get(), stream);
    EXPECT(send_all(c.client.get(), "by TCP"));
    EXPECT(node.state_of(c.client.get()) == PATU_STREAM_BYPASSED);
    EXPECT(receive_exactly(c.server.get(), 18) == "redirected, by TCP");
    return true;
  });
}

TEST_CASE("sendfile(2) and write(2) in turn arrive in order") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    const UniqueFd file(::memfd_create("bytes", MFD_CLOEXEC));
    const std::string content = bytes_at(0, 1u << 20);
    EXPECT(::write(file.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    bool sent = true;
    std::thread writer([&] {
      for (off_t at = 0; sent && at < 1 << 20;) {
        const auto piece = static_cast<std::size_t>(at % 7919 + 1);
        const std::size_t left = content.size() - static_cast<std::size_t>(at);
        if (at % 2 == 0) {
          sent = ::sendfile(c.client.get(), file.get(), &at, std::min(piece, left)) > 0;
        } else {
          sent = send_all(c.client.get(), content.substr(static_cast<std::size_t>(at), std::min(piece, left)));
          at += static_cast<off_t>(std::min(piece, left));
        }
      }
    });
    const bool intact = receive_exactly(c.server.get(), content.size()) == content;
    writer.join();
    EXPECT(sent && intact);
    EXPECT(node.redirected_bytes(c.client.get()) > 0);
    return true;
  });
}

TEST_CASE("several threads that write to one socket have their messages delivered whole") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    constexpr int kWriters = 4;
    constexpr int kMessages = 2000;
    constexpr std::size_t kBytes = 64;
    std::vector<std::thread> writers;
    std::atomic<bool> sent = true;
    for (int w = 0; w < kWriters; ++w)
      writers.emplace_back([&, w] {
        for (int i = 0; i < kMessages; ++i) {
          std::string message(kBytes, static_cast<char>('a' + w));
          std::memcpy(message.data(), &i, sizeof i);
          if (!send_all(c.client.get(), message)) sent = false;
        }
      });
    std::array<int, kWriters> next{};
    bool whole = true;
    for (int n = 0; n < kWriters * kMessages && whole; ++n) {
      const std::string message = receive_exactly(c.server.get(), kBytes);
      whole = message.size() == kBytes;
      const int w = whole ? message.back() - 'a' : 0;
      whole = whole && w >= 0 && w < kWriters &&
              std::memcmp(message.data(), &next[static_cast<std::size_t>(w)], sizeof(int)) == 0;
      if (whole) whole = message.substr(4) == std::string(kBytes - 4, static_cast<char>('a' + w));
      if (whole) ++next[static_cast<std::size_t>(w)];
    }
    for (std::thread& writer : writers) writer.join();
    EXPECT(sent && whole);
    EXPECT(node.redirected_bytes(c.client.get()) > 0);
    return true;
  });
}

TEST_CASE("threads that write at the same time keep their order on the way to TCP, for a reader that waits for all") {
  RedirectNode node(Rules::patu, {.bytes = 16384});
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check(
      [&]() -> bool {
        constexpr std::size_t kWriters = 4;
        // All of it is less than four times the limit: however long the reader is kept from reading, nobody is forced
        // over to TCP while another thread hands a message over (may_leave() in redirect_messages.h).
        constexpr std::size_t kMessages = 250;
        constexpr std::size_t kBytes = 64;
        int went_over = 0;
        for (int round = 0; round < 300; ++round) {
          const Connection c = connect_pods(a, b, kIpv4);
          std::atomic<std::size_t> done = 0;
          std::vector<std::thread> writers;
          for (std::size_t w = 0; w < kWriters; ++w)
            writers.emplace_back([&, w] {
              for (std::size_t i = 0; i < kMessages; ++i) {
                std::string message(kBytes, static_cast<char>('a' + w));
                std::memcpy(message.data(), &i, sizeof i);
                send_all(c.client.get(), message);
              }
              ++done;
            });
          // A reader that keeps up sees nobody go over; one that comes late does.
          while (round % 10 == 0 && done < kWriters) std::this_thread::yield();
          std::string got;
          while (got.size() < kWriters * kMessages * kBytes) {
            char bytes[8 * kBytes];
            const std::size_t left = kWriters * kMessages * kBytes - got.size();
            const ssize_t n = ::recv(c.server.get(), bytes, std::min(sizeof bytes, left), MSG_WAITALL);
            if (n < 0 && errno == EAGAIN && node.state_of(c.client.get()) != PATU_STREAM_CONNECTING) continue;
            if (n <= 0) break;
            got.append(bytes, static_cast<std::size_t>(n));
          }
          for (std::thread& writer : writers) writer.join();
          EXPECT(got.size() == kWriters * kMessages * kBytes);
          std::array<std::size_t, kWriters> next{};
          for (std::size_t at = 0; at < got.size(); at += kBytes) {
            std::size_t number = 0;
            std::memcpy(&number, got.data() + at, sizeof number);
            const auto writer = static_cast<std::size_t>(got[at + kBytes - 1] - 'a');
            EXPECT(writer < kWriters && number == next[writer]);
            ++next[writer];
          }
          if (node.state_of(c.client.get()) == PATU_STREAM_FULL_BYTES) ++went_over;
        }
        EXPECT(went_over > 0);
        return true;
      },
      120);
}

TEST_CASE("connections that follow each other on the same two ports do not see each other's bytes") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  node.check_families([&](const Family& family) -> bool {
    std::uint64_t redirected = 0;
    for (int i = 0; i < 500; ++i) {
      Connection c = connect_pods(a, b, family, 7000, 7001);
      EXPECT(c);
      const std::string number = std::to_string(1000 + i);
      EXPECT(send_all(c.client.get(), number) && receive_exactly(c.server.get(), 4) == number);
      EXPECT(send_all(c.server.get(), number) && receive_exactly(c.client.get(), 4) == number);
      redirected += node.redirected_bytes(c.client.get()) + node.redirected_bytes(c.server.get());
      // Bytes that nobody reads, to be met by nobody.
      EXPECT(send_all(c.client.get(), "unread") && send_all(c.server.get(), "unread"));
      if (i % 2 == 0) {
        const linger reset{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(c.client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        c.client = UniqueFd();
      } else {
        c.server = UniqueFd();  // the server's side waits, which a new connection may cut short
      }
    }
    EXPECT(redirected == 500 * 8);
    EXPECT(node.sockets_in_map() == 0);
    return true;
  });
}
