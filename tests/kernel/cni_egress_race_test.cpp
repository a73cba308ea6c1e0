// Processes that change the table at once, are killed anywhere, or have a kernel that lacks what they need.
#include <doctest/doctest.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <sys/syscall.h>

#include <array>
#include <random>

#include "egress.hpp"
#include "egress_lab.hpp"
#include "failure.hpp"
#include "killing.hpp"
#include "network_fixture.hpp"
#include "refused_call.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr unsigned kProcesses = 16;

cni::MasqueradedNetwork network(unsigned number) {
  const std::string text = std::to_string(number);
  return {"test",
          "net-" + text,
          {must(Prefix::parse("10.2." + text + ".0/24")), must(Prefix::parse("fd00:2:" + text + "::/64"))}};
}

// In a child: a failure is printed and told by the exit status.
bool succeeds(const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (const cni::Failure& failure) {
    (void)std::fprintf(stderr, "child: %s\n", failure.message().c_str());
    return false;
  }
}

void at_once(const std::function<void(unsigned)>& body) {
  std::vector<pid_t> children;
  for (unsigned number = 0; number < kProcesses; ++number)
    children.push_back(start_in(here(), false, [&, number] { return succeeds([&] { body(number); }); }));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
}

}  // namespace

TEST_CASE("sixteen processes with a network each make one table with all of them, and leave none") {
  const Clean clean;
  for (int round = 0; round < 10; ++round) {
    at_once([](unsigned number) { cni::masquerade(network(number)); });
    for (unsigned number = 0; number < kProcesses; ++number) CHECK(cni::masquerade_deviations(network(number)).empty());
    CHECK(count_of(ruleset(), "masquerade") == 2);
    at_once([](unsigned number) { cni::stop_masquerading(network(number)); });
    CHECK(ruleset().empty());
  }
}

// A transaction has its number before its changes are seen, and what it replaces is gone for who still looks at the old ones.
TEST_CASE("what stays is found while other networks come and go") {
  const Clean clean;
  cni::masquerade(network(0));
  at_once([](unsigned number) {
    for (int round = 0; round < 20; ++round)
      if (number % 2 == 0)
        number % 4 == 0 ? cni::masquerade(network(number + 1)) : cni::stop_masquerading(network(number - 1));
      else if (const auto wrong = cni::masquerade_deviations(network(0)); !wrong.empty())
        throw cni::Failure(cni::Code::io, wrong.front());
  });
  CHECK(cni::masquerade_deviations(network(0)).empty());
}

TEST_CASE("sixteen processes with the same network make its table once") {
  const Clean clean;
  at_once([](unsigned) { cni::masquerade(network(1)); });
  CHECK(cni::masquerade_deviations(network(1)).empty());
  // Handles count from 1 in a table that was made once: two records, two sets, a chain and two rules.
  CHECK(output_of("nft -a list chain inet patu-test postrouting").find("# handle 7\n") != std::string::npos);
}

TEST_CASE("processes that come and go while others change nftables too leave what the last ones asked for") {
  const Clean clean;
  at_once([](unsigned number) {
    std::minstd_rand random(number + 1);
    for (int round = 0; round < 10; ++round) {
      if (number >= kProcesses - 2) {
        (void)output_of(
            "(nft add table inet other; nft add chain inet other c; nft delete table inet other) 2>/dev/null");
        continue;
      }
      if (random() % 2 == 0)
        cni::masquerade(network(number / 2));
      else
        cni::stop_masquerading(network(number / 2));
    }
    if (number < kProcesses - 2 && number % 4 == 0) cni::masquerade(network(number));
  });
  for (unsigned number = 0; number < kProcesses - 2; number += 4) {
    cni::masquerade(network(number));
    CHECK(cni::masquerade_deviations(network(number)).empty());
  }
  for (unsigned number = 0; number < kProcesses; ++number) cni::stop_masquerading(network(number));
  CHECK(ruleset().empty());
}

TEST_CASE("a process that is killed before any of its system calls leaves the old table or the new one") {
  const Clean clean;
  cni::masquerade(network(1));
  const std::string old = ruleset();
  cni::masquerade(network(2));
  const std::string both = ruleset();
  cni::stop_masquerading(network(2));
  REQUIRE(ruleset() == old);
  unsigned before = 0, after = 0;
  const auto count = [&](const std::string& now) { ++(now == old ? before : after); };
  for (unsigned call = 1; kill_before(here(), call, [] { return succeeds([] { cni::masquerade(network(2)); }); });
       ++call) {
    const std::string now = ruleset();
    CHECK_MESSAGE((now == old || now == both), now);
    count(now);
    cni::masquerade(network(2));
    CHECK(ruleset() == both);
    cni::stop_masquerading(network(2));
    CHECK(ruleset() == old);
  }
  CHECK(before > 5);
  CHECK(after > 0);
}

TEST_CASE("a process that is killed while it stops masquerading leaves the old table or the new one") {
  const Clean clean;
  cni::masquerade(network(1));
  const std::string alone = ruleset();
  const auto stop = [] { return succeeds([] { cni::stop_masquerading(network(2)); }); };
  cni::masquerade(network(2));
  unsigned call = 1;
  for (; kill_before(here(), call, stop); ++call) {
    const std::string now = ruleset();
    CHECK((now == alone || cni::masquerade_deviations(network(2)).empty()));
    CHECK(cni::masquerade_deviations(network(1)).empty());
    cni::stop_masquerading(network(2));
    CHECK(ruleset() == alone);
    cni::masquerade(network(2));
  }
  CHECK(call > 5);
}

TEST_CASE("a kernel without netfilter's netlink is named") {
  const bool told = run_in(here(), false, [] {
                      if (!refuse_call(SYS_socket, 2, NETLINK_NETFILTER, EPROTONOSUPPORT)) return false;
                      try {
                        cni::masquerade(network(1));
                      } catch (const cni::Failure& failure) {
                        return failure.code() == cni::Code::kernel_unsupported &&
                               failure.message().find("CONFIG_NETFILTER_NETLINK") != std::string::npos;
                      }
                      return false;
                    }) == 0;
  CHECK(told);
}

TEST_CASE("a caller without CAP_NET_ADMIN is told so at once") {
  const bool told = run_in(here(), false, [] {
                      __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
                      std::array<__user_cap_data_struct, 2> none{};
                      if (::syscall(SYS_capset, &header, none.data()) != 0) return false;
                      for (const auto& verb : {cni::masquerade, cni::stop_masquerading}) try {
                          verb(network(1));
                          return false;
                        } catch (const cni::Failure& failure) {
                          if (failure.code() != cni::Code::permission_denied) return false;
                        }
                      return true;
                    }) == 0;
  CHECK(told);
  CHECK(ruleset().empty());
}
