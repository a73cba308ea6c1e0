// Where the next process goes on in a range, so that none has to read which addresses are taken.
#pragma once

#include "bpf/instance.hpp"
#include "patu/ipam.hpp"

namespace patu::ipam {

// All of it is a hint: a wrong one costs tries.
class Turn final {
 public:
  // A subnet that complete() has made. Borrows both.
  Turn(const bpf::Instance& instance, const Subnet& subnet) noexcept;

  // False in an instance that has no map for it.
  bool is_kept() const noexcept { return cursors_.fd() >= 0; }
  // The range's first address if nobody has been there. Errors: io.
  Result<IpAddress> get() const;
  void put(const IpAddress& next) const;

 private:
  bpf::Map<patu_range, patu_addr> cursors_;
  const Subnet& subnet_;
};

}  // namespace patu::ipam
