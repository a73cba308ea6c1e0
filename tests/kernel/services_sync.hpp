// What the tests of ServiceTable::sync share.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "service_lab.hpp"

namespace patu::test {

using Names = std::vector<std::string>;

inline Frontend frontend(std::uint32_t n, Protocol protocol = Protocol::tcp) {
  return {{IpAddress::v4(10, static_cast<std::uint8_t>(96 + (n >> 16)), static_cast<std::uint8_t>(n >> 8),
                         static_cast<std::uint8_t>(n)),
           80},
          protocol};
}

inline std::vector<Frontend> frontends(std::uint32_t first, std::uint32_t count) {
  std::vector<Frontend> out;
  for (std::uint32_t i = first; i < first + count; ++i) out.push_back(frontend(i));
  return out;
}

inline SyncReport synced(ServiceTable& table, const std::vector<Service>& services, const SyncOptions& options = {}) {
  auto report = table.sync(services, options);
  REQUIRE_MESSAGE(report, report.error().to_string());
  return std::move(*report);
}

inline std::vector<Service> listed(const ServiceTable& table) {
  auto services = table.list();
  REQUIRE(services);
  return std::move(*services);
}

inline void check_refused(const SyncReport& report, std::size_t index, const std::string& name, Errc code,
                          std::string_view says) {
  REQUIRE(index < report.refused.size());
  CHECK(report.refused[index].name == name);
  CHECK(report.refused[index].code == code);
  CHECK_MESSAGE(report.refused[index].reason.find(says) != std::string::npos, report.refused[index].reason);
}

inline DatapathOptions small(std::uint32_t max_services) {
  DatapathOptions options = datapath_options();
  options.max_services = max_services;
  return options;
}

// One of everything that a service can have.
inline Service rich() {
  Service service{"rich", {}, backends_v4(50, 6)};
  service.frontends = {{endpoint("0.0.0.0:30080"), Protocol::tcp, FrontendKind::node_port, true, true},
                       {endpoint("0.0.0.0:30080"), Protocol::udp, FrontendKind::node_port},
                       {endpoint("10.97.0.1:80")},
                       {endpoint("10.97.0.1:80"), Protocol::udp},
                       {endpoint("10.97.0.1:81")},
                       {endpoint("192.0.2.1:80"), Protocol::tcp, FrontendKind::external},
                       {endpoint("192.0.2.2:80"), Protocol::tcp, FrontendKind::load_balancer},
                       {{IpAddress(), 30080}, Protocol::tcp, FrontendKind::host_port},
                       {endpoint("[fd00:96::1]:80")}};
  service.backends.emplace_back(backend_v6(1));
  service.backends.emplace_back(backend_v6(2), BackendState::terminating);
  service.backends[0].weight = 200;
  service.backends[1].local = service.backends[2].local = true;
  service.backends[2].state = BackendState::terminating;
  service.backends[3].state = BackendState::maintenance;
  service.internal_policy = TrafficPolicy::local;
  service.affinity_timeout = std::chrono::hours(3);
  service.close_tcp = true;
  return service;
}

}  // namespace patu::test
