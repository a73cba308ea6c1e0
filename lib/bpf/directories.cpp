// Every component of the path is opened without following links and checked to be the caller's own.
#include "bpf/directories.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/try.hpp"
#include "bpf/pin.hpp"

namespace patu::bpf {
namespace {

constexpr std::size_t kMaxInstanceLength = 32;
constexpr int kAttempts = 100;

using Step = Result<UniqueFd> (*)(int, const std::string&);

Result<Directories> walk(const DatapathOptions& options, Step step) {
  PATU_TRY(validate_instance(options.instance));
  Directories out;
  out.path = options.bpffs + "/patu/" + options.instance;
  PATU_TRY_LET(root, open_bpffs(options.bpffs));
  PATU_TRY_LET(patu, step(root.get(), "patu"), options.bpffs + "/patu");
  PATU_TRY_LET(instance, step(patu.get(), options.instance), out.path);
  out.patu = std::move(patu);
  out.instance = std::move(instance);
  return out;
}

}  // namespace

Result<> validate_instance(const std::string& instance) {
  const bool good = !instance.empty() && instance.size() <= kMaxInstanceLength &&
                    std::all_of(instance.begin(), instance.end(),
                                [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  if (!good) return fail(Errc::invalid_argument, "an instance's name is 1 to 32 of a-z, 0-9 and '-'");
  return {};
}

Result<Directories> open_directories(const DatapathOptions& options) { return walk(options, open_directory); }

Result<Directories> make_directories(const DatapathOptions& options) {
  PATU_TRY(open_bpffs(options.bpffs));
  auto made = walk(options, make_directory);
  // The last unload of another process may remove a directory that we are just in.
  for (int attempt = 1; attempt < kAttempts && !made && made.error().code() == Errc::not_found; ++attempt)
    made = walk(options, make_directory);
  return made;
}

Result<std::optional<FileLock>> lock_instance(const Directories& directories, const DatapathOptions& options) {
  UniqueFd fd(::openat(directories.instance.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    return PATU_FAIL_ERRNO("open " + directories.path);
  }
  PATU_TRY_LET(lock, FileLock::acquire(std::move(fd)), "lock " + directories.path);
  if (!is_same_directory(directories.patu.get(), options.instance, lock.fd())) return std::nullopt;
  return std::optional<FileLock>(std::move(lock));
}

}  // namespace patu::bpf
