// What `kubectl get services,endpointslices -A -o json` prints, read into plain values.
#pragma once

#include <cstddef>

#include <patu/error.hpp>

#include "objects.hpp"

namespace kube {

struct ReadLimits {
  std::size_t bytes = std::size_t{256} << 20;
  std::size_t depth = 64;  // objects and arrays inside each other; a Service in a List has 7
};

// A v1 List, ServiceList or EndpointSliceList, or one Service or EndpointSlice. Objects are read one after the other: memory
// is taken by what is used of them, and by one object's JSON. The descriptor is borrowed.
// Errors: invalid_argument (not JSON, too long, too deep: the byte is named; not a list of objects), io.
patu::Result<Objects> read_objects(int source_fd, const ReadLimits& limits = {});

}  // namespace kube
