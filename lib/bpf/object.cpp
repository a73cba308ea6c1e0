// The embedded objects by way of libbpf, kept silent: what it would print becomes part of the error.
#include "bpf/object.hpp"

#include <array>
#include <cstring>
#include <span>

#include "base/try.hpp"
#include "bpf/silence.hpp"

#include "close.bpf.h"
#include "pod.bpf.h"
#include "redirect.bpf.h"
#include "service.bpf.h"

namespace patu::bpf {
namespace {

struct Embedded {
  const char* name;
  std::span<const unsigned char> bytes;
  std::uint64_t hash;
};

// In the order of Component.
constexpr std::array kEmbedded{
    Embedded{"pod", pod_object, pod_object_hash},
    Embedded{"service", service_object, service_object_hash},
    Embedded{"redirect", redirect_object, redirect_object_hash},
    Embedded{"close", close_object, close_object_hash},
};

constexpr const Embedded& embedded(Component component) { return kEmbedded[static_cast<std::size_t>(component)]; }

constexpr std::size_t kLogBytes = 64 * 1024;
constexpr std::size_t kQuotedLogLines = 4;

// The end of the verifier's log is where the reason is.
std::string last_words(const std::vector<char>& log) {
  std::string text(log.data(), ::strnlen(log.data(), log.size()));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t at = text.size();
  for (std::size_t lines = 0; lines < kQuotedLogLines && at != std::string::npos && at > 0; ++lines)
    at = text.rfind('\n', at - 1);
  return at == std::string::npos || at == 0 ? text : text.substr(at + 1);
}

// The service programs' only constant, which has to be there before the verifier looks at them.
bool set_constants(bpf_object* object, std::uint32_t features) {
  const std::uint32_t has_set_retval = (features & PATU_FEATURE_SET_RETVAL) != 0 ? 1 : 0;
  bpf_map* constants = bpf_object__find_map_by_name(object, ".rodata");
  return bpf_map__set_initial_value(constants, &has_set_retval, sizeof has_set_retval) == 0;
}

}  // namespace

std::uint64_t build_of(Component component) { return embedded(component).hash; }

Result<Object> Object::open(Component component, std::uint32_t features) {
  auto log = std::make_unique<std::vector<char>>(kLogBytes);
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = embedded(component).name;
  options.kernel_log_buf = log->data();
  options.kernel_log_size = log->size();
  const auto bytes = embedded(component).bytes;
  const Silence silence;
  Object out(component, bpf_object__open_mem(bytes.data(), bytes.size(), &options), std::move(log));
  if (out.object_ == nullptr || (component == Component::service && !set_constants(out.object_.get(), features)))
    return PATU_FAIL_ERRNO(std::string("parse BPF object ") + embedded(component).name);
  return out;
}

Result<> Object::set_max_entries(const char* map, std::uint32_t entries) {
  if (const int err = bpf_map__set_max_entries(bpf_object__find_map_by_name(object_.get(), map), entries); err != 0)
    return fail_errno(err, std::string("size map ") + map);
  return {};
}

Result<> Object::reuse_map(const char* map, int map_fd) {
  if (map_fd < 0) return fail(no_map_error(map_fd));
  const Silence silence;
  if (const int err = bpf_map__reuse_fd(bpf_object__find_map_by_name(object_.get(), map), map_fd); err != 0)
    return fail_errno(err, std::string("reuse map ") + map);
  return {};
}

Result<> Object::load() {
  const Silence silence;
  const int err = -bpf_object__load(object_.get());
  if (err == 0) return {};
  std::string what = std::string("load BPF object ") + embedded(component_).name;
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

int Object::map_fd(const char* map) const noexcept { return bpf_object__find_map_fd_by_name(object_.get(), map); }

int Object::program_fd(const char* program) const noexcept {
  return bpf_program__fd(bpf_object__find_program_by_name(object_.get(), program));
}

}  // namespace patu::bpf
