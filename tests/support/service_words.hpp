// Short ways to write services, and the table's own element.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "raw_map.hpp"
#include "service_lab.hpp"

namespace patu::test {

inline Frontend cluster(const char* at, Protocol protocol = Protocol::tcp) { return {endpoint(at), protocol}; }

inline Service service(const std::string& name, std::vector<Frontend> frontends, std::vector<Backend> backends = {}) {
  Service out;
  out.name = name;
  out.frontends = std::move(frontends);
  out.backends = std::move(backends);
  return out;
}

inline patu_service_table raw_table() {
  return RawMap<std::uint32_t, patu_service_table>("service_table").all().at(0).second;
}

}  // namespace patu::test
