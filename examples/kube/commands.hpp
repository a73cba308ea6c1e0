// What each command does with patu.
#pragma once

#include "arguments.hpp"

namespace kube {

// The exit statuses that --help lists.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kMisused = 2;
inline constexpr int kNotAllHonoured = 3;

// Prints, and returns the exit status. Throws std::runtime_error with what failed.
int run(const Arguments& arguments);

}  // namespace kube
