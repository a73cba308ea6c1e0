// Skeletons by way of libbpf, kept silent: what it would print becomes part of the error.
#include "bpf/object.hpp"

#include <array>
#include <cstring>
#include <mutex>

#include "base/try.hpp"

#include "close.skel.h"
#include "pod.skel.h"
#include "redirect.skel.h"
#include "service.skel.h"

namespace patu::bpf {
namespace {

constexpr std::array kComponentNames{"pod", "service", "redirect", "close"};
constexpr std::size_t kLogBytes = 64 * 1024;
constexpr std::size_t kQuotedLogLines = 4;

// libbpf prints through one function pointer of the whole process. It is borrowed for the moment of a load and given back;
// the lock keeps two loads of ours from giving back each other's.
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

// The end of the verifier's log is where the reason is.
std::string last_words(const std::vector<char>& log) {
  std::string text(log.data(), ::strnlen(log.data(), log.size()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t at = text.size();
  for (std::size_t lines = 0; lines < kQuotedLogLines && at != std::string::npos && at > 0; ++lines)
    at = text.rfind('\n', at - 1);
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

std::uint64_t hash(const void* bytes, std::size_t size) {
  std::uint64_t value = 0xcbf29ce484222325ull;
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (; size >= sizeof(std::uint64_t); at += sizeof(std::uint64_t), size -= sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    value = (value ^ word) * 0x100000001b3ull;
    value ^= value >> 32;
  }
  for (; size > 0; ++at, --size) value = (value ^ *at) * 0x100000001b3ull;
  return value == 0 ? 1 : value;  // 0 stands for "not loaded"
}

}  // namespace

std::uint64_t build_of(Component component) {
  std::size_t size = 0;
  const void* bytes = nullptr;
  switch (component) {
    case Component::pod: bytes = pod_bpf__elf_bytes(&size); break;
    case Component::service: bytes = service_bpf__elf_bytes(&size); break;
    case Component::redirect: bytes = redirect_bpf__elf_bytes(&size); break;
    case Component::close: bytes = close_bpf__elf_bytes(&size); break;
  }
  return hash(bytes, size);
}

Result<Object> Object::open(Component component, std::uint32_t features) {
  auto log = std::make_unique<std::vector<char>>(kLogBytes);
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.kernel_log_buf = log->data();
  options.kernel_log_size = log->size();
  const Silence silence;
  const auto finish = [&](auto* skeleton, void (*destroy)(void*)) -> Result<Object> {
    if (skeleton == nullptr)
      return PATU_FAIL_ERRNO(std::string("parse BPF object ") + kComponentNames[static_cast<std::size_t>(component)]);
    return Object(component, Skeleton(skeleton, destroy), skeleton->obj, std::move(log));
  };
  switch (component) {
    case Component::pod:
      return finish(pod_bpf__open_opts(&options), [](void* s) { pod_bpf__destroy(static_cast<pod_bpf*>(s)); });
    case Component::service: {
      service_bpf* skeleton = service_bpf__open_opts(&options);
      if (skeleton != nullptr) skeleton->rodata->has_set_retval = (features & PATU_FEATURE_SET_RETVAL) != 0 ? 1 : 0;
      return finish(skeleton, [](void* s) { service_bpf__destroy(static_cast<service_bpf*>(s)); });
    }
    case Component::redirect:
      return finish(redirect_bpf__open_opts(&options),
                    [](void* s) { redirect_bpf__destroy(static_cast<redirect_bpf*>(s)); });
    case Component::close:
      return finish(close_bpf__open_opts(&options), [](void* s) { close_bpf__destroy(static_cast<close_bpf*>(s)); });
  }
  return fail(Errc::internal, "no such BPF object");
}

Result<> Object::set_max_entries(const char* map, std::uint32_t entries) {
  if (const int err = bpf_map__set_max_entries(bpf_object__find_map_by_name(object_, map), entries); err != 0)
    return fail_errno(err, std::string("size map ") + map);
  return {};
}

Result<> Object::reuse_map(const char* map, int map_fd) {
  const Silence silence;
  if (const int err = bpf_map__reuse_fd(bpf_object__find_map_by_name(object_, map), map_fd); err != 0)
    return fail_errno(err, std::string("reuse map ") + map);
  return {};
}

Result<> Object::load() {
  const Silence silence;
  const int err = -bpf_object__load(object_);
  if (err == 0) return {};
  std::string what = std::string("load BPF object ") + kComponentNames[static_cast<std::size_t>(component_)];
  if (err == EPERM)
    return fail_errno(err, what +
                               ": CAP_BPF and CAP_NET_ADMIN are needed, for socket redirection CAP_PERFMON, and before "
                               "Linux 5.11 enough RLIMIT_MEMLOCK");
  if (const std::string reason = last_words(*log_); !reason.empty()) what += ": " + reason;
  // kernel: the verifier says EINVAL or EACCES to what it does not know or allow, which for our programs means an old kernel.
  // It says ENOSPC to what it cannot walk to the end, and libbpf ESRCH where the kernel has no BTF (CONFIG_DEBUG_INFO_BTF).
  if (err == ESRCH) what += ": the kernel has no BTF, or lacks a function";
  if (err == EINVAL || err == EACCES || err == ESRCH || err == ENOSPC || err == EFAULT)
    return fail(Error::from_errno(Errc::unsupported, err, what));
  return fail_errno(err, what);
}

int Object::map_fd(const char* map) const noexcept { return bpf_object__find_map_fd_by_name(object_, map); }

int Object::program_fd(const char* program) const noexcept {
  return bpf_program__fd(bpf_object__find_program_by_name(object_, program));
}

}  // namespace patu::bpf
