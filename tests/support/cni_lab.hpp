// A node on which the CNI plugin is called: an instance of its own, pods by name, and what is left behind.
#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "egress_lab.hpp"
#include "json.hpp"

namespace patu::test {

struct Answer {
  int status = -1;
  std::string text;   // as printed
  cni::Json json;     // null if nothing was printed
  unsigned code = 0;  // of the error object

  bool is_done() const { return status == 0; }
  bool says(std::string_view part) const { return text.find(part) != std::string::npos; }
};

class CniLab final {
 public:
  CniLab();
  CniLab(const CniLab&) = delete;
  CniLab& operator=(const CniLab&) = delete;
  ~CniLab();  // the instance, the bridges, the namespaces and the node's nftables rules

  // Makes a namespace of that name; its path.
  std::string pod(const std::string& name);
  static std::string path_of(const std::string& name) { return "/run/netns/" + name; }

  // The configuration of a network with masquerading, in a directory without leases; `keys` on top, null takes one away.
  cni::Json config(const std::string& keys = "{}") const;
  // In this process. `more` are further variables, the first of a name counts.
  Answer call(const std::string& command, const std::string& container, const std::string& keys = "{}",
              const std::vector<std::string>& more = {}) const;
  Answer call_as(const std::string& role, const std::string& command, const std::string& container,
                 const cni::Json& config, const std::vector<std::string>& more = {}) const;
  // The result of an ADD, to hand on as prevResult.
  cni::Json add(const std::string& container, const std::string& keys = "{}") const;
  Answer check(const std::string& container, const cni::Json& previous, const std::string& keys = "{}") const;

  std::string role = "patu-cni";

 private:
  std::vector<std::string> pods_;
};

// Whether the node is as before the first ADD, its bridge and its sysctls apart.
bool is_clean();
std::string addresses_in(const std::string& pod, const std::string& ifname = "eth0");

}  // namespace patu::test
