// Everything around the quick start that is not patu: processes that play pods, their servers and clients, and the clock.
#pragma once

#include <sys/types.h>
#include <patu/patu.hpp>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace quickstart {

// The value, or an exception with the error's text: enough for a program that can only give up.
template <class T>
T take(patu::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().to_string());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

struct Arguments {
  bool json = false;
  bool keep = false;
  // Ends the program for --help and for what it does not know.
  static Arguments parse(int argc, char** argv);
};

struct Pod {
  std::string name;
  patu::Netns netns;
  patu::Attachment attachment;
};

class Pods : public std::vector<Pod> {
 public:
  using std::vector<Pod>::operator[];
  Pod& operator[](const std::string& name);
  std::vector<patu::Backend> backends(std::initializer_list<const char*> names, std::uint16_t port);
  std::vector<patu::AttachmentId> ids() const;
};

struct Answers {
  std::uint32_t sent = 0;
  std::uint32_t answered = 0;
  std::map<std::string, std::uint32_t> per_backend;
};

// Microseconds.
struct Times {
  double p50 = 0;
  double p99 = 0;
};
Times summarise(std::vector<double> microseconds);

struct RoundTrips {
  Times bridge;    // a veth pair each on an ordinary bridge, as every CNI plugin makes it
  Times fastpath;  // pods of patu
  Times redirect;  // pods of patu that chose socket redirection
};

// A client in a pod that asks until it is told to stop.
class Asking {
 public:
  Asking(pid_t pid, int stop_fd, int answers_fd) : pid_(pid), stop_fd_(stop_fd), answers_fd_(answers_fd) {}
  Answers stop();

 private:
  pid_t pid_;
  int stop_fd_;
  int answers_fd_;
};

// A network namespace that plays the node, a mount namespace with a bpffs, and a cgroup for this run. All but the cgroup dies with the process; a cgroup that a killed
// run left behind is removed by the next.
class Stage {
 public:
  explicit Stage(const Arguments& arguments);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  const std::string& bpffs() const { return bpffs_; }
  const std::string& cgroup() const { return cgroup_; }
  const patu::Netns& node() const { return node_; }

  // Processes in the pod: an HTTP server that answers with the pod's name, and TCP echoes.
  void serve(const Pod& pod, std::uint16_t http_port, std::initializer_list<std::uint16_t> echo_ports);
  // Fetches "/" from the frontends in turn, a new connection each time, as a process in the pod.
  Answers fetch(const Pod& pod, const std::vector<patu::Frontend>& frontends, std::uint32_t times);
  Asking ask(const Pod& pod, const std::vector<patu::Frontend>& frontends);
  // 64 bytes there and back, both ends on one CPU, the three ways in turns.
  RoundTrips round_trips(const Pod& client, const Pod& server, std::uint16_t fastpath_port,
                         std::uint16_t redirect_port);

  // With --keep: says how to look around and waits for the end of input or Ctrl-C.
  void keep(const Pods& pods, const patu::DatapathOptions& options);
  void end_servers();
  // What is still there, by name: links, pins, cgroup.
  std::vector<std::string> leftovers();

 private:
  void make_mounts();
  void make_cgroup();

  bool keep_;
  patu::Netns node_;
  std::string bpffs_;
  std::string cgroup_;
  std::vector<pid_t> servers_;
};

}  // namespace quickstart
