// One process that does one thing and ends, as a plugin does that is executed for each call; exec_bench runs it.
//
// exec_once STEP BPFFS CGROUP PREFIX OWNER [NETNS] prints its peak memory in KiB. STEP is nothing, adopt (Datapath::adopt), open
// (Datapath::open), acquire (that, and an address for OWNER), or attach (that, and OWNER's interface in NETNS).
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "patu/patu.hpp"

using namespace patu;

namespace {

template <class T>
T take(Result<T> result) {
  if (result) return std::move(*result);
  (void)std::fprintf(stderr, "exec_once: %s\n", result.error().to_string().c_str());
  std::_Exit(1);
}

// Without a stream, which would be half of what is measured.
long peak_kib() {
  std::array<char, 4096> text{};
  const int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  const bool done = ::read(fd, text.data(), text.size() - 1) > 0;
  ::close(fd);
  const char* at = done ? std::strstr(text.data(), "VmHWM:") : nullptr;
  return at == nullptr ? -1 : std::strtol(at + 6, nullptr, 10);
}

void run(std::string_view step, char** words, int count) {
  DatapathOptions options;
  options.instance = "test";
  options.bpffs = words[0];
  options.cgroup = words[1];
  if (step == "nothing") return;
  const Datapath datapath = take(step == "adopt" ? Datapath::adopt(options) : Datapath::open(options));
  const Subnet subnet{take(Prefix::parse(words[2]))};
  const AttachmentId owner = take(AttachmentId::parse(words[3]));
  if (step == "acquire") (void)take(take(AddressPool::open(datapath, subnet)).acquire(owner));
  if (step == "attach" && count > 4) {
    NetworkOptions wanted{.bridge = take(IfName::parse("patu0")), .subnets = {subnet}};
    Network network = take(Network::open(datapath, wanted));
    const Netns netns = take(Netns::open(words[4]));
    PodSpec spec{.id = owner, .netns = &netns};
    (void)take(network.attach(spec));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  run(argv[1], argv + 2, argc - 2);
  (void)std::printf("%ld\n", peak_kib());
  return 0;
}
