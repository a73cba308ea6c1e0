// JSON for machines; its fields have the names of the C++ API.
#include <nlohmann/json.hpp>

#include "print.hpp"

namespace kube {
namespace {

using nlohmann::ordered_json;

// Text that is not UTF-8 must not make it throw.
std::string dump(const ordered_json& value) {
  return value.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json object_of(const patu::Frontend& frontend) {
  return {{"endpoint", frontend.endpoint.to_string()},
          {"protocol", patu::to_string(frontend.protocol)},
          {"kind", to_string(frontend.kind)},
          {"loopback", frontend.loopback},
          {"reserve_port", frontend.reserve_port}};
}

ordered_json object_of(const patu::Backend& backend) {
  return {{"endpoint", backend.endpoint.to_string()},
          {"state", to_string(backend.state)},
          {"weight", backend.weight},
          {"local", backend.local}};
}

ordered_json object_of(const Remark& remark) { return {{"object", remark.object}, {"reason", remark.text}}; }
ordered_json object_of(const patu::Service& service);

template <class T>
ordered_json list_of(const std::vector<T>& values) {
  ordered_json list = ordered_json::array();
  for (const T& value : values) list.push_back(object_of(value));
  return list;
}

ordered_json object_of(const patu::Service& service) {
  return {{"name", service.name},
          {"frontends", list_of(service.frontends)},
          {"backends", list_of(service.backends)},
          {"internal_policy", service.internal_policy == patu::TrafficPolicy::local ? "local" : "cluster"},
          {"affinity_timeout", service.affinity_timeout.count()},
          {"close_tcp", service.close_tcp}};
}

}  // namespace

std::string json_of(const std::vector<patu::Service>& services) { return dump(list_of(services)); }

std::string json_of(const Question& question, const patu::Explanation& explanation) {
  ordered_json out = {{"endpoint", question.to.to_string()},
                      {"protocol", patu::to_string(question.protocol)},
                      {"verdict", to_string(explanation.verdict)},
                      {"why", explanation.why},
                      {"service", nullptr},
                      {"frontend", nullptr},
                      {"candidates", list_of(explanation.candidates)},
                      {"preferred", nullptr}};
  if (!explanation.service.empty()) out["service"] = explanation.service;
  if (explanation.frontend) out["frontend"] = object_of(*explanation.frontend);
  if (explanation.preferred) out["preferred"] = explanation.preferred->to_string();
  return dump(out);
}

std::string json_of(const Outcome& outcome) {
  const patu::SyncReport& report = outcome.report;
  ordered_json not_honoured = list_of(outcome.not_honoured);
  for (const patu::RefusedService& refused : report.refused)
    not_honoured.push_back(
        {{"object", refused.name}, {"reason", refused.reason}, {"code", patu::to_string(refused.code)}});
  return dump({{"dry_run", outcome.dry_run},
               {"added", report.added},
               {"changed", report.changed},
               {"removed", report.removed},
               {"unchanged", report.unchanged},
               {"headless", outcome.headless},
               {"external_names", outcome.external_names},
               {"closed_sockets", report.closed.closed},
               {"unreachable_namespaces", report.closed.unreachable},
               {"not_honoured", not_honoured},
               {"notes", list_of(outcome.notes)}});
}

}  // namespace kube
