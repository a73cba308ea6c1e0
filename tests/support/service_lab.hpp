// Services with real sockets: an instance, one listener behind every backend's address, and clients in the cgroup.
#pragma once

#include <sys/mman.h>

#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "patu/patu.hpp"
#include "sandbox.hpp"
#include "socket_address.hpp"

namespace patu::test {

inline constexpr std::uint16_t kBackendPort = 8080;

// What getpeername(2) tells: by the programs for it the frontend, without them the kernel's truth.
enum class PeerNames : std::uint8_t { truth, as_shipped };

// Every address of 10.128.0.0/10 and fd00:64::/32 belongs to the sandbox itself, and one listener at port 8080 answers for
// all: a backend is whatever the test says, and what a client meets is told by getpeername(2). Frontends have no route.
class ServiceLab {
 public:
  explicit ServiceLab(const DatapathOptions& options = datapath_options(), PeerNames names = PeerNames::truth);
  ServiceLab(const ServiceLab&) = delete;
  ServiceLab& operator=(const ServiceLab&) = delete;
  ~ServiceLab();  // unloads the instance

  ServiceTable open_table() const;
  const Datapath& datapath() const noexcept { return *datapath_; }
  int listener_fd() const noexcept { return listener_.get(); }
  // Runs `body` as a process of the cgroup; true if it returned true.
  bool as_client(const std::function<bool()>& body, unsigned seconds = 60) const;
  pid_t start_client(const std::function<bool()>& body, unsigned seconds = 60) const;
  int refusal() const;  // what connect(2) says where there is no backend: ECONNREFUSED, or EPERM before Linux 6.1
  // By bpftool: elements of a pinned map.
  std::size_t entries(const std::string& map) const;
  // By bpftool: everything that the service maps hold, as text that is equal if they are.
  std::string dump() const;
  std::size_t chunks() const;

 private:
  DatapathOptions options_;
  Netns netns_;
  std::unique_ptr<Datapath> datapath_;
  UniqueFd listener_;
};

// Listens at kBackendPort of every address of the caller's namespace.
UniqueFd listen_everywhere();

enum class Socket : std::uint8_t { v4, v6, mapped };

struct Connected {
  int error = 0;  // errno of connect
  std::optional<Endpoint> peer;
};

SocketAddress address_for(Socket kind, const Endpoint& to);
Endpoint endpoint_of(const SocketAddress& address);

UniqueFd new_socket(Socket kind, int type, int protocol);
int connect_socket(int socket_fd, Socket kind, const Endpoint& to);  // 0 or errno
std::optional<Endpoint> peer_of(int socket_fd);
std::optional<Endpoint> local_of(int socket_fd);
// One TCP connection, reset at once; its other end is taken from the listener, so that nothing piles up.
Connected connect_once(Socket kind, const Endpoint& to, int listener_fd, int protocol = 0);
// For an IPv4 frontend an IPv4 socket.
Socket kind_for(const Endpoint& to);

Endpoint endpoint(const std::string& text);
// Address number n of 10.128.0.0/10, or of fd00:64::/32.
Endpoint backend_v4(std::uint32_t n, std::uint16_t port = kBackendPort);
Endpoint backend_v6(std::uint32_t n, std::uint16_t port = kBackendPort);
std::vector<Backend> backends_v4(std::uint32_t first, std::uint32_t count);

// Memory that forked children share; zero at first.
template <class T>
class Shared final {
 public:
  Shared() : memory_(::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    value_ = new (memory_) T();
  }
  ~Shared() { ::munmap(memory_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const noexcept { return value_; }
  T& operator*() const noexcept { return *value_; }

 private:
  void* memory_;
  T* value_;
};

}  // namespace patu::test
