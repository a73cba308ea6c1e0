// What patu-kube says: text for people, JSON for machines.
#pragma once

#include <string>
#include <vector>

#include <patu/services.hpp>

#include "convert.hpp"

namespace kube {

std::string_view to_string(patu::FrontendKind kind) noexcept;   // "cluster", "node_port", …
std::string_view to_string(patu::BackendState state) noexcept;  // "active", …
std::string_view to_string(patu::Explanation::Verdict verdict) noexcept;

// A table: a service has as many lines as it has frontends or backends.
std::string table_of(const std::vector<patu::Service>& services);
std::string json_of(const std::vector<patu::Service>& services);

struct Question {
  patu::Endpoint to;
  patu::Protocol protocol;
};
std::string text_of(const Question& question, const patu::Explanation& explanation);
std::string json_of(const Question& question, const patu::Explanation& explanation);

// What became of a table, or would have.
struct Outcome {
  bool dry_run = false;
  patu::SyncReport report;
  std::vector<Remark> not_honoured;  // besides what the report refused
  std::vector<Remark> notes;
  std::size_t headless = 0;
  std::size_t external_names = 0;
  // Only for a dry run: a line for each difference, such as "+ default/web:http".
  std::vector<std::string> differences;

  bool is_complete() const noexcept { return not_honoured.empty() && report.refused.empty(); }
};
std::string text_of(const Outcome& outcome);
std::string json_of(const Outcome& outcome);
// For standard error, beside either: what was not honoured; empty if everything was.
std::string complaints_of(const Outcome& outcome);

// Lines that say how one service differs from another of the same name: "  + backend 10.200.0.7:80 active".
std::vector<std::string> differences(const patu::Service& before, const patu::Service& after);

}  // namespace kube
