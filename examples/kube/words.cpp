// The words for patu's values, and how two services differ.
#include <algorithm>

#include "lines.hpp"
#include "print.hpp"

namespace kube {
namespace {

// What is in one of the lists and not in the other.
void add_differences(const std::vector<std::string>& before, const std::vector<std::string>& after,
                     std::vector<std::string>& into) {
  const auto missing = [](const std::vector<std::string>& list, const std::string& line) {
    return std::find(list.begin(), list.end(), line) == list.end();
  };
  for (const std::string& line : before)
    if (missing(after, line)) into.push_back("    - " + line);
  for (const std::string& line : after)
    if (missing(before, line)) into.push_back("    + " + line);
}

template <class T, class F>
std::vector<std::string> lines_of(const std::vector<T>& values, F&& line_of) {
  std::vector<std::string> lines;
  for (const T& value : values) lines.push_back(line_of(value));
  return lines;
}

}  // namespace

std::string_view to_string(patu::FrontendKind kind) noexcept {
  switch (kind) {
    case patu::FrontendKind::cluster: return "cluster";
    case patu::FrontendKind::load_balancer: return "load_balancer";
    case patu::FrontendKind::external: return "external";
    case patu::FrontendKind::node_port: return "node_port";
    case patu::FrontendKind::host_port: return "host_port";
  }
  return "unknown";
}

std::string_view to_string(patu::BackendState state) noexcept {
  switch (state) {
    case patu::BackendState::active: return "active";
    case patu::BackendState::terminating: return "terminating";
    case patu::BackendState::maintenance: return "maintenance";
  }
  return "unknown";
}

std::string_view to_string(patu::Explanation::Verdict verdict) noexcept {
  switch (verdict) {
    case patu::Explanation::Verdict::untouched: return "untouched";
    case patu::Explanation::Verdict::translated: return "translated";
    case patu::Explanation::Verdict::refused: return "refused";
  }
  return "unknown";
}

std::string address_of(const patu::Frontend& frontend) {
  return frontend.endpoint.to_string() + "/" + std::string(patu::to_string(frontend.protocol));
}

std::string kind_of(const patu::Frontend& frontend) {
  return std::string(to_string(frontend.kind)) + (frontend.loopback ? ",loopback" : "") +
         (frontend.reserve_port ? ",reserved" : "");
}

std::string state_of(const patu::Backend& backend) {
  return std::string(to_string(backend.state)) + (backend.local ? ",local" : "") +
         (backend.weight == 1 ? "" : ",weight=" + std::to_string(backend.weight));
}

std::string options_of(const patu::Service& service) {
  std::string out;
  const auto add = [&](const std::string& word) { out += (out.empty() ? "" : ",") + word; };
  if (service.affinity_timeout.count() != 0) add("affinity=" + std::to_string(service.affinity_timeout.count()) + "s");
  if (service.internal_policy == patu::TrafficPolicy::local) add("internal=local");
  if (service.close_tcp) add("close_tcp");
  return out;
}

std::vector<std::string> differences(const patu::Service& before, const patu::Service& after) {
  const auto frontend = [](const patu::Frontend& f) { return "frontend " + address_of(f) + " " + kind_of(f); };
  const auto backend = [](const patu::Backend& b) { return "backend " + b.endpoint.to_string() + " " + state_of(b); };
  std::vector<std::string> out;
  add_differences(lines_of(before.frontends, frontend), lines_of(after.frontends, frontend), out);
  add_differences(lines_of(before.backends, backend), lines_of(after.backends, backend), out);
  const auto options = [](const patu::Service& s) {
    return "options " + (options_of(s).empty() ? "none" : options_of(s));
  };
  add_differences({options(before)}, {options(after)}, out);
  return out;
}

}  // namespace kube
