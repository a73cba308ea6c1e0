// Open the instance, call the service table, print.
#include "commands.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <map>
#include <set>
#include <string_view>

#include "convert.hpp"
#include "node.hpp"
#include "print.hpp"
#include "read.hpp"

namespace kube {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

template <class T>
T take(patu::Result<T> result, const std::string& step) {
  if (!result) fail(std::move(result.error()).context(step).to_string());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// An instance and its table.
struct Opened {
  explicit Opened(patu::Datapath opened)
      : datapath(std::move(opened)), table(take(patu::ServiceTable::open(datapath), "open its services")) {}

  patu::Datapath datapath;
  patu::ServiceTable table;
};

// Loads what is not there.
std::optional<Opened> open_or_load(const Arguments& arguments) {
  return Opened(take(patu::Datapath::open(arguments.datapath), "open instance '" + arguments.datapath.instance + "'"));
}

// Loads nothing: where nothing was ever applied, there is no service. A path that is not there is a mistake.
std::optional<Opened> look(const Arguments& arguments) {
  auto adopted = patu::Datapath::adopt(arguments.datapath);
  const bool is_absent = !adopted && adopted.error().code() == patu::Errc::not_found;
  if (is_absent && ::access(arguments.datapath.bpffs.c_str(), F_OK) == 0) {
    std::fprintf(stderr, "patu-kube: %s\n", adopted.error().to_string().c_str());
    return std::nullopt;
  }
  return Opened(take(std::move(adopted), "look at instance '" + arguments.datapath.instance + "'"));
}

std::vector<patu::Service> services_of(const std::optional<Opened>& opened) {
  if (!opened) return {};
  return take(opened->table.list(), "list services");
}

void say(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int report(const Arguments& arguments, const Outcome& outcome) {
  say(arguments.json ? json_of(outcome) : text_of(outcome));
  const std::string complaints = complaints_of(outcome);
  std::fflush(stdout);
  std::fwrite(complaints.data(), 1, complaints.size(), stderr);
  return outcome.is_complete() ? kDone : kNotAllHonoured;
}

Objects read_file(const std::string& file) {
  const bool is_standard_input = file == "-";
  const int source_fd = is_standard_input ? STDIN_FILENO : ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const std::string name = is_standard_input ? "standard input" : file;
  if (source_fd < 0) fail(patu::Error::from_errno(errno, "open " + name).to_string());
  auto objects = read_objects(source_fd);
  if (!is_standard_input) ::close(source_fd);
  return take(std::move(objects), name);
}

// As kubelet names a node by default.
std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) fail(patu::Error::from_errno(errno, "gethostname").to_string());
  std::string text = name.data();
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// Services about which the list has something unreadable stay as the table has them.
void keep_services(const std::set<std::string>& names, const std::vector<patu::Service>& current,
                   std::vector<patu::Service>& wanted) {
  for (const patu::Service& service : current)
    if (names.count(service.name.substr(0, service.name.find(':'))) != 0) wanted.push_back(service);
}

using ByName = std::map<std::string_view, const patu::Service*>;

ByName by_name(const std::vector<patu::Service>& services) {
  ByName out;
  for (const patu::Service& service : services) out.emplace(service.name, &service);
  return out;
}

std::vector<std::string> describe(const patu::SyncReport& report, const std::vector<patu::Service>& before,
                                  const std::vector<patu::Service>& after) {
  const ByName old_ones = by_name(before);
  const ByName new_ones = by_name(after);
  std::vector<std::string> lines;
  for (const std::string& name : report.added) lines.push_back("+ " + printable(name));
  for (const std::string& name : report.removed) lines.push_back("- " + printable(name));
  for (const std::string& name : report.changed) {
    lines.push_back("~ " + printable(name));
    const auto old_one = old_ones.find(name);
    const auto new_one = new_ones.find(name);
    if (old_one == old_ones.end() || new_one == new_ones.end()) continue;  // it came between the two looks at the table
    for (std::string& line : differences(*old_one->second, *new_one->second)) lines.push_back(std::move(line));
  }
  return lines;
}

// What a sync of a table that is not there would come to.
patu::SyncReport all_added(const std::vector<patu::Service>& services) {
  patu::SyncReport report;
  for (const auto& [name, service] : by_name(services)) report.added.emplace_back(name);
  return report;
}

int apply(const Arguments& arguments) {
  const Objects objects = read_file(arguments.file);
  Conversion wanted = convert(objects, {.node = arguments.node.empty() ? host_name() : arguments.node,
                                        .node_ports_on_loopback = arguments.node_ports_on_loopback,
                                        .reserve_node_ports = arguments.reserve_node_ports});
  if (!arguments.allow_empty && !wanted.services.empty() && objects.slices.empty() && objects.unreadable.empty())
    fail(
        "the list has services and no EndpointSlice, so every service would lose its backends; --allow-empty if it is "
        "meant");
  if (!arguments.allow_empty && wanted.services.empty() && wanted.keep.empty())
    fail("the list has no service, so every service would be removed; --allow-empty if it is meant");
  auto opened = arguments.dry_run ? look(arguments) : open_or_load(arguments);
  std::vector<patu::Service> before;
  if (arguments.dry_run || !wanted.keep.empty()) before = services_of(opened);
  keep_services(wanted.keep, before, wanted.services);
  Outcome outcome{.dry_run = arguments.dry_run,
                  .not_honoured = std::move(wanted.not_honoured),
                  .notes = std::move(wanted.notes),
                  .headless = wanted.headless,
                  .external_names = wanted.external_names};
  const patu::SyncOptions options{.allow_empty = arguments.allow_empty, .dry_run = arguments.dry_run};
  // Nobody else tells patu that the node has got another address since the last time.
  if (!arguments.dry_run) (void)take(opened->table.refresh_node_addresses(), "apply");
  outcome.report = opened ? take(opened->table.sync(wanted.services, options), "apply") : all_added(wanted.services);
  if (arguments.dry_run) outcome.differences = describe(outcome.report, before, wanted.services);
  return report(arguments, outcome);
}

// The services that the names are of; `missing` gets the names that none is of.
std::vector<patu::Service> choose(const std::vector<patu::Service>& services, const std::vector<std::string>& names,
                                  std::vector<std::string>& missing) {
  std::vector<patu::Service> chosen;
  for (const patu::Service& service : services) {
    const auto is_meant = [&](const std::string& name) { return is_of(service.name, name); };
    if (std::any_of(names.begin(), names.end(), is_meant)) chosen.push_back(service);
  }
  for (const std::string& name : names) {
    const auto has_name = [&](const patu::Service& service) { return is_of(service.name, name); };
    if (std::none_of(chosen.begin(), chosen.end(), has_name)) missing.push_back(name);
  }
  return chosen;
}

int list(const Arguments& arguments) {
  std::vector<patu::Service> services = services_of(look(arguments));
  std::vector<std::string> missing;
  if (!arguments.names.empty()) services = choose(services, arguments.names, missing);
  say(arguments.json ? json_of(services) : table_of(services));
  for (const std::string& name : missing) std::fprintf(stderr, "%s: no such service\n", printable(name).c_str());
  return missing.empty() ? kDone : kNotAllHonoured;
}

int explain(const Arguments& arguments) {
  std::optional<patu::Netns> from;
  if (!arguments.netns.empty()) from = take(patu::Netns::open(arguments.netns), "open " + arguments.netns);
  const auto opened = look(arguments);
  const Question question{arguments.to, arguments.protocol};
  patu::Explanation explanation{.why = "no service is there, because the instance is not loaded"};
  if (opened)
    explanation = take(opened->table.explain(arguments.to, arguments.protocol, from ? &*from : nullptr), "explain");
  say(arguments.json ? json_of(question, explanation) : text_of(question, explanation));
  return kDone;
}

int remove(const Arguments& arguments) {
  auto opened = look(arguments);
  Outcome outcome{.dry_run = arguments.dry_run};
  if (arguments.all) {
    const patu::SyncOptions options{.allow_empty = true, .dry_run = arguments.dry_run};
    if (opened) outcome.report = take(opened->table.sync({}, options), "delete");
  } else {
    const std::vector<patu::Service> services = services_of(opened);
    std::vector<std::string> missing;
    for (const patu::Service& service : choose(services, arguments.names, missing)) {
      if (!arguments.dry_run) take(opened->table.remove(service.name), "delete " + service.name);
      outcome.report.removed.push_back(service.name);
    }
    outcome.report.unchanged = services.size() - outcome.report.removed.size();
    for (const std::string& name : missing) outcome.not_honoured.push_back({printable(name), "no such service"});
  }
  if (arguments.dry_run) outcome.differences = describe(outcome.report, {}, {});
  return report(arguments, outcome);
}

}  // namespace

int run(const Arguments& arguments) {
  switch (arguments.command) {
    case Command::apply: return apply(arguments);
    case Command::list: return list(arguments);
    case Command::explain: return explain(arguments);
    case Command::remove: return remove(arguments);
    case Command::help: break;
  }
  say(help_text());
  return kDone;
}

}  // namespace kube
