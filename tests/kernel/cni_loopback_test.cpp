// Loopback and foreign interfaces inside a pod's namespace; the caller stays where it is.
#include <doctest/doctest.h>

#include "failure.hpp"
#include "loopback.hpp"
#include "network_fixture.hpp"
#include "traffic.hpp"

using namespace patu;
using namespace patu::test;

namespace {

IfName name(const char* text) { return *IfName::parse(text); }

bool lo_is_up(const Netns& netns) {
  return output_in(netns, "ip -o link show dev lo").find(",UP") != std::string::npos;
}

}  // namespace

TEST_CASE("loopback goes up and down in the pod's namespace, twice, and nowhere else") {
  const Netns pod = must(Netns::create());
  const Netns before = here();
  CHECK_FALSE(cni::is_loopback_up(pod));
  for (int i = 0; i < 2; ++i) {
    cni::raise_loopback(pod);
    CHECK(lo_is_up(pod));
    CHECK(cni::is_loopback_up(pod));
  }
  CHECK(echo(pod, ip("127.0.0.1")));
  for (int i = 0; i < 2; ++i) {
    cni::lower_loopback(pod);
    CHECK_FALSE(lo_is_up(pod));
    CHECK_FALSE(cni::is_loopback_up(pod));
  }
  CHECK(here().same_as(before));
  CHECK(lo_is_up(before));
}

TEST_CASE("a foreign interface is found and deleted, both ends of it, and its absence is no failure") {
  const Netns pod = must(Netns::create());
  (void)output_in(pod, "ip link add eth0 type veth peer name other");
  CHECK(cni::has_interface(pod, name("eth0")));
  CHECK_FALSE(cni::has_interface(pod, name("eth1")));
  CHECK_FALSE(cni::has_interface(here(), name("eth0")));
  cni::delete_foreign_interface(pod, name("eth1"));
  CHECK(cni::has_interface(pod, name("eth0")));
  for (int i = 0; i < 2; ++i) {
    cni::delete_foreign_interface(pod, name("eth0"));
    CHECK_FALSE(cni::has_interface(pod, name("eth0")));
    CHECK_FALSE(cni::has_interface(pod, name("other")));
  }
}

TEST_CASE("what the kernel will not delete is a failure that names it") {
  const Netns pod = must(Netns::create());
  try {
    cni::delete_foreign_interface(pod, name("lo"));
    FAIL("lo was deleted");
  } catch (const cni::Failure& failure) {
    CHECK(failure.message().find("delete interface lo") != std::string::npos);
  }
}

TEST_CASE("nothing is left of a call in the caller's process") {
  const Netns pod = must(Netns::create());
  const std::size_t descriptors = open_descriptors();
  const std::size_t running = threads();
  cni::raise_loopback(pod);
  CHECK(cni::is_loopback_up(pod));
  cni::delete_foreign_interface(pod, name("eth0"));
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == running);
}
