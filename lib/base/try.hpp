// How a failure is made, and how it is handed on.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "patu/error.hpp"

namespace patu {

class Failure;
template <class T>
tl::expected<T, Error> failed(Failure failure) noexcept;

// A failure on its way to the caller, which becomes whatever Result is returned. It fits into two registers and has no
// destructor: with tl::unexpected, which has one, what follows a thousand failing calls would be a third of the library.
// So one that is made has to be returned.
class [[nodiscard]] Failure final {
 public:
  explicit Failure(Error&& error) noexcept : code_(error.code_), errno_(error.errno_), text_(error.text_.release()) {}
  Failure(Failure&&) noexcept = default;
  Failure(const Failure&) = delete;

  template <class T>
  [[gnu::always_inline]] operator tl::expected<T, Error>() && noexcept {
    return failed<T>(std::move(*this));
  }

 private:
  friend class Error;
  Errc code_;
  std::int32_t errno_;
  Error::Text* text_;
};

inline Error::Error(Failure&& failure) noexcept : code_(failure.code_), errno_(failure.errno_), text_(failure.text_) {}

// One short function for each T, which the compiler calls with registers only: flattened, it destroys nothing either.
template <class T>
[[gnu::flatten]] tl::expected<T, Error> failed(Failure failure) noexcept {
  return tl::expected<T, Error>(tl::unexpect, Error(std::move(failure)));
}
template <class T>
[[gnu::flatten]] tl::expected<T, Error> failed(Error& error) noexcept {
  return tl::expected<T, Error>(tl::unexpect, std::move(error));
}

Failure fail(Errc code, std::string_view what = {}) noexcept;
Failure fail(Errc code, const char* what) noexcept;
Failure fail(Errc code, const std::string& what) noexcept;
Failure fail(Error&& error) noexcept;
// From an errno of either sign.
Failure fail_errno(int err, std::string_view what = {}) noexcept;
Failure fail_errno(int err, const char* what) noexcept;
Failure fail_errno(int err, const std::string& what) noexcept;
// Takes what is in `error`, with a sentence in front.
Failure fail(Error& error, std::string_view what) noexcept;
Failure fail(Error& error, const char* what) noexcept;
Failure fail(Error& error, const std::string& what) noexcept;

// An error that becomes whatever Result is returned.
class [[nodiscard]] Moving final {
 public:
  [[gnu::always_inline]] explicit Moving(Error& error) noexcept : error_(error) {}
  template <class T>
  [[gnu::always_inline]] operator tl::expected<T, Error>() && noexcept {
    return failed<T>(error_);
  }

 private:
  Error& error_;
};

// The error of an Attempt that failed; a sentence may throw while it is made.
class Leaving final {
 public:
  [[gnu::always_inline]] explicit Leaving(Error& error) noexcept : error_(&error) {}
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;
  [[gnu::always_inline]] ~Leaving() {
    if (error_ != nullptr) error_->~Error();
  }

  [[gnu::always_inline]] Moving with() && noexcept { return Moving(take()); }
  template <class What>
  [[gnu::always_inline]] Failure with(const What& what) && noexcept {
    return fail(take(), what);
  }

 private:
  [[gnu::always_inline]] Error& take() noexcept {
    Error& out = *error_;
    error_ = nullptr;
    return out;
  }

  Error* error_;
};

// What a fallible call returned, for the macros below. It destroys nothing by itself: an error leaves, and a value that has to
// be destroyed gets an Owner.
template <class Out>
union Attempt {
  Out result;
  ~Attempt() {}
};
template <class Out>
Attempt(Out) -> Attempt<Out>;

template <class Value>
class Owner final {
 public:
  explicit Owner(tl::expected<Value, Error>& result) noexcept : result_(result) {}
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() {
    if constexpr (!std::is_void_v<Value> && !std::is_trivially_destructible_v<Value>) std::destroy_at(&*result_);
  }

 private:
  tl::expected<Value, Error>& result_;
};

}  // namespace patu

// From errno, right after the system call that set it. It is read before the text is made: a text may allocate, and an
// allocation may set errno.
#define PATU_FAIL_ERRNO(...) \
  [&, patu_errno = errno]() -> ::patu::Failure { return ::patu::fail_errno(patu_errno __VA_OPT__(, ) __VA_ARGS__); }()

#define PATU_CONCAT_(a, b) a##b
#define PATU_CONCAT(a, b) PATU_CONCAT_(a, b)

// Returns the failure of `expression`, with the sentence in front; the sentence is made only then.
#define PATU_TRY(expression, ...)                                                                  \
  do {                                                                                             \
    ::patu::Attempt patu_result{(expression)};                                                     \
    if (!patu_result.result) return ::patu::Leaving(patu_result.result.error()).with(__VA_ARGS__); \
    [[maybe_unused]] const ::patu::Owner patu_owner(patu_result.result);                           \
  } while (false)

// Declares `name`, a reference to the value of `expression`, or returns its failure.
#define PATU_TRY_LET(name, expression, ...) \
  PATU_TRY_LET_(PATU_CONCAT(patu_result_, __LINE__), name, expression __VA_OPT__(, ) __VA_ARGS__)
#define PATU_TRY_LET_(attempt, name, expression, ...)                                      \
  ::patu::Attempt attempt{(expression)};                                                   \
  if (!attempt.result) return ::patu::Leaving(attempt.result.error()).with(__VA_ARGS__);   \
  [[maybe_unused]] const ::patu::Owner PATU_CONCAT(patu_owner_, __LINE__)(attempt.result); \
  [[maybe_unused]] auto& name = *attempt.result
