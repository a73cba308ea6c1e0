// The one error type of patu: a code to branch on, an errno to debug with, a chain of sentences to read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "patu/export.hpp"

namespace patu {

// What a caller can branch on. The numbers are fixed for ever; the C ABI uses the same ones.
enum class Errc : std::int32_t {
  invalid_argument = -1,   // the caller's input is wrong; nothing was changed
  not_found = -2,          // the object named does not exist
  already_exists = -3,     // an object of that name exists and differs from what was asked for
  permission_denied = -4,  // a capability is missing, or a file is not safely the caller's own
  unsupported = -5,        // this kernel lacks a feature; the text names it
  exhausted = -6,          // a pool, a map or a table is full
  busy = -7,               // the object is in use
  timed_out = -8,          // a lock or the kernel did not answer in time
  protocol = -9,           // the kernel answered something that cannot be right
  io = -10,                // any other failure that the kernel reports
  out_of_memory = -11,
  version_mismatch = -12,  // what is pinned was written by another layout version
  internal = -13,          // a fault in patu itself
};

// "not_found" and so on; "unknown" for a value that is not an Errc.
PATU_API std::string_view to_string(Errc code) noexcept;

class Failure;  // patu's own form of an error on its way up

class [[nodiscard]] PATU_API Error final {
 public:
  explicit Error(Errc code, std::string_view what = {}) noexcept;
  // Takes an errno of either sign. One that has no Errc of its own becomes Errc::io; the errno is kept. 0 is not an
  // error and becomes Errc::internal.
  static Error from_errno(int err, std::string_view what = {}) noexcept;
  // As from_errno, with a code that the caller knows better than the table does.
  static Error from_errno(Errc code, int err, std::string_view what = {}) noexcept;

  explicit Error(Failure&& failure) noexcept;
  Error(Error&&) noexcept = default;
  Error& operator=(Error&&) noexcept = default;
  Error(const Error&) = delete;
  Error& operator=(const Error&) = delete;
  ~Error() = default;

  // Puts a sentence in front: "attach pod web-1" + ": " + what was there. Out of memory drops the sentence only.
  Error&& context(std::string_view what) && noexcept;
  // Adds the text of a second failure behind this one ("...; also delete link veth0: ..."): teardown runs every step
  // and reports all of them. Code and errno stay those of the first. Out of memory drops the addition only.
  Error&& also(const Error& other) && noexcept;

  Errc code() const noexcept { return code_; }
  // The kernel's errno, positive, or 0 where no system call was involved.
  int os_error() const noexcept { return errno_; }
  // "create bridge br0: mtu less than device minimum: Invalid argument (EINVAL)"; the name of the code if there is
  // nothing else to tell.
  std::string to_string() const;

 private:
  friend class Failure;
  struct Text;
  struct DeleteText {
    void operator()(Text* text) const noexcept;
  };

  Errc code_;
  std::int32_t errno_ = 0;
  std::unique_ptr<Text, DeleteText> text_;  // null until there is something to say
};
static_assert(sizeof(Error) == 16);

// What every fallible function returns. Never call value(), it throws: test the result, then dereference it.
template <class T = void>
using Result = tl::expected<T, Error>;

}  // namespace patu
