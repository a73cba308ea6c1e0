// A file, pipe or terminal read piece by piece, up to a limit.
#pragma once

#include <array>
#include <cstddef>
#include <streambuf>

namespace kube {

// Ends where the file does, at a read error or beyond the limit; which of them, is asked afterwards.
class Source final : public std::streambuf {
 public:
  // Borrows the descriptor.
  Source(int source_fd, std::size_t limit_bytes) noexcept : fd_(source_fd), limit_(limit_bytes) {}

  int error() const noexcept { return error_; }  // errno, or 0
  bool is_too_long() const noexcept { return too_long_; }
  // Bytes that were taken out of it.
  std::size_t position() const noexcept { return filled_ - static_cast<std::size_t>(egptr() - gptr()); }

 private:
  int_type underflow() override;

  std::array<char, 65536> buffer_;
  int fd_;
  std::size_t limit_;
  std::size_t filled_ = 0;
  int error_ = 0;
  bool too_long_ = false;
};

}  // namespace kube
