// A BPF filter at clsact is attached, replaced in place and removed, and nobody else's is touched.
#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/unique_fd.hpp"
#include "nl/link.hpp"
#include "nl/tc.hpp"
#include "sandbox.hpp"

namespace patu::nl {
namespace {

using test::output_in;

struct Program {
  UniqueFd fd;
  std::uint32_t id = 0;
};

// r0 = TC_ACT_UNSPEC; exit
Program load_program() {
  std::array<bpf_insn, 2> code{};
  code[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  code[0].imm = -1;
  code[1].code = BPF_JMP | BPF_EXIT;
  Program program{UniqueFd(::bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "pass", "GPL", code.data(), code.size(), nullptr))};
  REQUIRE(program.fd);
  bpf_prog_info info{};
  __u32 size = sizeof info;
  REQUIRE(::bpf_obj_get_info_by_fd(program.fd.get(), &info, &size) == 0);
  program.id = info.id;
  return program;
}

struct Net {
  Netns netns = *Netns::create();
  Socket socket = *Socket::open_in(netns.fd());
  static constexpr std::uint32_t kLoopback = 1;

  std::optional<std::uint32_t> attached(std::uint32_t ifindex = kLoopback) {
    const auto id = query_clsact(socket, ifindex);
    REQUIRE(id);
    return *id;
  }
  std::string filters() const {
    return output_in(netns,
                     "tc -j filter show dev lo ingress | jq -c '.[]|select(.options)|"
                     "[.pref,.options.handle,.options.bpf_name,.options.\"direct-action\",.options.prog.id]'");
  }
  std::string others() const {
    return output_in(netns, "tc filter show dev lo ingress | grep -o 'pref [0-9]* [a-z0-9]*' | sort -u");
  }
  std::string qdiscs() const {
    return output_in(netns, "tc -j qdisc show dev lo | jq -c 'map(.kind)|index(\"clsact\")!=null'");
  }
};

std::string line(const char* name, std::uint32_t id) {
  return "[1,\"0x1\",\"" + std::string(name) + "\",true," + std::to_string(id) + "]\n";
}

TEST_CASE("a program is attached with its qdisc, and a second one takes its place") {
  Net net;
  const Program first = load_program();
  const Program second = load_program();
  REQUIRE(attach_clsact(net.socket, Net::kLoopback, first.fd.get()));
  CHECK(net.filters() == line("patu_pod", first.id));
  CHECK(net.attached() == first.id);
  REQUIRE(attach_clsact(net.socket, Net::kLoopback, second.fd.get()));
  CHECK(net.filters() == line("patu_pod", second.id));
  CHECK(net.attached() == second.id);
}

TEST_CASE("detaching removes the filter alone, and twice is as good as once") {
  Net net;
  const Program program = load_program();
  CHECK(detach_clsact(net.socket, Net::kLoopback));  // no qdisc yet
  REQUIRE(attach_clsact(net.socket, Net::kLoopback, program.fd.get()));
  for (const int round : {1, 2}) {
    CAPTURE(round);
    CHECK(detach_clsact(net.socket, Net::kLoopback));
    CHECK(net.filters().empty());
    CHECK(net.qdiscs() == "true\n");
    CHECK_FALSE(net.attached());
  }
}

TEST_CASE("another filter on the same device stays where it is") {
  Net net;
  const Program program = load_program();
  output_in(net.netns, "tc qdisc add dev lo clsact; tc filter add dev lo ingress pref 5 u32 match u32 0 0");
  REQUIRE(attach_clsact(net.socket, Net::kLoopback, program.fd.get()));
  CHECK(net.attached() == program.id);
  CHECK(detach_clsact(net.socket, Net::kLoopback));
  CHECK(net.others() == "pref 5 u32\n");
}

TEST_CASE("another program on the same device is not taken for ours") {
  Net net;
  const Program program = load_program();
  const std::string path = test::bpffs_path() + "/other";
  REQUIRE(::bpf_obj_pin(program.fd.get(), path.c_str()) == 0);
  output_in(net.netns,
            "tc qdisc add dev lo clsact; tc filter add dev lo ingress pref 5 handle 1 bpf da object-pinned " + path +
                "; tc filter add dev lo ingress pref 1 handle 5 bpf da object-pinned " + path);
  CHECK(::unlink(path.c_str()) == 0);
  CHECK(net.others() == "pref 1 bpf\npref 5 bpf\n");
  CHECK_FALSE(net.attached());
}

TEST_CASE("a foreign filter in our place is neither replaced nor taken for ours") {
  Net net;
  const Program program = load_program();
  output_in(net.netns, "tc qdisc add dev lo clsact; tc filter add dev lo ingress pref 1 u32 match u32 0 0");
  const auto attached = attach_clsact(net.socket, Net::kLoopback, program.fd.get());
  REQUIRE_FALSE(attached);
  CHECK(attached.error().to_string().find("add BPF filter: ") == 0);
  CHECK_FALSE(net.attached());
  CHECK(detach_clsact(net.socket, Net::kLoopback));
  CHECK(net.others() == "pref 1 u32\n");
}

TEST_CASE("where the device is gone nothing is attached, and there is nothing to detach") {
  Net net;
  const Program program = load_program();
  const auto attached = attach_clsact(net.socket, 999'999, program.fd.get());
  REQUIRE_FALSE(attached);
  CHECK(attached.error().code() == Errc::not_found);
  CHECK(attached.error().to_string().find("add clsact: ") == 0);
  CHECK(detach_clsact(net.socket, 999'999));
  CHECK_FALSE(net.attached(999'999));
}

TEST_CASE("what is not a program is refused") {
  Net net;
  const auto attached = attach_clsact(net.socket, Net::kLoopback, net.netns.fd());
  REQUIRE_FALSE(attached);
  CHECK(attached.error().to_string().find("add BPF filter: ") == 0);
  CHECK(net.filters().empty());
}

}  // namespace
}  // namespace patu::nl
