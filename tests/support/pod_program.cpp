// The pod program, loaded by itself: its map `pods`, and runs of it on a frame without traffic.
#include "pod_program.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <cerrno>
#include <cstring>

#include "base/try.hpp"

namespace patu::test {

Result<PodProgram> PodProgram::load() {
  PATU_TRY_LET(object, bpf::Object::open(bpf::Component::pod, 0));
  PATU_TRY(object.load());
  return PodProgram(std::move(object));
}

Result<> PodProgram::add_pod(std::uint32_t ifindex, std::uint32_t bridge, const MacAddress& mac,
                             const std::vector<IpAddress>& addresses, bool with_link_local) {
  patu_pod pod{};
  pod.ifindex = ifindex;
  pod.bridge_ifindex = bridge;
  std::memcpy(pod.mac, mac.bytes().data(), sizeof pod.mac);
  for (const IpAddress& address : addresses) {
    patu_addr key{};
    std::memcpy(key.bytes, address.bytes().data(), sizeof key.bytes);
    PATU_TRY(pods().put(key, pod));
  }
  if (with_link_local) PATU_TRY(pods().put(patu_link_local(ifindex, mac.bytes().data()), pod));
  return {};
}

Verdict PodProgram::run(const Bytes& frame, std::uint32_t ifindex) const {
  Verdict verdict;
  verdict.frame.resize(frame.size());
  __sk_buff context{};
  context.ifindex = ifindex;
  bpf_test_run_opts options{};
  options.sz = sizeof options;
  options.data_in = frame.data();
  options.data_size_in = static_cast<std::uint32_t>(frame.size());
  options.data_out = verdict.frame.data();
  options.data_size_out = static_cast<std::uint32_t>(verdict.frame.size());
  options.ctx_in = &context;
  options.ctx_size_in = sizeof context;
  const bool ran = ::bpf_prog_test_run_opts(fd(), &options) == 0;
  verdict.value = ran ? static_cast<int>(options.retval) : -errno;
  return verdict;
}

}  // namespace patu::test
