// The role of the plugin loopback, which runtimes call for every pod: sets lo up.
#include "call.hpp"
#include "loopback.hpp"

namespace cni {
namespace {

Added add(const Call& call) {
  const patu::Netns pod = open_pod(call.request);
  raise_loopback(pod);
  Added added;
  if (call.config.previous) {
    added.result = *call.config.previous;
    return added;
  }
  added.result.interfaces.push_back({.name = "lo", .mac = "00:00:00:00:00:00", .sandbox = call.request.netns});
  // The kernel gives it this one always, and ::1 only where the namespace has IPv6.
  added.result.addresses.push_back({.address = {patu::IpAddress::v4(127, 0, 0, 1), 8}, .interface = 0});
  return added;
}

void del(const Call& call) {
  if (const auto pod = find_pod(call.request)) lower_loopback(*pod);
}

void check(const Call& call) {
  if (!is_loopback_up(open_pod(call.request))) throw Failure(Code::check_failed, "lo is down");
}

// Nothing is kept anywhere.
void gc(const Call&) {}
void status(const Call&) {}

}  // namespace

const Role kLoopbackRole{add, del, check, gc, status};

}  // namespace cni
