// Makes the node and its pods, and reads what the programs counted.
#include "redirect_node.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "raw_map.hpp"
#include "sandbox.hpp"
#include "simple_redirect.skel.h"

namespace patu::test {
namespace {

constexpr const char* kBridge = "patu0";

struct CloseSimple {
  void operator()(simple_redirect_bpf* skeleton) const noexcept { simple_redirect_bpf__destroy(skeleton); }
};
using Simple = std::unique_ptr<simple_redirect_bpf, CloseSimple>;

Simple attach_simple() {
  Simple simple(simple_redirect_bpf__open_and_load());
  REQUIRE(simple);
  const UniqueFd cgroup(::open(cgroup_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  simple->links.simple_sockops = ::bpf_program__attach_cgroup(simple->progs.simple_sockops, cgroup.get());
  REQUIRE(simple->links.simple_sockops != nullptr);
  REQUIRE(::bpf_prog_attach(::bpf_program__fd(simple->progs.simple_skmsg), ::bpf_map__fd(simple->maps.simple_sockets),
                            BPF_SK_MSG_VERDICT, 0) == 0);
  return simple;
}

template <class T>
T must(Result<T> result) {
  if (!result) FAIL(result.error().to_string());
  return std::move(*result);
}

DatapathOptions options_for(Rules rules, NodeLimits limits) {
  DatapathOptions options = datapath_options();
  options.socket_redirect = rules == Rules::patu;
  options.redirect_limit_bytes = limits.bytes;
  options.max_redirected_sockets = limits.sockets;
  return options;
}

NetworkOptions network_options(Rules rules) {
  NetworkOptions options{.bridge = must(IfName::parse(kBridge)), .subnets = {}};
  for (const char* prefix : {"10.200.0.0/24", "fd00:200::/64"}) {
    options.subnets.push_back(Subnet{.prefix = must(Prefix::parse(prefix))});
  }
  options.socket_redirect = rules == Rules::patu;
  if (rules == Rules::patu) options.redirect_excluded_ports = {RedirectNode::kExcludedPort};
  return options;
}

// Says that the pod's addresses belong to its present namespace.
void move_pod_entries(const NodePod& pod) {
  const RawMap<patu_addr, patu_pod> pods("pods");
  for (const IpAddress& address : {pod.v4, pod.v6}) {
    patu_addr key{};
    std::copy(address.bytes().begin(), address.bytes().end(), key.bytes);
    for (auto [owner, entry] : pods.all()) {
      if (std::memcmp(&owner, &key, sizeof key) != 0) continue;
      entry.netns_cookie = must(pod.netns.cookie());
      pods.put(key, entry);
    }
  }
}

void steer(const Netns& netns, const std::string& device) {
  const std::string said = output_in(netns, "unshare -m sh -c 'mount -t sysfs sysfs /mnt && echo 3 > /mnt/class/net/" +
                                                device + "/queues/rx-0/rps_cpus' 2>&1");
  REQUIRE_MESSAGE(said.empty(), said);
}

}  // namespace

struct RedirectNode::State {
  Rules rules;
  Datapath datapath;
  Network network;
  Simple simple;
  UniqueFd streams;
  UniqueFd sockets;
  Netns own;
  std::vector<std::unique_ptr<NodePod>> pods;
  std::vector<Netns> veth_ends;
  std::vector<std::unique_ptr<Wire>> wires;
  std::vector<AttachmentId> ids;
};

RedirectNode::RedirectNode(Rules rules, NodeLimits limits) {
  Datapath datapath = must(Datapath::open(options_for(rules, limits)));
  Network network = must(Network::open(datapath, network_options(rules)));
  state_ = std::make_unique<State>(State{rules,
                                         std::move(datapath),
                                         std::move(network),
                                         nullptr,
                                         UniqueFd(),
                                         UniqueFd(),
                                         must(Netns::current()),
                                         {},
                                         {},
                                         {},
                                         {}});
  if (rules == Rules::simple) {
    state_->simple = attach_simple();
  } else {
    const std::string maps = state_->datapath.status()->directory + "/redirect/maps/";
    state_->streams = UniqueFd(::bpf_obj_get((maps + "streams").c_str()));
    state_->sockets = UniqueFd(::bpf_obj_get((maps + "sockets").c_str()));
    REQUIRE(state_->streams);
    REQUIRE(state_->sockets);
  }
}

RedirectNode::~RedirectNode() {
  state_->wires.clear();
  CHECK(state_->network.detach(state_->ids));
  CHECK(state_->network.remove());
  CHECK(Datapath::unload(options_for(state_->rules, {})));
}

const NodePod& RedirectNode::add_pod(bool chooses_redirection) {
  return attach(must(Netns::create()), chooses_redirection);
}

NodePod& RedirectNode::attach(Netns netns, bool chooses_redirection) {
  const AttachmentId id = must(AttachmentId::parse("pod-" + std::to_string(state_->pods.size() + 1)));
  PodSpec spec{.id = id, .netns = &netns};
  spec.socket_redirect = chooses_redirection && state_->rules == Rules::patu;
  const Attachment attachment = must(state_->network.attach(spec));
  state_->ids.push_back(id);
  state_->pods.push_back(std::make_unique<NodePod>(NodePod{std::move(netns), attachment.addresses.at(0).address,
                                                           attachment.addresses.at(1).address,
                                                           attachment.host_ifname.to_string(), attachment.mac}));
  return *state_->pods.back();
}

const NodePod& RedirectNode::add_pod_behind(WireRules rules) {
  NodePod& pod = attach(must(Netns::create()), true);
  // The veth stays where it is, deaf; the pod's life goes on in another namespace.
  state_->veth_ends.push_back(std::move(pod.netns));
  const Netns& veth_end = state_->veth_ends.back();
  pod.netns = must(Netns::create());
  const std::string deaf = output_in(veth_end, "ip addr flush dev eth0 2>&1; ip -6 addr flush dev eth0 2>&1");
  REQUIRE_MESSAGE(deaf.empty(), deaf);
  state_->wires.push_back(std::make_unique<Wire>(veth_end, pod.netns, pod.mac, std::move(rules)));
  const std::string said =
      output_in(pod.netns, "ip addr add " + pod.v4.to_string() + "/24 dev eth0 2>&1; ip addr add " +
                               pod.v6.to_string() + "/64 dev eth0 nodad 2>&1");
  REQUIRE_MESSAGE(said.empty(), said);
  move_pod_entries(pod);
  return pod;
}

Datapath& RedirectNode::datapath() { return state_->datapath; }

void RedirectNode::check(const std::function<bool()>& body, unsigned seconds) const {
  CHECK_MESSAGE(run_in(state_->own, true, body, seconds) == 0, "the body failed, see stderr");
}

void RedirectNode::check_families(const std::function<bool(const Family&)>& body, unsigned seconds) const {
  for (const Family& family : kFamilies) {
    CAPTURE(family.name);
    check([&] { return body(family); }, seconds);
  }
}

void RedirectNode::steer_packets() const {
  for (const auto& pod : state_->pods) {
    steer(pod->netns, "eth0");
    steer(state_->own, pod->port);
  }
}

std::optional<patu_stream> RedirectNode::stream_of(int socket_fd) const {
  patu_stream stream{};
  if (::bpf_map_lookup_elem(state_->streams.get(), &socket_fd, &stream) != 0) return std::nullopt;
  return stream;
}

std::uint64_t RedirectNode::redirected_bytes(int socket_fd) const {
  const auto stream = stream_of(socket_fd);
  return stream ? stream->sent.bytes : 0;
}

std::uint32_t RedirectNode::state_of(int socket_fd) const {
  const auto stream = stream_of(socket_fd);
  return stream ? stream->state : PATU_STREAM_CONNECTING;
}

void RedirectNode::put_stream(int socket_fd, const patu_stream& stream) const {
  REQUIRE(::bpf_map_update_elem(state_->streams.get(), &socket_fd, &stream, BPF_ANY) == 0);
}

std::size_t RedirectNode::sockets_in_map() const {
  std::size_t count = 0;
  patu_socket_key key{};
  const int fd = state_->sockets.get();
  for (int err = ::bpf_map_get_next_key(fd, nullptr, &key); err == 0; err = ::bpf_map_get_next_key(fd, &key, &key))
    ++count;
  return count;
}

UniqueFd socket_in(const Netns& netns, int family, int flags, int protocol) {
  // Not by a thread: one that still ends while this one connects shares its descriptors, and is a reason not to redirect.
  const Netns back = must(Netns::current());
  REQUIRE(::setns(netns.fd(), CLONE_NEWNET) == 0);
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, protocol));
  REQUIRE(::setns(back.fd(), CLONE_NEWNET) == 0);
  return fd;
}

SocketAddress socket_address(int family, const IpAddress& address, std::uint16_t port) {
  SocketAddress out;
  if (family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address.bytes().data() + 12, 4);
    out.size = sizeof v4;
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address.bytes().data(), 16);
    out.size = sizeof v6;
  }
  out.storage.ss_family = static_cast<sa_family_t>(family);
  return out;
}

