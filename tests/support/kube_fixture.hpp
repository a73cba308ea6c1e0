// patu-kube in a sandbox: an instance of its own, and pods that tell who was reached.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"
#include "patu/services.hpp"

namespace patu::test {

struct KubeRun {
  int status = -1;
  std::string out;
  std::string err;
};

// In every test an instance of its own, and patu-kube to fill it.
class Kube final {
 public:
  Kube();
  Kube(const Kube&) = delete;
  Kube& operator=(const Kube&) = delete;
  ~Kube();  // unloads the instance

  // `before` is what the shell is to do in front of it: "cat list.json | ".
  KubeRun run(const std::string& arguments, const std::string& before = {}) const;
  KubeRun apply(const std::string& list, const std::string& options = {}) const;
  KubeRun apply_items(const std::vector<nlohmann::json>& items, const std::string& options = {}) const;
  // From the kernel, by the library.
  static std::vector<Service> table();

 private:
  std::string program_;
};

// Pods of the lists: 10.200.0.0/24 and fd00:200::/64 are this namespace's own, and port 80 tells the address that was reached.
// The node has 10.199.0.1.
class KubePods final {
 public:
  KubePods();
  KubePods(const KubePods&) = delete;
  KubePods& operator=(const KubePods&) = delete;
  ~KubePods();

 private:
  void serve() const;

  UniqueFd listener_;
  std::thread thread_;
};

// The pod that a connection by a process in the cgroup ends at; or the errno's name.
std::string reach(const std::string& to);
// Those that 60 connections reach, sorted, with spaces between them.
std::string reached(const std::string& to);

}  // namespace patu::test
