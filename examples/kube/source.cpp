// Reading is plain read(2), repeated when a signal interrupts it.
#include "source.hpp"

#include <unistd.h>

#include <cerrno>

namespace kube {

Source::int_type Source::underflow() {
  if (error_ != 0 || too_long_) return traits_type::eof();
  ssize_t got = 0;
  do {
    got = ::read(fd_, buffer_.data(), buffer_.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) error_ = errno;
  if (got <= 0) return traits_type::eof();
  filled_ += static_cast<std::size_t>(got);
  too_long_ = filled_ > limit_;
  setg(buffer_.data(), buffer_.data(), buffer_.data() + (too_long_ ? 0 : got));
  return too_long_ ? traits_type::eof() : traits_type::to_int_type(buffer_.front());
}

}  // namespace kube
