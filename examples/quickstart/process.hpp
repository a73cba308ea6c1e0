// Processes inside of pods: plain sockets, as any program would use them. None of it knows patu.
#pragma once

#include <sys/types.h>
#include <patu/patu.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace quickstart {

// Tells the parent that a server listens.
using Ready = std::function<void()>;

// Forks a child into the namespace and, if it is named, the cgroup. It dies with its parent.
pid_t start(const patu::Netns& netns, const std::string& cgroup, const std::function<void()>& body);
// The same, and returns when the child has called its argument.
pid_t start_ready(const patu::Netns& netns, const std::string& cgroup, const std::function<void(const Ready&)>& body);
// Runs `body` in such a child and returns what it returns, by way of a pipe.
std::string call(const patu::Netns& netns, const std::string& cgroup, const std::function<std::string()>& body);

// Both serve IPv4 and IPv6, and never return.
void serve_http(const std::string& name, std::uint16_t port, const Ready& ready);
void serve_echo(std::uint16_t port, const Ready& ready);

// Body of the answer to GET /, empty if there was none.
std::string http_get(const patu::Endpoint& endpoint);

// Microseconds of so many round trips of 64 bytes; throws if one fails.
class EchoClient {
 public:
  explicit EchoClient(const patu::Endpoint& endpoint);
  ~EchoClient();
  EchoClient(const EchoClient&) = delete;
  EchoClient& operator=(const EchoClient&) = delete;
  void measure(int times, std::vector<double>& microseconds);

 private:
  int fd_;
};

// On one CPU, so that a round trip is work and not waiting for another CPU to wake up.
void pin_to_one_cpu();
// One veth pair each from two new namespaces to an ordinary bridge in a third, made with ip(8); 10.201.0.1 and 10.201.0.2.
void make_ordinary_bridge(const patu::Netns& node, const patu::Netns& one, const patu::Netns& other);
std::vector<std::string> links_of(const patu::Netns& netns);
// Those of "BPF map 12" and "BPF program 34" that the kernel still has after a while: it frees them in the background.
std::vector<std::string> still_there(const std::vector<std::string>& bpf_objects);
void wait_for_the_end();

}  // namespace quickstart
