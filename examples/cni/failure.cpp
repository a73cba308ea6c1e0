// Every code that the library can answer with has a code of CNI's.
#include "failure.hpp"

namespace cni {
namespace {

Code code_of(patu::Errc code) {
  using patu::Errc;
  switch (code) {
    case Errc::invalid_argument: return Code::invalid_config;
    case Errc::not_found: return Code::io;
    case Errc::already_exists: return Code::interface_exists;
    case Errc::permission_denied: return Code::permission_denied;
    case Errc::unsupported: return Code::kernel_unsupported;
    case Errc::exhausted: return Code::exhausted;
    // What holds them lets go: another process's lock, a bridge that is being made, memory.
    case Errc::busy:
    case Errc::timed_out:
    case Errc::out_of_memory: return Code::try_again;
    case Errc::version_mismatch: return Code::kernel_unsupported;
    case Errc::protocol:
    case Errc::io: return Code::io;
    case Errc::internal: break;
  }
  return Code::internal;
}

std::string message_of(const patu::Error& error, std::string_view what) {
  std::string text(what);
  if (!text.empty()) text += ": ";
  return text + error.to_string();
}

}  // namespace

Failure::Failure(Code code, std::string message, std::string details)
    : code_(code), message_(std::move(message)), details_(std::move(details)) {}

Failure::Failure(const patu::Error& error, std::string_view what)
    : Failure(code_of(error.code()), message_of(error, what)) {}

}  // namespace cni
