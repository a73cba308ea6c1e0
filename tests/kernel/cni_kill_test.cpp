// An ADD that is killed before any of its system calls: what a DEL or a GC then leaves is nothing, and a DEL may be killed too.
#include "cni_lab.hpp"
#include "killing.hpp"
#include "network_fixture.hpp"
#include "sandbox.hpp"

using namespace patu;
using namespace patu::test;

namespace {

constexpr char kNothingValid[] = R"({"cni.dev/valid-attachments": []})";
constexpr unsigned kMaxCalls = 5000;  // far above what one takes

}  // namespace

TEST_CASE("after an ADD that was killed anywhere a DEL or a GC leaves nothing, and the next ADD has success") {
  CniLab lab;
  lab.pod("a");
  lab.pod("other");
  lab.add("other");  // the instance and the bridge are there
  const Netns node = here();
  const Census before = Census::take();
  unsigned call = 0;
  while (call < kMaxCalls && kill_before(node, call, [&] { return lab.call("ADD", "a").is_done(); })) {
    const bool collects = call % 2 != 0;
    const Answer removed =
        collects ? lab.call("GC", "", R"({"cni.dev/valid-attachments": [{"containerID": "other", "ifname": "eth0"}]})")
                 : lab.call("DEL", "a", "{}", {call % 4 == 0 ? "CNI_NETNS=" : "CNI_NETNS=/run/netns/a"});
    CHECK_MESSAGE(removed.is_done(), "call ", call, ": ", removed.text);
    const Census after = Census::take();
    CHECK_MESSAGE(after == before, "call ", call, ": ", to_string(after));
    if (call % 16 == 0) {
      CHECK_MESSAGE(lab.call("ADD", "a").is_done(), "call ", call);
      CHECK(lab.call("DEL", "a").is_done());
    }
    ++call;
  }
  MESSAGE("an ADD makes ", call, " system calls");
  CHECK(call > 50);
  CHECK(call < kMaxCalls);
  CHECK(lab.call("DEL", "a").is_done());
  CHECK(lab.call("DEL", "other").is_done());
  CHECK(is_clean());
}

TEST_CASE("an ADD that follows a killed one at once has success") {
  CniLab lab;
  lab.pod("a");
  lab.pod("other");
  lab.add("other");
  const Netns node = here();
  unsigned call = 20;
  for (; call < kMaxCalls; call += 7) {
    if (!kill_before(node, call, [&] { return lab.call("ADD", "a").is_done(); })) break;
    const Answer again = lab.call("ADD", "a");
    // What was complete before it was killed is an attachment, and is refused like any other.
    CHECK_MESSAGE((again.is_done() || again.code == 103), "call ", call, ": ", again.text);
    CHECK(lab.call("DEL", "a").is_done());
  }
  CHECK(call > 50);
  CHECK(lab.call("DEL", "a").is_done());
}

TEST_CASE("after the first ADD of a node was killed anywhere a GC leaves nothing") {
  CniLab lab;
  lab.pod("a");
  const Netns node = here();
  unsigned call = 0;
  while (call < kMaxCalls && kill_before(node, call, [&] { return lab.call("ADD", "a").is_done(); })) {
    CHECK(lab.call("GC", "", kNothingValid).is_done());
    CHECK_MESSAGE(output_of("ip -o link show type veth").empty(), "call ", call);
    CHECK_MESSAGE(ruleset().empty(), "call ", call);
    (void)Datapath::unload(datapath_options(), UnloadMode::force);
    CHECK(output_of("ip link del patux 2>/dev/null").empty());
    call += 37;
  }
  CHECK(call > 100);
}

TEST_CASE("a DEL that was killed anywhere is ended by the next one") {
  CniLab lab;
  lab.pod("a");
  const Netns node = here();
  unsigned call = 0;
  bool was_killed = true;
  while (was_killed && call < kMaxCalls) {
    lab.add("a");
    was_killed = kill_before(node, call, [&] { return lab.call("DEL", "a").is_done(); });
    CHECK(lab.call("DEL", "a").is_done());
    CHECK_MESSAGE(is_clean(), "call ", call);
    call += 3;
  }
  CHECK(call > 20);
}
