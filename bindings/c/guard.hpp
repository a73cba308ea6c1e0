// The border: no exception passes it, and what failed becomes a status and, if the caller wants it, a patu_error.
#pragma once

#include "base/try.hpp"
#include "patu/error.hpp"
#include "patu/patu.h"

namespace patu::c {

// Runs run(body) and makes a status of what becomes of it. `err` may be null.
patu_status guarded(patu_error** err, Result<> (*run)(const void* body), const void* body) noexcept;

// Runs the body of a function of the C ABI.
template <class Body>
patu_status guard(patu_error** err, const Body& body) noexcept {
  return guarded(
      err, [](const void* erased) -> Result<> { return (*static_cast<const Body*>(erased))(); }, &body);
}

}  // namespace patu::c
