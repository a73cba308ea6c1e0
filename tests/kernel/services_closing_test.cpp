// Sockets whose backend was taken out: which are closed and which are not, by each way to close them.
#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include <fstream>
#include <utility>

#include "closing_bench.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// A pod: a process in a namespace of its own, in which the backends' addresses have a route.
class Pod final {
 public:
  Pod() : netns_(make_pod()) {}
  ~Pod() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) (void)wait_for(pid_);
  }
  Pod(const Pod&) = delete;
  Pod& operator=(const Pod&) = delete;

  // Connects, and blocks in recv(2) until the socket is closed under it.
  void start(int connected_fd, Socket kind, const Endpoint& backend) {
    pid_ = start_in(netns_, false, [=] {
      const UniqueFd socket = new_socket(kind, SOCK_DGRAM, 0);
      char byte = 0;
      return socket && connect_socket(socket.get(), kind, backend) == 0 &&
             remember(connected_fd, socket.get(), stale_key(backend)) && ::recv(socket.get(), &byte, 1, 0) < 0 &&
             errno == ECONNABORTED;
    });
    for (int i = 0; i < 10'000 && !is_in_recv(); ++i) ::poll(nullptr, 0, 1);
    CHECK(is_in_recv());
  }
  int wait() { return wait_for(std::exchange(pid_, 0)); }

 private:
  bool is_in_recv() const {
    long call = -1;
    std::ifstream("/proc/" + std::to_string(pid_) + "/syscall") >> call;
    return call == SYS_recvfrom;
  }
  Netns netns_;
  pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("UDP sockets that are connected to a stale backend are closed, of every kind and family") {
  Bench bench;
  for (const ClosingWay way : kWays) {
    CAPTURE(name(way));
    const UniqueFd v4 = bench.translated(Socket::v4, backend_v4(1));
    const UniqueFd v6 = bench.translated(Socket::v6, backend_v6(1));
    const UniqueFd mapped = bench.translated(Socket::mapped, backend_v4(1));
    const UniqueFd live = bench.translated(Socket::v4, backend_v4(2));
    bench.stale.put(stale_key(backend_v4(1)), 0);
    bench.stale.put(stale_key(backend_v6(1)), 0);
    const ClosedSockets closed = bench.close(way);
    CHECK(closed.closed == 3);
    CHECK(closed.namespaces >= 1);
    CHECK(closed.unreachable == 0);
    for (const UniqueFd* socket : {&v4, &v6, &mapped}) CHECK(state_of(socket->get()) == State::closed);
    CHECK(state_of(live.get()) == State::open);
    CHECK(bench.stale.size() == 0);
    // It can be used again.
    CHECK(connect_socket(v4.get(), Socket::v4, backend_v4(2)) == 0);
    CHECK(state_of(v4.get()) == State::open);
  }
}

TEST_CASE("what only looks like a stale socket is left alone") {
  Bench bench;
  for (const ClosingWay way : kWays) {
    CAPTURE(name(way));
    const Endpoint backend = backend_v4(1);
    const UniqueFd closed = bench.translated(Socket::v4, backend);
    const UniqueFd direct = bench.connected(Socket::v4, backend);
    const UniqueFd other_service = bench.translated(Socket::v4, backend, SOCK_DGRAM, kService + 1);
    const UniqueFd other_port = bench.translated(Socket::v4, backend_v4(1, 5353));
    const UniqueFd stream = bench.translated(Socket::v4, backend, SOCK_STREAM);
    const UniqueFd moved = bench.translated(Socket::v4, backend);
    REQUIRE(connect_socket(moved.get(), Socket::v4, backend_v4(2)) == 0);
    const UniqueFd moved_v6 = bench.translated(Socket::v6, backend_v6(1));
    REQUIRE(connect_socket(moved_v6.get(), Socket::v6, backend_v6(2)) == 0);
    bench.stale.put(stale_key(backend), 0);
    bench.stale.put(stale_key(backend_v6(1)), 0);
    CHECK(bench.close(way).closed == 1);
    CHECK(state_of(closed.get()) == State::closed);
    for (const UniqueFd* socket : {&direct, &other_service, &other_port, &stream, &moved, &moved_v6})
      CHECK(state_of(socket->get()) == State::open);
    CHECK(bench.stale.size() == 0);
  }
}

TEST_CASE("TCP connections are closed if they are listed, also those that are not established yet") {
  Bench bench;
  // Who sends there is never answered.
  CHECK(output_of("(ip link add silent type bridge && ip addr add 192.0.2.1/24 dev silent && ip link set silent up && "
                  "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev silent nud permanent) 2>&1") == "");
  const Endpoint silent = endpoint("192.0.2.9:80");
  for (const ClosingWay way : kWays) {
    CAPTURE(name(way));
    const UniqueFd v4 = bench.translated(Socket::v4, backend_v4(1), SOCK_STREAM);
    const UniqueFd v6 = bench.translated(Socket::v6, backend_v6(1), SOCK_STREAM);
    const UniqueFd mapped = bench.translated(Socket::mapped, backend_v4(1), SOCK_STREAM);
    const UniqueFd live = bench.translated(Socket::v4, backend_v4(2), SOCK_STREAM);
    const UniqueFd half = new_socket(Socket::v4, SOCK_STREAM | SOCK_NONBLOCK, 0);
    REQUIRE(connect_socket(half.get(), Socket::v4, silent) == EINPROGRESS);
    REQUIRE(remember(bench.connected_fd(), half.get(), stale_key(silent, IPPROTO_TCP)));
    for (const Endpoint& backend : {backend_v4(1), backend_v6(1), silent})
      bench.stale.put(stale_key(backend, IPPROTO_TCP), 0);
    CHECK(bench.close(way).closed == 4);
    for (const UniqueFd* socket : {&v4, &v6, &mapped, &half}) CHECK(state_of(socket->get()) == State::closed);
    CHECK(state_of(live.get()) == State::open);
    CHECK(bench.stale.size() == 0);
  }
  CHECK(output_of("ip link del silent 2>&1") == "");
}

TEST_CASE("in pods too, and whoever is blocked in a read wakes") {
  Bench bench;
  for (const ClosingWay way : kWays) {
    CAPTURE(name(way));
    Pod one;
    Pod two;
    Pod three;
    one.start(bench.connected_fd(), Socket::v4, backend_v4(1));
    two.start(bench.connected_fd(), Socket::v6, backend_v6(1));
    three.start(bench.connected_fd(), Socket::mapped, backend_v4(1));
    bench.stale.put(stale_key(backend_v4(1)), 0);
    bench.stale.put(stale_key(backend_v6(1)), 0);
    const ClosedSockets closed = bench.close(way);
    CHECK(closed.closed == 3);
    CHECK(closed.namespaces >= 3);
    CHECK(closed.unreachable == 0);
    CHECK(one.wait() == 0);
    CHECK(two.wait() == 0);
    CHECK(three.wait() == 0);
    CHECK(bench.stale.size() == 0);
  }
}

TEST_CASE("two sockets with the same addresses and ports are both closed") {
  Bench bench;
  for (const ClosingWay way : kWays) {
    CAPTURE(name(way));
    const auto bound = [&] {
      UniqueFd socket = new_socket(Socket::v4, SOCK_DGRAM, 0);
      const int on = 1;
      sockaddr_in own{};
      own.sin_family = AF_INET;
      own.sin_port = htons(9999);
      own.sin_addr.s_addr = htonl(0x0a800009);
      REQUIRE(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
      REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
      REQUIRE(connect_socket(socket.get(), Socket::v4, backend_v4(1)) == 0);
      REQUIRE(remember(bench.connected_fd(), socket.get(), stale_key(backend_v4(1))));
      return socket;
    };
    const UniqueFd first = bound();
    const UniqueFd second = bound();
    bench.stale.put(stale_key(backend_v4(1)), 0);
    CHECK(bench.close(way).closed == 2);
    CHECK(state_of(first.get()) == State::closed);
    CHECK(state_of(second.get()) == State::closed);
  }
}
