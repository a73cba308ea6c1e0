// The order in which things are looked at is that of containernetworking/cni, so that errors come with the same codes.
#include "run.hpp"

#include <new>
#include <nlohmann/json.hpp>

#include "call.hpp"
#include "failure.hpp"

namespace cni {
namespace {

std::string_view name_of(std::string_view role) { return role.substr(role.rfind('/') + 1); }

struct Plugin {
  const Role* role;
  Config (*read)(const Json&, const Request&, Reading);
};

Plugin plugin_of(std::string_view role) {
  const std::string_view name = name_of(role);
  if (name == "host-local") return {&kHostLocalRole, read_ipam_config};
  if (name == "loopback") return {&kLoopbackRole, read_loopback_config};
  return {&kBridgeRole, read_config};
}

void refuse_old(Version version, Command command) {
  const auto refuse = [](const char* verb) {
    throw Failure(Code::incompatible_version, std::string("config version does not allow ") + verb);
  };
  if (command == Command::check && version < Version::v0_4_0) refuse("CHECK");
  if (command == Command::gc && version < Version::v1_1_0) refuse("GC");
  if (command == Command::status && version < Version::v1_1_0) refuse("STATUS");
}

// The version that was asked in, where that can be told.
Version version_for_answer(std::string_view input) {
  try {
    return version_of(parse_json(input));
  } catch (const Failure&) {
    return Version::v1_1_0;
  }
}

std::string version_answer(std::string_view input) {
  Json out = Json::object();
  out["cniVersion"] = std::string(to_string(version_for_answer(input)));
  out["supportedVersions"] = supported_versions();
  return to_text(out) + "\n";
}

Outcome failed(Code code, const std::string& message, const std::string& details, std::string_view input) {
  Json out = Json::object();
  out["cniVersion"] = std::string(to_string(version_for_answer(input)));
  out["code"] = static_cast<unsigned>(code);
  out["msg"] = message;
  if (!details.empty()) out["details"] = details;
  return {1, to_text(out) + "\n", {}};
}

Outcome act(const Plugin& plugin, const Call& call) {
  Outcome out;
  switch (call.request.command) {
    case Command::add: {
      const Added added = plugin.role->add(call);
      out.output = to_text(to_json(added.result, call.config.version)) + "\n";
      for (const std::string& remark : added.remarks) out.remarks += remark + "\n";
      break;
    }
    case Command::del: plugin.role->del(call); break;
    case Command::check: plugin.role->check(call); break;
    case Command::gc: plugin.role->gc(call); break;
    case Command::status: plugin.role->status(call); break;
    case Command::version: break;
  }
  return out;
}

Outcome answer(const Plugin& plugin, std::span<const std::string> environment, std::string_view input) {
  Request request = parse_request(environment);
  const Command command = request.command;
  if (command == Command::version) return {0, version_answer(input), {}};
  // What an ADD would refuse must still be taken away.
  const bool takes_away = command == Command::del || command == Command::gc;
  Config config = plugin.read(parse_json(input), request, takes_away ? Reading::lenient : Reading::strict);
  refuse_old(config.version, command);
  return act(plugin, {std::move(request), input, std::move(config)});
}

}  // namespace

Outcome run(std::string_view role, std::span<const std::string> environment, std::string_view input) {
  try {
    return answer(plugin_of(role), environment, input);
  } catch (const Failure& failure) {
    return failed(failure.code(), failure.message(), failure.details(), input);
  } catch (const std::bad_alloc&) {
    return failed(Code::try_again, "out of memory", {}, {});
  } catch (const std::exception& why) {
    return failed(Code::internal, why.what(), {}, input);
  }
}

Outcome unreadable(int error_number) {
  return failed(Code::io, patu::Error::from_errno(error_number, "read the configuration").to_string(), {}, {});
}

std::string about(std::string_view role) {
  std::string text = "CNI plugin " + std::string(name_of(role)) + " of patu " PATU_CNI_VERSION "\n";
  text += "CNI protocol versions supported:";
  for (const auto& version : supported_versions()) text += " " + version.get<std::string>();
  return text + "\n";
}

}  // namespace cni
