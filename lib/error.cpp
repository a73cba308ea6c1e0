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
  best_effort([&] { text_ = std::make_unique<Text>(Text{std::string(what), {}}); });
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

Error::Error(Error&&) noexcept = default;
Error& Error::operator=(Error&&) noexcept = default;
Error::~Error() = default;

Error&& Error::context(std::string_view what) && noexcept {
  if (what.empty()) return std::move(*this);
  best_effort([&] {
    if (!text_) text_ = std::make_unique<Text>();
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
    if (!text_) text_ = std::make_unique<Text>();
    text_->also += addition;
  });
  return std::move(*this);
}

tl::unexpected<Error> hand_on(Error& error) noexcept { return tl::unexpected<Error>(std::move(error)); }

tl::unexpected<Error> hand_on(Error& error, std::string_view what) noexcept {
  return tl::unexpected<Error>(std::move(error).context(what));
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

}  // namespace patu
