// The pod program, loaded by itself: its map `pods`, and runs of it on a frame without traffic.
#pragma once

#include <cstdint>
#include <string>

#include "bpf/map.hpp"
#include "bpf/object.hpp"
#include "frame.hpp"
#include "patu_maps.h"

namespace patu::test {

struct Verdict {
  int value = 0;  // TC_ACT_*
  Bytes frame;    // as the program left it
};

class PodProgram final {
 public:
  // Loads what the library loads. Errors: those of bpf::Object::load().
  static Result<PodProgram> load();

  int fd() const noexcept { return object_.program_fd("pod_ingress"); }
  bpf::Map<patu_addr, patu_pod> pods() const noexcept { return bpf::Map<patu_addr, patu_pod>(object_.map_fd("pods")); }
  // Records as Network::attach() writes them: one an address, and the link-local one if asked for.
  Result<> add_pod(std::uint32_t ifindex, std::uint32_t bridge, const MacAddress& mac,
                   const std::vector<IpAddress>& addresses, bool with_link_local);

  // As if the frame came in at the device; the result of the system call is what `value` is if that failed: -errno.
  Verdict run(const Bytes& frame, std::uint32_t ifindex) const;

 private:
  explicit PodProgram(bpf::Object object) noexcept : object_(std::move(object)) {}
  bpf::Object object_;
};

}  // namespace patu::test
