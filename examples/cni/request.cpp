// The parameters of each command, checked as containernetworking/cni checks them.
#include "request.hpp"

#include <algorithm>

#include "address_text.hpp"
#include "failure.hpp"

namespace cni {
namespace {

// Of ADD, DEL and CHECK; the others need none. CNI_PATH is missed where something is to be delegated, and not before.
struct Parameter {
  const char* name;
  bool is_optional_for_del;
};
constexpr Parameter kParameters[] = {{"CNI_CONTAINERID", false}, {"CNI_NETNS", true}, {"CNI_IFNAME", false}};

[[noreturn]] void refuse(const std::string& what, std::string details = {}) {
  throw Failure(Code::bad_environment, what, std::move(details));
}

Command parse_command(std::string_view text) {
  if (text == "ADD") return Command::add;
  if (text == "DEL") return Command::del;
  if (text == "CHECK") return Command::check;
  if (text == "GC") return Command::gc;
  if (text == "STATUS") return Command::status;
  if (text == "VERSION") return Command::version;
  refuse("unknown CNI_COMMAND: " + std::string(text));
}

bool is_about_one(Command command) {
  return command == Command::add || command == Command::del || command == Command::check;
}

void require_all(Command command, std::span<const std::string> environment) {
  std::string missing;
  for (const Parameter& parameter : kParameters)
    if (variable(environment, parameter.name).empty() && !(parameter.is_optional_for_del && command == Command::del))
      missing += (missing.empty() ? "" : ",") + std::string(parameter.name);
  if (!missing.empty()) refuse("required env variables [" + missing + "] missing");
}

patu::AttachmentId parse_id(std::string_view container, std::string_view ifname) {
  if (!is_identifier(container)) refuse("CNI_CONTAINERID: invalid characters in container id", std::string(container));
  if (container.size() > patu::AttachmentId::kMaxContainerIdLength) refuse("CNI_CONTAINERID: longer than 128 bytes");
  if (auto name = patu::IfName::parse(ifname); !name) refuse("CNI_IFNAME: " + name.error().to_string());
  auto id = patu::AttachmentId::parse(container, ifname);
  if (!id) refuse("CNI_CONTAINERID: " + id.error().to_string());
  return std::move(*id);
}

// Keys that Kubernetes' runtimes add, about the pod: of no concern.
bool is_about_the_pod(std::string_view key) {
  return key == "K8S_POD_NAME" || key == "K8S_POD_NAMESPACE" || key == "K8S_POD_INFRA_CONTAINER_ID" ||
         key == "K8S_POD_UID";
}

bool parse_bool(std::string_view pair, std::string_view value) {
  std::string lower(value);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (lower == "1" || lower == "true") return true;
  if (lower == "0" || lower == "false") return false;
  refuse("CNI_ARGS: '" + std::string(pair) + "' is neither true nor false");
}

// The value, or a refusal that names the pair.
template <class T>
T value_of(std::string_view pair, patu::Result<T> parsed) {
  if (!parsed) refuse("CNI_ARGS: '" + std::string(pair) + "': " + parsed.error().to_string());
  return *parsed;
}

Arguments parse_arguments(std::string_view text) {
  Arguments out;
  std::string unknown;
  bool ignore_unknown = false;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || pair.find('=', equals + 1) != std::string_view::npos)
      refuse("CNI_ARGS: invalid pair '" + std::string(pair) + "'");
    const std::string_view key = pair.substr(0, equals);
    const std::string_view value = pair.substr(equals + 1);
    if (key == "IgnoreUnknown")
      ignore_unknown = parse_bool(pair, value);
    else if (key == "IP")
      out.ip = value_of(pair, parse_wanted_address(value));
    else if (key == "MAC")
      out.mac = value_of(pair, patu::MacAddress::parse(value));
    else if (!is_about_the_pod(key))
      unknown += (unknown.empty() ? "" : " ") + std::string(pair);
  }
  if (!unknown.empty() && !ignore_unknown) refuse("CNI_ARGS: unknown args [" + unknown + "]");
  return out;
}

}  // namespace

bool is_identifier(std::string_view text) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const auto fits = [&](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; };
  return !text.empty() && is_alphanumeric(text.front()) && std::all_of(text.begin(), text.end(), fits);
}

std::string_view variable(std::span<const std::string> environment, std::string_view name) {
  for (const std::string_view entry : environment)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.substr(0, name.size()) == name)
      return entry.substr(name.size() + 1);
  return {};
}

Request parse_request(std::span<const std::string> environment) {
  Request request;
  request.command = parse_command(variable(environment, "CNI_COMMAND"));
  request.netns = variable(environment, "CNI_NETNS");
  request.path = variable(environment, "CNI_PATH");
  const std::string_view override_netns = variable(environment, "CNI_NETNS_OVERRIDE");
  request.own_netns_allowed = override_netns == "1" || override_netns == "TRUE";
  request.environment.assign(environment.begin(), environment.end());
  if (!is_about_one(request.command)) return request;
  require_all(request.command, environment);
  request.id = parse_id(variable(environment, "CNI_CONTAINERID"), variable(environment, "CNI_IFNAME"));
  // A DEL cleans up, whatever it was that an ADD refused.
  if (request.command != Command::del) request.arguments = parse_arguments(variable(environment, "CNI_ARGS"));
  return request;
}

}  // namespace cni
