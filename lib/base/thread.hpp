// Runs a function on a throw-away thread with all signals blocked, optionally inside another network namespace.
#pragma once

#include "base/function_ref.hpp"
#include "patu/error.hpp"

namespace patu {

// Runs `work` to its end on a thread of its own. Signals are blocked there: a pending one would fail a BPF load with EAGAIN,
// and a handler of the caller's must not run in a namespace that is not the caller's. Errors: those of `work`.
Result<> on_thread(FunctionRef<Result<>()> work);

// The same, after setns(2) to a network namespace. Errors: permission_denied, invalid_argument, those of `work`.
Result<> in_netns(int netns_fd, FunctionRef<Result<>()> work);

}  // namespace patu
