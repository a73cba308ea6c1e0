// An open network namespace. Holding one keeps the namespace alive; close it when the verb that needs it is done.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "patu/error.hpp"

namespace patu {

class [[nodiscard]] PATU_API Netns final {
 public:
  // A path such as /run/netns/NAME or /proc/PID/ns/net.
  // Errors: not_found, permission_denied, invalid_argument (not a network namespace), io.
  static Result<Netns> open(const std::string& path);
  // Errors: not_found (no such process), permission_denied, invalid_argument, io.
  static Result<Netns> of_pid(pid_t pid);
  // Duplicates the descriptor; the caller keeps its own. Errors: invalid_argument, io.
  static Result<Netns> from_fd(int netns_fd);
  // The namespace of the calling thread. Errors: io.
  static Result<Netns> current();
  // A new, empty namespace that lives as long as something holds it. The caller's own stays as it is: a thread that ends
  // at once makes it. Errors: permission_denied (needs CAP_SYS_ADMIN), exhausted, io (no descriptor, no thread).
  static Result<Netns> create();

  Netns(Netns&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Netns& operator=(Netns&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Netns();

  // Borrowed; O_CLOEXEC. Good for setns(2) in a thread or process of the caller's own.
  int fd() const noexcept { return fd_; }
  // True if both are the same namespace.
  bool same_as(const Netns& other) const noexcept;
  // The number that the kernel gives each namespace once and never again (SO_NETNS_COOKIE). Needs CAP_SYS_ADMIN to
  // enter the namespace. Errors: unsupported (Linux < 5.14), permission_denied, io.
  Result<std::uint64_t> cookie() const;

 private:
  explicit Netns(int fd) noexcept : fd_(fd) {}
  int fd_;
};

}  // namespace patu
