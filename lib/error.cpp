// Builds and prints errors; what fails for lack of memory here costs a sentence, never the error.
#include "patu/error.hpp"

#include <cerrno>
#include <cstring>
#include <exception>
#include <limits>
#include <system_error>
#include <utility>

#include "base/try.hpp"

namespace patu {

struct Error::Text {
  std::string sentences;  // the chain, without errno's text, which to_string() puts behind it
  std::string also;       // further failures, each with its lead "; also "
};

namespace {

Errc code_of(int err) noexcept {
  switch (err) {
    case EPERM:
    case EACCES: return Errc::permission_denied;
    case ENOENT:
    case ENODEV:
    case ESRCH: return Errc::not_found;
    case EEXIST: return Errc::already_exists;
    case EINVAL: return Errc::invalid_argument;
    case ENOMEM: return Errc::out_of_memory;
    case EBUSY: return Errc::busy;
    case EOPNOTSUPP:
    case ENOSYS: return Errc::unsupported;
    case ETIMEDOUT: return Errc::timed_out;
    case E2BIG:
    case ENOSPC: return Errc::exhausted;
    default: return Errc::io;
  }
}

int positive(int err) noexcept {
  if (err >= 0) return err;
  return err == std::numeric_limits<int>::min() ? std::numeric_limits<int>::max() : -err;
}

// "Invalid argument (EINVAL)", never translated where the C library can help it.
std::string describe(int err) {
#if __GLIBC__ > 2 || (__GLIBC__ == 2 && __GLIBC_MINOR__ >= 32)
  if (const char* name = ::strerrorname_np(err)) return std::string(::strerrordesc_np(err)) + " (" + name + ")";
  return "errno " + std::to_string(err);
#else
  return std::generic_category().message(err) + " (errno " + std::to_string(err) + ")";
#endif
}

// Runs `work`, which gives the strong guarantee; its lack of memory (or a text beyond max_size) changes nothing.
template <class Work>
void best_effort(const Work& work) noexcept {
  try {
    work();
  } catch (const std::exception&) {
  }
}

}  // namespace

std::string_view to_string(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::not_found: return "not_found";
    case Errc::already_exists: return "already_exists";
    case Errc::permission_denied: return "permission_denied";
    case Errc::unsupported: return "unsupported";
    case Errc::exhausted: return "exhausted";
    case Errc::busy: return "busy";
    case Errc::timed_out: return "timed_out";
    case Errc::protocol: return "protocol";
    case Errc::io: return "io";
    case Errc::out_of_memory: return "out_of_memory";
    case Errc::version_mismatch: return "version_mismatch";
    case Errc::internal: return "internal";
  }
  return "unknown";
}

Error::Error(Errc code, std::string_view what) noexcept : code_(code) {
  if (what.empty()) return;
  best_effort([&] { text_.reset(new Text{std::string(what), {}}); });
}

Error Error::from_errno(int err, std::string_view what) noexcept {
  if (err == 0) return Error(Errc::internal, "a call failed without an errno").context(what);
  return from_errno(code_of(positive(err)), err, what);
}

Error Error::from_errno(Errc code, int err, std::string_view what) noexcept {
  Error error(code, what);
  error.errno_ = positive(err);
  return error;
}

void Error::DeleteText::operator()(Text* text) const noexcept { delete text; }

Error&& Error::context(std::string_view what) && noexcept {
  if (what.empty()) return std::move(*this);
  best_effort([&] {
    if (!text_) text_.reset(new Text());
    // Without a sentence and an errno the code's name is all there is to tell, and has to stay.
    const std::string_view rest =
        text_->sentences.empty() && errno_ == 0 ? patu::to_string(code_) : std::string_view(text_->sentences);
    std::string joined;
    joined.reserve(what.size() + 2 + rest.size());
    joined += what;
    if (!rest.empty()) joined.append(": ").append(rest);
    text_->sentences = std::move(joined);
  });
  return std::move(*this);
}

Error&& Error::also(const Error& other) && noexcept {
  best_effort([&] {
    std::string addition = "; also " + other.to_string();
    if (!text_) text_.reset(new Text());
    text_->also += addition;
  });
  return std::move(*this);
}

std::string Error::to_string() const {
  std::string out = text_ ? text_->sentences : std::string();
  if (errno_ != 0)
    out += (out.empty() ? "" : ": ") + describe(errno_);
  else if (out.empty())
    out = patu::to_string(code_);
  if (text_) out += text_->also;
  return out;
}

// Out of line, because there are a thousand of each in the library.
Failure fail(Errc code, std::string_view what) noexcept { return Failure(Error(code, what)); }
Failure fail(Errc code, const char* what) noexcept { return Failure(Error(code, what)); }
Failure fail(Errc code, const std::string& what) noexcept { return Failure(Error(code, what)); }
Failure fail(Error&& error) noexcept { return Failure(std::move(error)); }
Failure fail_errno(int err, std::string_view what) noexcept { return Failure(Error::from_errno(err, what)); }
Failure fail_errno(int err, const char* what) noexcept { return Failure(Error::from_errno(err, what)); }
Failure fail_errno(int err, const std::string& what) noexcept { return Failure(Error::from_errno(err, what)); }
Failure fail(Error& error, std::string_view what) noexcept { return Failure(std::move(error).context(what)); }
Failure fail(Error& error, const char* what) noexcept { return Failure(std::move(error).context(what)); }
Failure fail(Error& error, const std::string& what) noexcept { return Failure(std::move(error).context(what)); }

}  // namespace patu
