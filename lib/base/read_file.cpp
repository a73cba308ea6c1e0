// Plain read(2) until the end.
#include "base/read_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/try.hpp"
#include "base/unique_fd.hpp"

namespace patu {

Result<std::string> read_file(const char* path) {
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return PATU_FAIL_ERRNO(std::string("open ") + path);
  std::string out;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got == 0) return out;
    if (got > 0)
      out.append(buffer.data(), static_cast<std::size_t>(got));
    else if (errno != EINTR)
      return PATU_FAIL_ERRNO(std::string("read ") + path);
  }
}

}  // namespace patu
