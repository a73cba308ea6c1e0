// Service number n of a large table: one TCP port of a cluster address, ten backends that no other service has.
#pragma once

#include <string>
#include <vector>

#include "service_lab.hpp"

namespace patu::test {

inline constexpr std::uint32_t kBackendsEach = 10;

inline Endpoint frontend_of(std::uint32_t n) {
  const auto byte = [&](int shift) { return static_cast<std::uint8_t>(n >> shift); };
  return {IpAddress::v4(10, static_cast<std::uint8_t>(96 + byte(16)), byte(8), byte(0)), 80};
}

inline Endpoint backend_of(std::uint32_t n, std::uint32_t i) { return backend_v4(n * kBackendsEach + i + 1); }

inline std::string name_of(std::uint32_t n) { return "namespace/service-" + std::to_string(n) + ":http"; }

inline std::vector<Service> many_services(std::uint32_t count) {
  std::vector<Service> services;
  services.reserve(count);
  for (std::uint32_t n = 0; n < count; ++n)
    services.push_back({name_of(n), {{frontend_of(n)}}, backends_v4(n * kBackendsEach + 1, kBackendsEach)});
  return services;
}

inline DatapathOptions room_for(std::uint32_t services) {
  DatapathOptions options = datapath_options();
  options.max_services = services + 16;
  return options;
}

}  // namespace patu::test