const IpAddress& address_of(const NodePod& pod, const Family& family) { return family.v6 ? pod.v6 : pod.v4; }

std::uint16_t port_of(int socket_fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  // The port lies at the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Listening listen_in(const NodePod& pod, const Family& family, std::uint16_t port) {
  Listening out{socket_in(pod.netns, family.server), port};
  set_option(out.fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  // A wildcard in IPv6 is dual-stack.
  const IpAddress any = family.server == AF_INET ? IpAddress::v4(0, 0, 0, 0) : IpAddress();
  const SocketAddress at = socket_address(family.server, any, port);
  if (::bind(out.fd.get(), at.get(), at.size) != 0 || ::listen(out.fd.get(), 4096) != 0) return {};
  out.port = port_of(out.fd.get());
  return out;
}

UniqueFd accept_one(const Listening& listener) {
  pollfd ready{.fd = listener.fd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&ready, 1, 10'000) != 1) return {};
  UniqueFd fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  set_patience(fd.get());
  return fd;
}

Connection connect_pods(const NodePod& client, const NodePod& server, const Family& family, std::uint16_t port,
                        std::uint16_t client_port) {
  const Listening listener = listen_in(server, family, port);
  if (!listener.fd) return {};
  Connection out;
  out.client = socket_in(client.netns, family.client);
  set_patience(out.client.get());
  if (client_port != 0) {
    set_option(out.client.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    const SocketAddress from = socket_address(family.client, address_of(client, family), client_port);
    if (::bind(out.client.get(), from.get(), from.size) != 0) return {};
  }
  const SocketAddress to = socket_address(family.client, address_of(server, family), listener.port);
  if (::connect(out.client.get(), to.get(), to.size) != 0) return {};
  out.server = accept_one(listener);
  return out;
}

void set_patience(int fd, int seconds) {
  const timeval patience{.tv_sec = seconds, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

void set_blocking(int fd, bool blocking) {
  const int flags = ::fcntl(fd, F_GETFL);
  ::fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

bool set_option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

bool send_all(int fd, const std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t sent = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<std::size_t>(sent);
  }
  return true;
}

namespace {

// One recv(2), of what is there or comes within 10 s; 0 at the end, less on failure.
ssize_t receive_some(int fd, char* to, std::size_t most) {
  for (;;) {
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 10'000) != 1) return -1;
    const ssize_t got = ::recv(fd, to, most, MSG_DONTWAIT);
    if (got >= 0 || errno != EAGAIN) return got;
  }
}

}  // namespace

std::string receive_exactly(int fd, std::size_t bytes) {
  std::string out(bytes, '\0');
  std::size_t at = 0;
  while (at < bytes) {
    const ssize_t got = receive_some(fd, out.data() + at, bytes - at);
    if (got <= 0) break;
    at += static_cast<std::size_t>(got);
  }
  out.resize(at);
  return out;
}

std::string receive_to_end(int fd) {
  std::string out;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = receive_some(fd, buffer.data(), buffer.size());
    if (got <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

bool exchange_once(const Connection& connection) {
  return send_all(connection.client.get(), "question") && receive_exactly(connection.server.get(), 8) == "question" &&
         send_all(connection.server.get(), "answer") && receive_exactly(connection.client.get(), 6) == "answer";
}

std::uint64_t tcp_bytes_sent(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
  return info.tcpi_bytes_sent;
}

char byte_at(std::uint64_t position) {
  // Differs at distances that blocks of any usual size have.
  return static_cast<char>((position * 0x9e3779b97f4a7c15ull) >> 56);
}

std::string bytes_at(std::uint64_t position, std::size_t count) {
  std::string out(count, '\0');
  for (std::size_t i = 0; i < count; ++i) out[i] = byte_at(position + i);
  return out;
}

}  // namespace patu::test
