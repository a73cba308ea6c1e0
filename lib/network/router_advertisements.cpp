// By sysctl, in the bridge's namespace: /proc/sys/net is that of the thread that looks.
#include "network/router_advertisements.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/read_file.hpp"
#include "base/thread.hpp"

namespace patu::network {
namespace {

Result<> write_zero(const std::string& path) {
  auto value = read_file(path.c_str());
  // Without IPv6 there is nothing to be set.
  if (!value && value.error().os_error() == ENOENT) return {};
  if (value && *value == "0\n") return {};
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return PATU_FAIL_ERRNO("open " + path);
  if (::write(fd.get(), "0", 1) != 1) return PATU_FAIL_ERRNO("write " + path);
  return {};
}

}  // namespace

Result<> refuse_router_advertisements(const Node& node) {
  const std::string path = "/proc/sys/net/ipv6/conf/" + node.options.bridge.to_string() + "/accept_ra";
  PATU_TRY_LET(current, Netns::current());
  auto written =
      current.same_as(node.netns) ? write_zero(path) : in_netns(node.netns.fd(), [&] { return write_zero(path); });
  if (written || !node.pools.empty()) return {};
  return written;
}

}  // namespace patu::network
