// Services as the table's unit tests write them, planned without a kernel.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>

#include "services/plan.hpp"

namespace patu::test {

inline Endpoint at(std::string_view text) {
  const auto endpoint = Endpoint::parse(text);
  REQUIRE_MESSAGE(endpoint, std::string(text));
  return *endpoint;
}

inline services::Plan planned(const Service& service) {
  auto plan = services::plan_of(service);
  REQUIRE_MESSAGE(plan, plan.error().to_string());
  return std::move(*plan);
}

}  // namespace patu::test
