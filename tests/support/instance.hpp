// An instance in the sandbox that is gone after the test, and short ways to write ids and addresses.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "patu/patu.hpp"
#include "sandbox.hpp"

namespace patu::test {

inline IpAddress ip(const char* text) { return *IpAddress::parse(text); }
inline AttachmentId id(const std::string& container) { return *AttachmentId::parse(container); }

// The value, or a failed test that says why there is none.
template <class T>
T must(Result<T> result) {
  REQUIRE_MESSAGE(result, result.error().to_string());
  return std::move(*result);
}
inline void must(Result<> result) { REQUIRE_MESSAGE(result, result.error().to_string()); }

inline void put(ServiceTable& table, const Service& service) { must(table.upsert(service)); }

inline void check_error(const Error& error, Errc code, const char* text) {
  CHECK(error.code() == code);
  CHECK_MESSAGE(error.to_string().find(text) != std::string::npos, error.to_string());
}

inline DatapathOptions small_datapath(std::uint32_t max_pods) {
  DatapathOptions options = datapath_options();
  options.max_pods = max_pods;
  return options;
}

struct InstanceFixture {
  DatapathOptions options;
  Datapath datapath;

  explicit InstanceFixture(const DatapathOptions& wanted = datapath_options())
      : options(wanted), datapath(must(Datapath::open(wanted))) {
    // Opens every map, so that what is counted later are descriptors that somebody forgot.
    (void)must(datapath.status());
  }
  ~InstanceFixture() {
    if (auto unloaded = Datapath::unload(options, UnloadMode::force); !unloaded)
      FAIL_CHECK(unloaded.error().to_string());
  }
  InstanceFixture(const InstanceFixture&) = delete;
  InstanceFixture& operator=(const InstanceFixture&) = delete;
};

}  // namespace patu::test
