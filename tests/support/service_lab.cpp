// AnyIP routes on loopback make addresses cheap.
#include "service_lab.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "bpf/instance.hpp"

namespace patu::test {
namespace {

constexpr const char* kRoutes =
    "ip route replace local 10.128.0.0/10 dev lo && ip -6 route replace local fd00:64::/32 dev lo && "
    "sysctl -qw net.core.somaxconn=16384";

[[noreturn]] void fail_test(const std::string& what) { throw std::runtime_error(what); }

template <class T>
T take(Result<T>&& result) {
  if (!result) fail_test(result.error().to_string());
  return std::move(*result);
}

}  // namespace

UniqueFd listen_everywhere() {
  UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const int off = 0;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(kBackendPort);
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 || ::listen(fd.get(), 16384) != 0)
    fail_test(std::string("listen: ") + std::strerror(errno));
  return fd;
}

ServiceLab::ServiceLab(const DatapathOptions& options, PeerNames names)
    : options_(options), netns_(take(Netns::current())) {
  if (const std::string said = output_of(std::string("(") + kRoutes + ") 2>&1"); !said.empty()) fail_test(said);
  datapath_ = std::make_unique<Datapath>(take(Datapath::open(options)));
  (void)take(
      datapath_->status());  // opens every map, so that what is counted later are descriptors that somebody forgot
  if (names == PeerNames::truth) {
    const std::string links = datapath_->instance()->directory() + "/links/";
    for (const char* link : {"sock4_getpeername", "sock6_getpeername"})
      if (const std::string said = output_of("bpftool link detach pinned " + links + link + " 2>&1"); !said.empty())
        fail_test(said);
  }
  listener_ = listen_everywhere();
}

ServiceLab::~ServiceLab() { (void)Datapath::unload(options_, UnloadMode::force); }

ServiceTable ServiceLab::open_table() const { return take(ServiceTable::open(*datapath_)); }

bool ServiceLab::as_client(const std::function<bool()>& body, unsigned seconds) const {
  return run_in(netns_, true, body, seconds) == 0;
}

pid_t ServiceLab::start_client(const std::function<bool()>& body, unsigned seconds) const {
  return start_in(netns_, true, body, seconds);
}

int ServiceLab::refusal() const {
  return (datapath_->instance()->features() & PATU_FEATURE_SET_RETVAL) != 0 ? ECONNREFUSED : EPERM;
}

std::size_t ServiceLab::entries(const std::string& map) const {
  const std::string pin = datapath_->instance()->directory() + "/maps/" + map;
  return std::stoul(output_of("bpftool -j map dump pinned " + pin + " | grep -o '\"formatted\"' | wc -l"));
}

std::string ServiceLab::dump() const {
  const std::string maps = datapath_->instance()->directory() + "/maps/";
  std::string text;
  for (const char* map : {"frontends", "services", "service_table", "addresses", "counters", "stale"})
    text += output_of("bpftool map dump pinned " + maps + map + " 2>&1");
  return text;
}

std::size_t ServiceLab::chunks() const {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& pin :
       std::filesystem::directory_iterator(datapath_->instance()->directory() + "/slots"))
    ++count;
  return count;
}

UniqueFd new_socket(Socket kind, int type, int protocol) {
  return UniqueFd(::socket(kind == Socket::v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, protocol));
}

SocketAddress address_for(Socket kind, const Endpoint& to) {
  const IpAddress::Bytes& bytes = to.address.bytes();
  SocketAddress out;
  if (kind == Socket::v4) {
    auto& address = reinterpret_cast<sockaddr_in&>(out.storage);
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    std::memcpy(&address.sin_addr, bytes.data() + 12, 4);
    out.size = sizeof address;
  } else {
    auto& address = reinterpret_cast<sockaddr_in6&>(out.storage);
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(to.port);
    std::memcpy(&address.sin6_addr, bytes.data(), 16);
    out.size = sizeof address;
  }
  return out;
}

Endpoint endpoint_of(const SocketAddress& address) {
  if (address.storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address.storage);
    const std::uint32_t a = ntohl(v4.sin_addr.s_addr);
    const auto byte = [&](int shift) { return static_cast<std::uint8_t>(a >> shift); };
    return Endpoint{IpAddress::v4(byte(24), byte(16), byte(8), byte(0)), ntohs(v4.sin_port)};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  IpAddress::Bytes bytes;
  std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
  return Endpoint{IpAddress::from_bytes(bytes), ntohs(v6.sin6_port)};
}

int connect_socket(int socket_fd, Socket kind, const Endpoint& to) {
  const SocketAddress address = address_for(kind, to);
  return ::connect(socket_fd, address.get(), address.size) == 0 ? 0 : errno;
}

std::optional<Endpoint> peer_of(int socket_fd) {
  SocketAddress peer;
  if (::getpeername(socket_fd, peer.get(), &peer.size) != 0) return std::nullopt;
  return endpoint_of(peer);
}

std::optional<Endpoint> local_of(int socket_fd) {
  SocketAddress local;
  if (::getsockname(socket_fd, local.get(), &local.size) != 0) return std::nullopt;
  return endpoint_of(local);
}

Connected connect_once(Socket kind, const Endpoint& to, int listener_fd, int protocol) {
  const UniqueFd socket = new_socket(kind, SOCK_STREAM, protocol);
  if (!socket) return {errno, std::nullopt};
  const linger reset{1, 0};
  (void)::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (const int error = connect_socket(socket.get(), kind, to); error != 0) return {error, std::nullopt};
  const UniqueFd other_end(::accept4(listener_fd, nullptr, nullptr, SOCK_CLOEXEC));
  return {0, peer_of(socket.get())};
}

Socket kind_for(const Endpoint& to) { return to.address.is_v4() ? Socket::v4 : Socket::v6; }

Endpoint endpoint(const std::string& text) { return take(Endpoint::parse(text)); }

Endpoint backend_v4(std::uint32_t n, std::uint16_t port) {
  const auto byte = [&](int shift) { return static_cast<std::uint8_t>(n >> shift); };
  return {IpAddress::v4(10, static_cast<std::uint8_t>(128 | (byte(16) & 0x3f)), byte(8), byte(0)), port};
}

Endpoint backend_v6(std::uint32_t n, std::uint16_t port) {
  IpAddress::Bytes bytes{0xfd, 0, 0, 0x64};
  for (std::size_t i = 0; i < 4; ++i) bytes[15 - i] = static_cast<std::uint8_t>(n >> (8 * i));
  return {IpAddress::from_bytes(bytes), port};
}

std::vector<Backend> backends_v4(std::uint32_t first, std::uint32_t count) {
  std::vector<Backend> out;
  for (std::uint32_t i = 0; i < count; ++i) out.emplace_back(backend_v4(first + i));
  return out;
}

}  // namespace patu::test
