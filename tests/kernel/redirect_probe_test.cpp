// The trial of socket redirection at start-up: what it finds is what sockets of pods then meet, and it leaves nothing.
#include <doctest/doctest.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "bpf/map.hpp"
#include "bpf/object.hpp"
#include "bpf/redirect_probe.hpp"
#include "redirect_node.hpp"
#include "sandbox.hpp"

#include <bpf/bpf.h>

using namespace patu;
using namespace patu::test;

namespace {

// The redirect programs, loaded and published nowhere.
struct Staged {
  bpf::Object object;
  bpf::RedirectFds fds;

  static Staged load(bool enabled, bool attached) {
    auto object = bpf::Object::open(bpf::Component::redirect, 0);
    REQUIRE(object);
    const auto loaded = object->load();
    REQUIRE_MESSAGE(loaded.has_value(), loaded.error().to_string());
    Staged out{std::move(*object), {}};
    out.fds = {out.object.map_fd("sockets"), out.object.map_fd("streams"), out.object.map_fd("pods")};
    if (attached)
      REQUIRE(::bpf_prog_attach(out.object.program_fd("patu_skmsg"), out.fds.sockets, BPF_SK_MSG_VERDICT, 0) == 0);
    patu_settings settings{};
    settings.redirect_enabled = enabled;
    settings.redirect_limit_bytes = 1u << 20;
    REQUIRE(bpf::Map<std::uint32_t, patu_settings>(out.object.map_fd("settings")).put(0, settings));
    return out;
  }

  std::size_t pods() const {
    std::size_t count = 0;
    REQUIRE(bpf::Map<patu_addr, patu_pod>(fds.pods).visit([&](const patu_addr&, const patu_pod&) -> Result<> {
      ++count;
      return {};
    }));
    return count;
  }
};

}  // namespace

TEST_CASE("the trial passes here, and leaves no descriptor, no thread and no record") {
  const Staged staged = Staged::load(true, true);
  const std::size_t descriptors = open_descriptors();
  const std::size_t running = threads();
  for (int i = 0; i < 3; ++i) {
    const auto found = bpf::probe_redirect(staged.fds);
    REQUIRE_MESSAGE(found.has_value(), found.error().to_string());
    CHECK(found->delivers);
    CHECK(found->charges);
    CHECK(found->detail.empty());
  }
  CHECK(open_descriptors() == descriptors);
  CHECK(threads() == running);
  CHECK(staged.pods() == 0);
}

TEST_CASE("the trial fails, and says why, where messages are not redirected") {
  struct Case {
    bool enabled, attached;
    const char* says;
  };
  for (const Case& one :
       {Case{false, true, "not redirected (state 2)"}, Case{true, false, "not redirected (state 1)"}}) {
    const Staged staged = Staged::load(one.enabled, one.attached);
    const auto found = bpf::probe_redirect(staged.fds);
    REQUIRE(found);
    CHECK_FALSE(found->delivers);
    CHECK_FALSE(found->charges);
    CHECK_MESSAGE(found->detail.find(one.says) != std::string::npos, found->detail);
    CHECK(staged.pods() == 0);
  }
}

TEST_CASE("what status() says of FIONREAD is what a pod's socket meets") {
  RedirectNode node(Rules::patu);
  const NodePod& a = node.add_pod();
  const NodePod& b = node.add_pod();
  const auto status = node.datapath().status();
  REQUIRE(status);
  const auto feature = std::find_if(status->features.begin(), status->features.end(),
                                    [](const Feature& one) { return one.name.find("FIONREAD") != std::string::npos; });
  REQUIRE(feature != status->features.end());
  node.check([&]() -> bool {
    const Connection c = connect_pods(a, b, kIpv4);
    EXPECT(exchange_once(c));
    EXPECT(node.datapath().set_socket_redirect(false));
    EXPECT(send_all(c.client.get(), "12345"));
    char byte;
    while (::recv(c.server.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
    }
    int counted = -1;
    EXPECT(::ioctl(c.server.get(), FIONREAD, &counted) == 0);
    EXPECT((counted == 5) == feature->available);
    return true;
  });
}
