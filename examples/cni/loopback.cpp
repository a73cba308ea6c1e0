// Two ioctls or one netlink request in a namespace, on a thread that no signal reaches and that ends with the call.
#include "loopback.hpp"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <functional>
#include <system_error>
#include <thread>

#include "failure.hpp"
#include "netlink.hpp"

namespace cni {
namespace {

constexpr char kLoopback[] = "lo";

Failure failed(const std::string& step) { return Failure(patu::Error::from_errno(errno, step)); }

// A thread inherits the mask it is started with.
class SignalsBlocked final {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

std::thread start(const std::function<void()>& work) {
  const SignalsBlocked blocked;
  try {
    return std::thread(work);
  } catch (const std::system_error& error) {  // a limit on processes, such as the cgroup's pids.max
    throw Failure(patu::Error::from_errno(error.code().value(), "start a thread"));
  }
}

void inside(const patu::Netns& netns, const std::function<void()>& work) {
  std::exception_ptr thrown;
  start([&] {
    try {
      if (::setns(netns.fd(), CLONE_NEWNET) != 0) throw failed("enter the network namespace");
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}

ifreq request_for(std::string_view name) noexcept {
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  return request;
}

Descriptor control_socket() {
  Descriptor control(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control) throw failed("open a socket");
  return control;
}

ifreq loopback_flags(const Descriptor& control) {
  ifreq request = request_for(kLoopback);
  if (::ioctl(control.get(), SIOCGIFFLAGS, &request) != 0) throw failed("read the flags of lo");
  return request;
}

bool is_up(const ifreq& loopback) noexcept { return (loopback.ifr_flags & IFF_UP) != 0; }

void set_loopback(const patu::Netns& netns, bool up) {
  inside(netns, [up] {
    const Descriptor control = control_socket();
    ifreq loopback = loopback_flags(control);
    if (is_up(loopback) == up) return;
    loopback.ifr_flags = static_cast<short>(loopback.ifr_flags ^ IFF_UP);
    if (::ioctl(control.get(), SIOCSIFFLAGS, &loopback) != 0) throw failed(up ? "set lo up" : "set lo down");
  });
}

// In the calling thread's namespace; 0 if there is none.
unsigned index_of(const patu::IfName& ifname) {
  const Descriptor control = control_socket();
  ifreq request = request_for(ifname.view());
  if (::ioctl(control.get(), SIOCGIFINDEX, &request) == 0) return static_cast<unsigned>(request.ifr_ifindex);
  if (errno == ENODEV) return 0;
  throw failed("look for interface " + ifname.to_string());
}

// The errno of the kernel's answer.
int delete_link(unsigned index) {
  struct {
    nlmsghdr header;
    ifinfomsg link;
  } request{};
  request.header = {sizeof request, RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0};
  request.link.ifi_index = static_cast<int>(index);
  const Netlink netlink(NETLINK_ROUTE);
  netlink.send(std::as_bytes(std::span(&request, 1)));
  int error = 0;
  netlink.receive([&](const nlmsghdr& answer) {
    if (answer.nlmsg_type != NLMSG_ERROR || answer.nlmsg_seq != 1) return false;
    error = error_of(answer);
    return true;
  });
  return error;
}

}  // namespace

void raise_loopback(const patu::Netns& netns) { set_loopback(netns, true); }
void lower_loopback(const patu::Netns& netns) { set_loopback(netns, false); }

bool is_loopback_up(const patu::Netns& netns) {
  bool up = false;
  inside(netns, [&up] { up = is_up(loopback_flags(control_socket())); });
  return up;
}

void delete_foreign_interface(const patu::Netns& netns, const patu::IfName& ifname) {
  inside(netns, [&ifname] {
    const unsigned index = index_of(ifname);
    if (index == 0) return;
    const int error = delete_link(index);
    // ENODEV: somebody else was faster.
    if (error != 0 && error != ENODEV)
      throw Failure(patu::Error::from_errno(error, "delete interface " + ifname.to_string()));
  });
}

bool has_interface(const patu::Netns& netns, const patu::IfName& ifname) {
  bool found = false;
  inside(netns, [&] { found = index_of(ifname) != 0; });
  return found;
}

}  // namespace cni
