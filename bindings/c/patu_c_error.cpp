// Status and error: what a C caller learns of a failure.
#include <array>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "guard.hpp"

// Either all of it is allocated, or it is one of kBare, which nobody frees.
struct patu_error {
  patu_status code;
  std::int32_t os_error;
  const char* text;
};

namespace patu::c {
namespace {

constexpr std::int32_t kLowest = PATU_E_INTERNAL;

// In the order of the numbers, beginning with PATU_OK.
constexpr std::array kNames{"ok",
                            "invalid_argument",
                            "not_found",
                            "already_exists",
                            "permission_denied",
                            "unsupported",
                            "exhausted",
                            "busy",
                            "timed_out",
                            "protocol",
                            "io",
                            "out_of_memory",
                            "version_mismatch",
                            "internal"};
static_assert(kNames.size() == 1 - kLowest);

constexpr auto kBare = [] {
  std::array<patu_error, kNames.size()> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = {-static_cast<patu_status>(i), 0, kNames[i]};
  return out;
}();

static_assert(static_cast<patu_status>(Errc::invalid_argument) == PATU_E_INVALID_ARGUMENT);
static_assert(static_cast<patu_status>(Errc::not_found) == PATU_E_NOT_FOUND);
static_assert(static_cast<patu_status>(Errc::already_exists) == PATU_E_ALREADY_EXISTS);
static_assert(static_cast<patu_status>(Errc::permission_denied) == PATU_E_PERMISSION_DENIED);
static_assert(static_cast<patu_status>(Errc::unsupported) == PATU_E_UNSUPPORTED);
static_assert(static_cast<patu_status>(Errc::exhausted) == PATU_E_EXHAUSTED);
static_assert(static_cast<patu_status>(Errc::busy) == PATU_E_BUSY);
static_assert(static_cast<patu_status>(Errc::timed_out) == PATU_E_TIMED_OUT);
static_assert(static_cast<patu_status>(Errc::protocol) == PATU_E_PROTOCOL);
static_assert(static_cast<patu_status>(Errc::io) == PATU_E_IO);
static_assert(static_cast<patu_status>(Errc::out_of_memory) == PATU_E_OUT_OF_MEMORY);
static_assert(static_cast<patu_status>(Errc::version_mismatch) == PATU_E_VERSION_MISMATCH);
static_assert(static_cast<patu_status>(Errc::internal) == PATU_E_INTERNAL);

bool is_known(patu_status status) noexcept { return status <= PATU_OK && status >= kLowest; }

const patu_error& bare(patu_status status) noexcept {
  return kBare[static_cast<std::size_t>(-(is_known(status) ? status : PATU_E_INTERNAL))];
}

bool is_bare(const patu_error* error) noexcept {
  return !std::less<>{}(error, kBare.data()) && std::less<>{}(error, kBare.data() + kBare.size());
}

patu_error* copy_of(const Error& error, patu_status status) {
  const std::string text = error.to_string();
  auto bytes = std::make_unique<char[]>(text.size() + 1);
  std::memcpy(bytes.get(), text.c_str(), text.size() + 1);
  auto* out = new patu_error{status, error.os_error(), bytes.get()};
  (void)bytes.release();
  return out;
}

// Hands the error out through `err`, if that is not null, and returns its status. Without memory for its text the error is one
// that always exists and knows its status alone.
patu_status report(patu_error** err, const Error& error) noexcept {
  const auto status = static_cast<patu_status>(error.code());
  if (err == nullptr) return status;
  try {
    *err = copy_of(error, status);
  } catch (const std::exception&) {
    *err = const_cast<patu_error*>(&bare(status));
  }
  return status;
}

}  // namespace

patu_status guarded(patu_error** err, Result<> (*run)(const void* body), const void* body) noexcept {
  try {
    const Result<> result = run(body);
    return result ? PATU_OK : report(err, result.error());
  } catch (const std::bad_alloc&) {
    return report(err, Error(Errc::out_of_memory));
  } catch (const std::length_error&) {  // a container that no memory could hold
    return report(err, Error(Errc::out_of_memory));
  } catch (const std::exception& thrown) {
    return report(err, Error(Errc::internal, thrown.what()));
  } catch (...) {
    return report(err, Error(Errc::internal));
  }
}

}  // namespace patu::c

std::uint32_t patu_version(void) { return PATU_VERSION; }

const char* patu_status_name(patu_status status) {
  return patu::c::is_known(status) ? patu::c::bare(status).text : "unknown";
}

patu_status patu_error_code(const patu_error* error) { return error == nullptr ? PATU_OK : error->code; }
std::int32_t patu_error_errno(const patu_error* error) { return error == nullptr ? 0 : error->os_error; }
const char* patu_error_text(const patu_error* error) { return error == nullptr ? "" : error->text; }

void patu_error_free(patu_error* error) {
  if (error == nullptr || patu::c::is_bare(error)) return;
  delete[] error->text;
  delete error;
}
