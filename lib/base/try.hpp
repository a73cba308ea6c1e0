// The two ways to make a failure and the two ways to hand it on.
#pragma once

#include <cerrno>
#include <string_view>

#include "patu/error.hpp"

namespace patu {

inline tl::unexpected<Error> fail(Errc code, std::string_view what = {}) noexcept {
  return tl::unexpected<Error>(Error(code, what));
}
inline tl::unexpected<Error> fail(Error&& error) noexcept { return tl::unexpected<Error>(std::move(error)); }
// From an errno of either sign.
inline tl::unexpected<Error> fail_errno(int err, std::string_view what = {}) noexcept {
  return tl::unexpected<Error>(Error::from_errno(err, what));
}

// What the macros below end in. Out of line, because there are a thousand of them in the library.
tl::unexpected<Error> hand_on(Error& error) noexcept;
tl::unexpected<Error> hand_on(Error& error, std::string_view what) noexcept;

}  // namespace patu

// From errno, right after the system call that set it. It is read before the text is made: a text may allocate, and an
// allocation may set errno.
#define PATU_FAIL_ERRNO(...)                                          \
  [&, patu_errno = errno]() -> ::tl::unexpected<::patu::Error> {      \
    return ::patu::fail_errno(patu_errno __VA_OPT__(, ) __VA_ARGS__); \
  }()

#define PATU_CONCAT_(a, b) a##b
#define PATU_CONCAT(a, b) PATU_CONCAT_(a, b)

// Returns the failure of `expression`, with the sentence in front; the sentence is made only then.
#define PATU_TRY(expression, ...)                                             \
  do {                                                                        \
    if (auto patu_result = (expression); !patu_result)                        \
      return ::patu::hand_on(patu_result.error() __VA_OPT__(, ) __VA_ARGS__); \
  } while (false)

// Declares `name`, a reference to the value of `expression`, or returns its failure.
#define PATU_TRY_LET(name, expression, ...) \
  PATU_TRY_LET_(PATU_CONCAT(patu_result_, __LINE__), name, expression __VA_OPT__(, ) __VA_ARGS__)
#define PATU_TRY_LET_(result, name, expression, ...)                              \
  auto result = (expression);                                                     \
  if (!result) return ::patu::hand_on(result.error() __VA_OPT__(, ) __VA_ARGS__); \
  [[maybe_unused]] auto& name = *result
