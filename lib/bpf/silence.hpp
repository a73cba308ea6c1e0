// Keeps libbpf from printing, for a moment.
#pragma once

#include <bpf/libbpf.h>

#include <mutex>

namespace patu::bpf {

// libbpf prints through one function pointer of the whole process. It is borrowed around calls that print when they fail, and
// given back; the lock keeps two of ours from giving back each other's.
class Silence final {
 public:
  Silence() : hold_(mutex()), before_(libbpf_set_print(nullptr)) {}
  ~Silence() { libbpf_set_print(before_); }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex only;
    return only;
  }
  std::lock_guard<std::mutex> hold_;
  libbpf_print_fn_t before_;
};

}  // namespace patu::bpf
