// Feature probes that try the thing itself, never a version number.
#include "bpf/probe.hpp"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/netns_cookie.hpp"
#include "base/read_file.hpp"
#include "base/try.hpp"
#include "bpf/instance.hpp"

namespace patu::bpf {
namespace {

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The field of this number, counted from 0; single spaces stand between them.
std::string_view field_of(std::string_view line, std::size_t number) {
  for (; number > 0; --number) {
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return {};
    line.remove_prefix(space + 1);
  }
  return line.substr(0, line.find(' '));
}

// Where a cgroup2 hierarchy is mounted from its root; proc(5) has the fields.
Result<std::string> find_cgroup2_mount() {
  PATU_TRY_LET(mounts, read_file("/proc/self/mountinfo"));
  for (std::string_view rest = mounts; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    if (field_of(line, 3) == "/") return unescape(field_of(line, 4));
  }
  return fail(Errc::not_found, "no cgroup2 hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup");
}

}  // namespace

Result<std::uint32_t> probe_features() {
  std::uint32_t features = 0;
  const int retval = libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr);
  if (retval < 0) return fail_errno(retval, "probe bpf_set_retval");
  if (retval == 1) features |= PATU_FEATURE_SET_RETVAL;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return PATU_FAIL_ERRNO("open socket");
  PATU_TRY_LET(cookie, netns_cookie_of(fd.get()));
  if (cookie != 0) features |= PATU_FEATURE_NETNS_COOKIE;
  return features;
}

Result<Cgroup> open_cgroup(const std::string& path) {
  Cgroup cgroup;
  cgroup.path = path;
  if (path.empty()) {
    PATU_TRY_LET(found, find_cgroup2_mount());
    cgroup.path = found;
  }
  cgroup.fd = UniqueFd(::open(cgroup.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.fd) return PATU_FAIL_ERRNO("open cgroup " + cgroup.path);
  struct statfs fs {};
  struct stat st {};
  if (::fstatfs(cgroup.fd.get(), &fs) != 0 || ::fstat(cgroup.fd.get(), &st) != 0)
    return PATU_FAIL_ERRNO("stat cgroup " + cgroup.path);
  if (fs.f_type != CGROUP2_SUPER_MAGIC)
    return fail(Errc::invalid_argument, cgroup.path + " is not a directory of a cgroup2 hierarchy");
  cgroup.id = st.st_ino;
  if (path.empty() && cgroup.id != kRootCgroupId)
    return fail(Errc::invalid_argument, cgroup.path +
                                            " is not the root of the cgroup2 hierarchy but a part of it, as in a "
                                            "container; name the cgroup whose processes shall see the services");
  return cgroup;
}

}  // namespace patu::bpf
