// What a service may be.
#pragma once

#include "patu/error.hpp"
#include "patu/services.hpp"

namespace patu::services {

// All but whether something is given twice. Errors: invalid_argument, unsupported (a protocol).
Result<> check(const Service& service);

}  // namespace patu::services
