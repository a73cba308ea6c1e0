// The backends of a service's port, from all slices of the service.
#pragma once

#include <vector>

#include <patu/services.hpp>

#include "convert.hpp"
#include "objects.hpp"

namespace kube {

// The addresses' families that a Service has; a client of another one does not meet it.
struct Families {
  bool v4 = false;
  bool v6 = false;

  bool has(const patu::IpAddress& address) const noexcept { return address.is_v4() ? v4 : v6; }
};
Families families_of(const ServiceObject& service);

struct Backends {
  std::vector<patu::Backend> list;  // sorted, each endpoint once
  std::vector<Remark> not_honoured;
};

// Slices of other services must not be among them.
Backends backends_of(const ServicePort& port, Families families, const std::vector<const SliceObject*>& slices,
                     const std::string& node);

}  // namespace kube
