// How a CNI verb fails: the code that the specification gives it, and what to tell.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <patu/error.hpp>

namespace cni {

// Below 100: section "Error" of the CNI specification 1.1.0, and 8 as containernetworking/cni has it. Above: patu's own.
enum class Code : unsigned {
  incompatible_version = 1,
  unsupported_field = 2,  // the text names the key
  unknown_container = 3,
  bad_environment = 4,
  io = 5,
  decode = 6,
  invalid_config = 7,
  invalid_netns = 8,
  try_again = 11,             // a lock was not free in time
  not_available = 50,         // STATUS: ADD could not be served
  limited_connectivity = 51,  // STATUS: and what is attached may be cut off
  exhausted = 100,
  address_in_use = 101,
  address_outside_ranges = 102,
  interface_exists = 103,
  kernel_unsupported = 104,
  check_failed = 105,  // CHECK: something is not as ADD left it
  permission_denied = 106,
  internal = 999,  // as containernetworking/cni has it: nothing that this plugin can put a name to
};

class Failure final : public std::exception {
 public:
  Failure(Code code, std::string message, std::string details = {});
  // By the error's code; `what` goes in front.
  Failure(const patu::Error& error, std::string_view what = {});

  const char* what() const noexcept override { return message_.c_str(); }
  Code code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& details() const noexcept { return details_; }

 private:
  Code code_;
  std::string message_;
  std::string details_;
};

// The value, or the Failure that its error is.
template <class T>
T expect(patu::Result<T>&& result, std::string_view what = {}) {
  if (!result) throw Failure(result.error(), what);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace cni
