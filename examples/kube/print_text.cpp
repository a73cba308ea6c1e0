// Text for people.
#include <algorithm>
#include <array>
#include <map>

#include "lines.hpp"
#include "node.hpp"
#include "print.hpp"

namespace kube {
namespace {

constexpr std::size_t kColumns = 6;
using Row = std::array<std::string, kColumns>;

// Columns as wide as their widest field, two spaces between them, none at the end of a line.
std::string aligned(const std::vector<Row>& rows) {
  std::array<std::size_t, kColumns> widths{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < kColumns; ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < kColumns; ++i) line += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

void add_rows(const patu::Service& service, std::vector<Row>& rows) {
  const std::size_t lines = std::max({service.frontends.size(), service.backends.size(), std::size_t{1}});
  for (std::size_t i = 0; i < lines; ++i) {
    Row row;
    if (i == 0) row = {printable(service.name), "", "", "<none>", "", options_of(service)};
    if (i < service.frontends.size()) {
      row[1] = kind_of(service.frontends[i]);
      row[2] = address_of(service.frontends[i]);
    }
    if (i < service.backends.size()) {
      row[3] = service.backends[i].endpoint.to_string();
      row[4] = state_of(service.backends[i]);
    }
    rows.push_back(std::move(row));
  }
}

// One line for all objects of which the same is to be said.
std::string grouped(const std::vector<Remark>& remarks) {
  std::map<std::string, std::string> by_text;
  for (const Remark& remark : remarks) {
    std::string& objects = by_text[remark.text];
    objects += (objects.empty() ? "" : ", ") + remark.object;
  }
  std::string out;
  for (const auto& [text, objects] : by_text) out += "  " + objects + ": " + text + "\n";
  return out;
}

std::string count(std::size_t number, const std::string& what) { return std::to_string(number) + " " + what; }

}  // namespace

std::string table_of(const std::vector<patu::Service>& services) {
  std::vector<Row> rows = {{"NAME", "KIND", "FRONTEND", "BACKEND", "STATE", "OPTIONS"}};
  for (const patu::Service& service : services) add_rows(service, rows);
  return aligned(rows);
}

std::string text_of(const Question& question, const patu::Explanation& explanation) {
  const patu::Frontend asked{.endpoint = question.to, .protocol = question.protocol};
  std::string out = address_of(asked) + " is " + std::string(to_string(explanation.verdict)) + ": " +
                    printable(explanation.why) + "\n";
  if (!explanation.service.empty()) out += "service    " + printable(explanation.service) + "\n";
  if (explanation.frontend)
    out += "frontend   " + address_of(*explanation.frontend) + " " + kind_of(*explanation.frontend) + "\n";
  for (const patu::Backend& backend : explanation.candidates)
    out += "candidate  " + backend.endpoint.to_string() + " " + state_of(backend) + "\n";
  if (explanation.preferred) out += "affinity   " + explanation.preferred->to_string() + "\n";
  return out;
}

std::string text_of(const Outcome& outcome) {
  std::string out;
  for (const std::string& line : outcome.differences) out += line + "\n";
  const patu::SyncReport& report = outcome.report;
  const std::string would = outcome.dry_run ? "would be " : "";
  out += would + count(report.added.size(), "added, ") + count(report.changed.size(), "changed, ") +
         count(report.removed.size(), "removed, ") + count(report.unchanged, "unchanged, ") +
         count(report.refused.size(), "refused") + "\n";
  if (outcome.headless + outcome.external_names != 0)
    out += "without an address to translate: " + count(outcome.headless, "headless, ") +
           count(outcome.external_names, "ExternalName") + "\n";
  if (report.closed.closed != 0) out += count(report.closed.closed, "sockets to backends that are gone were closed\n");
  if (report.closed.unreachable != 0)
    out += count(report.closed.unreachable, "network namespaces could not be looked into for such sockets\n");
  if (!outcome.notes.empty()) out += "notes:\n" + grouped(outcome.notes);
  return out;
}

std::string complaints_of(const Outcome& outcome) {
  std::vector<Remark> all = outcome.not_honoured;
  for (const patu::RefusedService& refused : outcome.report.refused)
    all.push_back({"service " + printable(refused.name), printable(refused.reason)});
  return all.empty() ? std::string{} : "not honoured:\n" + grouped(all);
}

}  // namespace kube
