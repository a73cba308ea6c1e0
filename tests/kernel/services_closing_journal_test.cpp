// What closing sockets leaves behind: in the journal, in the kernel, in this process; and what it does without programs.
#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <sstream>
#include <string>

#include "base/thread.hpp"
#include "closing_bench.hpp"
#include "refused_call.hpp"

using namespace patu;
using namespace patu::test;

namespace {

// Ids of the closer's programs on this host. Those of an earlier test may go meanwhile: only what comes counts.
std::set<std::uint32_t> programs() {
  std::set<std::uint32_t> ids;
  std::istringstream listed(output_of("bpftool prog list | awk -F: '/find_stale|close_udp|close_tcp/ { print $1 }'"));
  for (std::uint32_t id = 0; listed >> id;) ids.insert(id);
  return ids;
}

bool has_more_than(const std::set<std::uint32_t>& before) {
  const std::set<std::uint32_t> now = programs();
  return !std::includes(before.begin(), before.end(), now.begin(), now.end());
}

}  // namespace

TEST_CASE("nothing is loaded while nothing is stale, and nothing is left when the closer is gone") {
  Bench bench;
  const std::set<std::uint32_t> before = programs();
  const std::size_t descriptors = open_descriptors();
  {
    Closer closer(bench.instance, ClosingWay::iterators);
    REQUIRE(closer.close_stale());
    CHECK_FALSE(has_more_than(before));
    CHECK(open_descriptors() == descriptors);
    bench.stale.put(stale_key(backend_v4(1)), 0);
    REQUIRE(closer.close_stale());
    CHECK(has_more_than(before));
    const std::size_t loaded = open_descriptors();
    bench.stale.put(stale_key(backend_v4(1)), 0);
    const UniqueFd socket = bench.translated(Socket::v4, backend_v4(1));
    CHECK(closer.close_stale()->closed == 1);
    CHECK(open_descriptors() == loaded + 1);
  }
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == 1);
  for (int i = 0; i < 5000 && has_more_than(before); ++i)
    ::poll(nullptr, 0, 1);  // the kernel frees them in its own time
  CHECK_FALSE(has_more_than(before));
  bench.stale.put(stale_key(backend_v4(1)), 0);
  (void)bench.close(ClosingWay::sock_diag);
  CHECK(open_descriptors() == descriptors);
}

TEST_CASE("a socket that cannot be reached keeps its entry for a while, and is counted") {
  Bench bench;
  // In a namespace that no process is in; the descriptor is ours.
  const Netns pod = make_pod();
  UniqueFd hidden;
  REQUIRE(in_netns(pod.fd(), [&]() -> Result<> {
    hidden = bench.translated(Socket::v4, backend_v4(1));
    return {};
  }));
  const bpf::Element<patu_service_table> table(bench.instance.map_fd(bpf::MapId::service_table), "service_table");
  bench.stale.put(stale_key(backend_v4(1)), 0);
  const ClosedSockets closed = bench.close(ClosingWay::iterators);
  CHECK(closed.closed == 0);
  CHECK(closed.unreachable == 1);
  CHECK(state_of(hidden.get()) == State::open);
  REQUIRE(bench.stale.size() == 1);
  CHECK(table.get()->stale_entries == 1);
  const std::uint32_t since = bench.stale.all()[0].second;
  CHECK(since != 0);

  SUBCASE("until it can be reached") {
    const pid_t process = start_in(pod, false, [] { return ::pause() != 0; });
    while (::access(("/proc/" + std::to_string(process) + "/ns/net").c_str(), R_OK) != 0) ::poll(nullptr, 0, 1);
    ClosedSockets again;
    while ((again = bench.close(ClosingWay::iterators)).unreachable != 0)
      ::poll(nullptr, 0, 1);  // it enters in its own time
    CHECK(again.closed == 1);
    CHECK(state_of(hidden.get()) == State::closed);
    CHECK(bench.stale.size() == 0);
    CHECK(table.get()->stale_entries == 0);
    ::kill(process, SIGKILL);
    (void)wait_for(process);
  }
  SUBCASE("or ten minutes") {
    (void)bench.close(ClosingWay::iterators);
    REQUIRE(bench.stale.size() == 1);
    CHECK(bench.stale.all()[0].second == since);
    bench.stale.put(stale_key(backend_v4(1)), since > 600 ? since - 600 : 0xffffffffu - 600 + since);
    CHECK(bench.close(ClosingWay::iterators).unreachable == 1);
    CHECK(bench.stale.size() == 0);
  }
  SUBCASE("or while there is room") {
    for (std::uint32_t n = 0; n <= datapath_options().max_services / 2; ++n)
      bench.stale.put(stale_key(backend_v4(1000 + n)), 0);
    CHECK(bench.close(ClosingWay::iterators).unreachable == 1);
    CHECK(bench.stale.size() == 0);
  }
}

TEST_CASE("a socket that was given a stale backend and is not connected yet is waited for") {
  Bench bench;
  const UniqueFd socket = bench.translated(Socket::v4, backend_v4(1));
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  REQUIRE(::connect(socket.get(), &nobody, sizeof nobody) == 0);
  bench.stale.put(stale_key(backend_v4(1)), 0);
  CHECK(bench.close(ClosingWay::iterators).closed == 0);
  CHECK(bench.stale.size() == 1);
  REQUIRE(connect_socket(socket.get(), Socket::v4, backend_v4(1)) == 0);
  REQUIRE(remember(bench.connected_fd(), socket.get(), stale_key(backend_v4(1))));
  CHECK(bench.close(ClosingWay::iterators).closed == 1);
  CHECK(bench.stale.size() == 0);
}

TEST_CASE("where programs cannot be loaded, sockets are closed through sock_diag") {
  Bench bench;
  const UniqueFd socket = bench.translated(Socket::v4, backend_v4(1));
  bench.stale.put(stale_key(backend_v4(1)), 0);
  auto netns = Netns::current();
  REQUIRE(netns);
  CHECK(run_in(*netns, false, [&] {
          if (!refuse_call(SYS_bpf, 0, BPF_PROG_LOAD, EPERM)) return false;
          const auto refused = Closer(bench.instance, ClosingWay::iterators).close_stale();
          if (refused || refused.error().code() != Errc::permission_denied) return false;
          const auto closed = Closer(bench.instance).close_stale();
          return closed && closed->closed == 1;
        }) == 0);
  CHECK(state_of(socket.get()) == State::closed);
  CHECK(bench.stale.size() == 0);
}
