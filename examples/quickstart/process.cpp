// Forks, pipes and sockets.
#include "process.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>
#include <thread>

namespace quickstart {
namespace {

constexpr std::size_t kMessage = 64;
constexpr timeval kPatience{5, 0};

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

void check(bool good, const std::string& what) {
  if (!good) fail(what);
}

void enter(const patu::Netns& netns, const std::string& cgroup) {
  check(::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
  if (!cgroup.empty()) {
    const int fd = ::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
    check(fd >= 0 && ::write(fd, "0", 1) == 1, "enter cgroup " + cgroup);
    ::close(fd);
  }
  check(::setns(netns.fd(), CLONE_NEWNET) == 0, "enter network namespace");
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  check(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe");
  return ends;
}

// A dual-stack listener; an address of IPv4 then is a mapped one of IPv6.
int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int off = 0;
  const int on = 1;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  check(fd >= 0 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0 &&
            ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            ::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0 && ::listen(fd, 1024) == 0,
        "listen on port " + std::to_string(port));
  return fd;
}

void without_delay(int fd) {
  const int on = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);  // some machines' default paces small messages
}

int connect_to(const patu::Endpoint& endpoint) {
  const bool v4 = endpoint.address.is_v4();
  const int fd = ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  check(fd >= 0, "socket");
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  without_delay(fd);
  const auto& bytes = endpoint.address.bytes();
  int done = -1;
  if (v4) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(endpoint.port);
    std::memcpy(&to.sin_addr, bytes.data() + 12, 4);
    done = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
  } else {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(endpoint.port);
    std::memcpy(&to.sin6_addr, bytes.data(), 16);
    done = ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  if (done == 0) return fd;
  ::close(fd);
  return -1;
}

bool send_all(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::send(fd, data, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool receive_all(int fd, char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::recv(fd, data, size, 0);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

void echo(int fd) {
  std::array<char, 65536> buffer;
  for (ssize_t n; (n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;)
    if (!send_all(fd, buffer.data(), static_cast<std::size_t>(n))) break;
  ::close(fd);
}

}  // namespace

pid_t start(const patu::Netns& netns, const std::string& cgroup, const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  check(pid >= 0, "fork");
  if (pid != 0) return pid;
  try {
    enter(netns, cgroup);
    body();
    std::fflush(nullptr);
    ::_exit(0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quickstart: %s\n", error.what());
  }
  ::_exit(1);
}

pid_t start_ready(const patu::Netns& netns, const std::string& cgroup, const std::function<void(const Ready&)>& body) {
  const auto pipe = make_pipe();
  const pid_t pid = start(netns, cgroup, [&] {
    ::close(pipe[0]);
    body([&] { check(::write(pipe[1], "", 1) == 1, "say that it listens"); });
  });
  ::close(pipe[1]);
  char byte = 0;
  const bool listens = ::read(pipe[0], &byte, 1) == 1;
  ::close(pipe[0]);
  if (!listens) throw std::runtime_error("a server in a pod did not start");
  return pid;
}

std::string call(const patu::Netns& netns, const std::string& cgroup, const std::function<std::string()>& body) {
  const auto pipe = make_pipe();
  const pid_t pid = start(netns, cgroup, [&] {
    const std::string out = body();
    check(::write(pipe[1], out.data(), out.size()) == static_cast<ssize_t>(out.size()), "hand over a result");
  });
  ::close(pipe[1]);
  std::string out;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = ::read(pipe[0], buffer.data(), buffer.size())) > 0;)
    out.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) throw std::runtime_error("a process in a pod failed");
  return out;
}

void serve_http(const std::string& name, std::uint16_t port, const Ready& ready) {
  const int listener = listen_on(port);
  ready();
  const std::string body = name + "\n";
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body;
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    std::string request;
    std::array<char, 1024> buffer;
    while (request.size() < 8192 && request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (n <= 0) break;
      request.append(buffer.data(), static_cast<std::size_t>(n));
    }
    if (request.rfind("GET ", 0) == 0) (void)send_all(fd, answer.data(), answer.size());
    ::close(fd);
  }
}

void serve_echo(std::uint16_t port, const Ready& ready) {
  const int listener = listen_on(port);
  pin_to_one_cpu();
  ready();
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    without_delay(fd);
    std::thread(echo, fd).detach();
  }
}

std::string http_get(const patu::Endpoint& endpoint) {
  const int fd = connect_to(endpoint);
  if (fd < 0) return {};
  const std::string request = "GET / HTTP/1.1\r\nHost: " + endpoint.to_string() + "\r\nConnection: close\r\n\r\n";
  std::string answer;
  std::array<char, 1024> buffer;
  if (send_all(fd, request.data(), request.size()))
    for (ssize_t n; (n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;)
      answer.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(fd);
  const std::size_t body = answer.find("\r\n\r\n");
  if (answer.rfind("HTTP/1.1 200", 0) != 0 || body == std::string::npos) return {};
  const std::size_t end = answer.find('\n', body + 4);
  return end == std::string::npos ? std::string() : answer.substr(body + 4, end - body - 4);
}

EchoClient::EchoClient(const patu::Endpoint& endpoint) : fd_(connect_to(endpoint)) {
  check(fd_ >= 0, "connect to " + endpoint.to_string());
}

EchoClient::~EchoClient() { ::close(fd_); }

void EchoClient::measure(int times, std::vector<double>& microseconds) {
  using clock = std::chrono::steady_clock;
  std::array<char, kMessage> sent{};
  std::array<char, kMessage> received{};
  for (int i = 0; i < times; ++i) {
    sent[0] = static_cast<char>(i);
    const auto before = clock::now();
    check(send_all(fd_, sent.data(), sent.size()) && receive_all(fd_, received.data(), received.size()), "round trip");
    microseconds.push_back(std::chrono::duration<double, std::micro>(clock::now() - before).count());
    if (sent != received) throw std::runtime_error("an echo is not what was sent");
  }
}

void pin_to_one_cpu() {
  cpu_set_t allowed;
  check(::sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
  int last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) last = cpu;
  CPU_ZERO(&allowed);
  CPU_SET(last, &allowed);
  check(::sched_setaffinity(0, sizeof allowed, &allowed) == 0, "sched_setaffinity");
}

void make_ordinary_bridge(const patu::Netns& node, const patu::Netns& one, const patu::Netns& other) {
  // By the descriptors' paths: ip(8) inherits none of ours.
  const std::string self = "/proc/" + std::to_string(::getpid()) + "/fd/";
  const std::string in_node = "nsenter --net=" + self + std::to_string(node.fd()) + " ";
  std::string script = in_node + "ip link add br0 type bridge && " + in_node + "ip link set br0 up";
  int number = 0;
  for (const patu::Netns* pod : {&one, &other}) {
    const std::string in_pod = "nsenter --net=" + self + std::to_string(pod->fd()) + " ";
    const std::string host = "host" + std::to_string(++number);
    script += " && " + in_node + "ip link add " + host +
              " numtxqueues 1 numrxqueues 1 type veth peer name eth0 numtxqueues 1 numrxqueues 1 netns " + self +
              std::to_string(pod->fd()) + " && " + in_node + "ip link set " + host + " master br0 up && " + in_pod +
              "ip address add 10.201.0." + std::to_string(number) + "/24 dev eth0 && " + in_pod + "ip link set eth0 up";
  }
  if (std::system(script.c_str()) != 0) throw std::runtime_error("make an ordinary bridge with ip(8)");
}

std::vector<std::string> links_of(const patu::Netns& netns) {
  const std::string text = call(netns, "", [] {
    std::string out;
    struct if_nameindex* links = ::if_nameindex();
    for (auto* link = links; link != nullptr && link->if_index != 0; ++link) out += std::string(link->if_name) + "\n";
    ::if_freenameindex(links);
    return out;
  });
  std::vector<std::string> out;
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    out.push_back(text.substr(at, end - at));
  return out;
}

std::vector<std::string> still_there(const std::vector<std::string>& bpf_objects) {
  constexpr int kPolls = 300;
  std::vector<std::string> out;
  for (int i = 0; i < kPolls; ++i) {
    std::set<std::string> now;
    for (std::uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) now.insert("BPF program " + std::to_string(id));
    for (std::uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;) now.insert("BPF map " + std::to_string(id));
    out.clear();
    for (const std::string& name : bpf_objects)
      if (now.count(name) != 0) out.push_back(name);
    if (out.empty()) break;
    ::usleep(10'000);
  }
  return out;
}

void wait_for_the_end() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int fd = ::signalfd(-1, &signals, SFD_CLOEXEC);
  check(fd >= 0, "signalfd");
  pollfd what[2] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (::poll(what, 2, -1) < 0 && errno == EINTR) {
  }
  ::close(fd);
}

}  // namespace quickstart
