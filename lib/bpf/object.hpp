// One of the embedded BPF objects: opened, given the maps that exist already, loaded into the kernel.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bpf/layout.hpp"
#include "patu/error.hpp"

namespace patu::bpf {

// Tells one build of an object's programs from another: a hash of the embedded file.
std::uint64_t build_of(Component component);

class [[nodiscard]] Object final {
 public:
  // Parses the embedded file; nothing is in the kernel yet. `features` are those of probe_features().
  static Result<Object> open(Component component, std::uint32_t features);

  Result<> set_max_entries(const char* map, std::uint32_t entries);
  Result<> reuse_map(const char* map, int map_fd);
  // Call on a thread whose signals are blocked. Errors: permission_denied, unsupported with the verifier's last words, io.
  Result<> load();

  int map_fd(const char* map) const noexcept;
  int program_fd(const char* program) const noexcept;

 private:
  struct Close {
    void operator()(bpf_object* object) const noexcept { bpf_object__close(object); }
  };
  Object(Component component, bpf_object* object, std::unique_ptr<std::vector<char>> log) noexcept
      : component_(component), object_(object), log_(std::move(log)) {}

  Component component_;
  std::unique_ptr<bpf_object, Close> object_;
  std::unique_ptr<std::vector<char>> log_;  // the kernel writes to it while it loads
};

}  // namespace patu::bpf
