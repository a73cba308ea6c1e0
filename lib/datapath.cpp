// Datapath: what a caller sees of an instance.
#include "patu/datapath.hpp"

#include <charconv>
#include <set>
#include <string_view>

#include "base/read_file.hpp"
#include "base/try.hpp"
#include "bpf/info.hpp"
#include "bpf/layout.hpp"
#include "bpf/loader.hpp"
#include "bpf/stage.hpp"
#include "nl/tc.hpp"

namespace patu {
namespace {

using bpf::Instance;

// What the kernel charges for a map; fdinfo is the only place that tells. 0 where it does not.
std::uint64_t memory_of(int map_fd) {
  constexpr std::string_view kField = "\nmemlock:\t";
  const auto info = read_file(("/proc/thread-self/fdinfo/" + std::to_string(map_fd)).c_str());
  const std::size_t at = info ? info->find(kField) : std::string::npos;
  std::uint64_t bytes = 0;
  if (at != std::string::npos) std::from_chars(info->data() + at + kField.size(), info->data() + info->size(), bytes);
  return bytes;
}

Result<MapStatus> status_of_map(const std::string& name, int map_fd) {
  PATU_TRY_LET(info, bpf::inspect<bpf_map_info>(map_fd, "inspect map " + name));
  return MapStatus{name, info.id, info.max_entries, memory_of(map_fd)};
}

Result<ProgramStatus> status_of_program(const Instance& instance, const bpf::ProgramSpec& spec) {
  PATU_TRY_LET(program, instance.program(spec.id));
  PATU_TRY_LET(info, bpf::inspect<bpf_prog_info>(program.get(), std::string("inspect program ") + spec.name));
  return ProgramStatus{spec.name, info.id, info.xlated_prog_len / static_cast<std::uint32_t>(sizeof(bpf_insn))};
}

std::vector<Feature> features_of(const Instance& instance) {
  const auto has = [&](std::uint32_t feature) { return (instance.features() & feature) != 0; };
  std::vector<Feature> out{
      {"bpf_set_retval", has(PATU_FEATURE_SET_RETVAL),
       has(PATU_FEATURE_SET_RETVAL) ? "a service without backends refuses with ECONNREFUSED"
                                    : "a service without backends refuses with EPERM (Linux < 6.1)"},
      {"SO_NETNS_COOKIE", has(PATU_FEATURE_NETNS_COOKIE),
       has(PATU_FEATURE_NETNS_COOKIE) ? "ties a pod's address to its namespace"
                                      : "socket redirection is impossible without it (Linux < 5.14)"},
  };
  if (!instance.redirect_loaded()) {
    out.push_back({"socket redirection", false, "not loaded: DatapathOptions::socket_redirect was not asked for"});
    return out;
  }
  out.push_back({"socket redirection", true, "the start-up probes passed"});
  out.push_back(
      {"FIONREAD on redirected sockets", has(PATU_FEATURE_FIONREAD_OK),
       has(PATU_FEATURE_FIONREAD_OK)
           ? "counts all bytes"
           : "this kernel counts 0 for bytes that came through TCP to a redirected socket: programs that ask it "
             "(nginx, Java, .NET) should not choose socket redirection"});
  return out;
}

// The program on a pod's interface would live on without its pins. Interfaces of another namespace are out of reach here.
Result<> detach_ports(const Instance& instance) {
  PATU_TRY_LET(meta, instance.meta());
  PATU_TRY_LET(socket, nl::Socket::open());
  const std::uint64_t here = socket.netns_cookie();
  if (here == 0 || here != meta.netns_cookie) return {};
  std::set<std::uint32_t> ports;
  PATU_TRY(instance.pods().visit([&](const patu_addr&, const patu_pod& pod) -> Result<> {
    ports.insert(pod.ifindex);
    return {};
  }));
  if (ports.empty()) return {};
  // If this call ends half-way, the next Network::open puts the programs back.
  meta.ports_build = 0;
  PATU_TRY(instance.put_meta(meta));
  Result<> result;
  for (const std::uint32_t ifindex : ports) {
    auto detached = nl::detach_clsact(socket, ifindex);
    if (detached || detached.error().code() == Errc::not_found) continue;
    Error error = std::move(detached.error()).context("take the pod program off interface " + std::to_string(ifindex));
    result = fail(result ? std::move(error) : std::move(result.error()).also(error));
  }
  return result;
}

}  // namespace

Result<Datapath> Datapath::open(const DatapathOptions& options) {
  PATU_TRY_LET(instance, Instance::open(options), "open data path");
  return Datapath(std::move(instance));
}

Result<Datapath> Datapath::adopt(const DatapathOptions& options) {
  PATU_TRY_LET(instance, Instance::adopt(options), "adopt data path");
  return Datapath(std::move(instance));
}

Result<DatapathStatus> Datapath::status() const {
  DatapathStatus out;
  out.directory = instance_->directory();
  out.socket_redirect_loaded = instance_->redirect_loaded();
  PATU_TRY_LET(settings, instance_->settings(), "read status");
  out.socket_redirect_enabled = out.socket_redirect_loaded && settings.redirect_enabled != 0;
  out.redirect_limit_bytes = settings.redirect_limit_bytes;
  PATU_TRY_LET(cgroup, bpf::attached_cgroup(*instance_, bpf::ProgramId::sock4_connect), "read status");
  out.cgroup_id = cgroup;
  for (const bpf::MapSpec& spec : bpf::map_specs()) {
    if (!bpf::is_loaded(*instance_, spec.component)) continue;
    const auto opened = instance_->open_map(spec.id);
    if (!opened && bpf::may_lack(spec.id, opened.error())) continue;
    PATU_TRY_LET(map, status_of_map(spec.name, instance_->map_fd(spec.id)), "read status");
    out.maps.push_back(std::move(map));
  }
  for (std::uint32_t chunk = 0; chunk < PATU_CHUNKS; ++chunk) {
    auto fd = instance_->open_chunk(chunk);
    if (!fd && fd.error().code() == Errc::not_found) break;  // chunks are made in order
    if (!fd) return fail(std::move(fd.error()).context("read status"));
    PATU_TRY_LET(map, status_of_map(bpf::chunk_pin(chunk), fd->get()), "read status");
    out.maps.push_back(std::move(map));
  }
  for (const bpf::ProgramSpec& spec : bpf::program_specs()) {
    if (!bpf::is_loaded(*instance_, spec.component)) continue;
    PATU_TRY_LET(program, status_of_program(*instance_, spec), "read status");
    out.programs.push_back(std::move(program));
  }
  out.features = features_of(*instance_);
  return out;
}

Result<> Datapath::set_socket_redirect(bool enabled) {
  if (!instance_->redirect_loaded())
    return fail(Errc::unsupported,
                "socket redirection is not loaded: open the data path with DatapathOptions::socket_redirect");
  // Another process may be writing the limit.
  PATU_TRY_LET(ports, instance_->lock_ports(), "switch socket redirection");
  PATU_TRY_LET(settings, instance_->settings());
  settings.redirect_enabled = enabled ? 1 : 0;
  return instance_->put_settings(settings);
}

Result<UnloadReport> Datapath::unload(const DatapathOptions& options, UnloadMode mode) {
  PATU_TRY_LET(removed, bpf::unload_instance(options, mode, detach_ports));
  return UnloadReport{std::move(removed)};
}

}  // namespace patu
