// A bridge with pods on it, made without the library's Network: a place to try the pod program in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nl/socket.hpp"
#include "patu/netns.hpp"
#include "patu/types.hpp"
#include "pod_program.hpp"

namespace patu::test {

enum class Attachment : std::uint8_t { none, clsact };

struct LabPod {
  Netns netns;
  std::string port;  // the host's end; the pod's is eth0
  std::uint32_t ifindex = 0;
  MacAddress mac;
  IpAddress v4, v6;
};

// Pods are numbered from 0; number n has 10.1.0.(n + 5), fd00:1::(n + 5) and 0a:58:0a:01:00:(n + 5).
class Lab final {
 public:
  static Result<std::unique_ptr<Lab>> make(unsigned pods, Attachment attachment);
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;
  ~Lab();  // removes the bridge; the pods' ends go with their namespaces

  const LabPod& pod(unsigned number) const { return pods_.at(number); }
  PodProgram& program() noexcept { return program_; }
  // Bytes that the host's end has sent into the pod, as sysfs has it.
  std::uint64_t bytes_through_bridge(unsigned number) const;

 private:
  Lab(nl::Socket socket, PodProgram program) noexcept : socket_(std::move(socket)), program_(std::move(program)) {}
  Result<> add_pod(unsigned number, Attachment attachment);

  nl::Socket socket_;
  PodProgram program_;
  std::uint32_t bridge_ = 0;
  std::vector<LabPod> pods_;
};

}  // namespace patu::test
