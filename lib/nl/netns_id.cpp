// RTM_GETNSID.
#include "nl/netns_id.hpp"

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "base/try.hpp"

namespace patu::nl {

Result<bool> is_netns_alive(Socket& socket, std::int32_t netnsid) {
  Request request(RTM_GETNSID, 0, rtgenmsg{});
  request.put(NETNSA_NSID, netnsid);
  auto answered = socket.batch({&request, 1});
  if (answered) return true;
  // Takes a reference to the namespace, which only one that has users gives.
  if (answered.error().error.os_error() == ENOENT) return false;
  return fail(std::move(answered.error().error));
}

}  // namespace patu::nl
