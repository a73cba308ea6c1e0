// A fresh instance is built in a staging directory and appears with one rename; socket redirection with another.
#include "bpf/load.hpp"

#include <bpf/bpf.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/try.hpp"
#include "bpf/layout.hpp"
#include "bpf/pin.hpp"
#include "bpf/redirect_probe.hpp"
#include "bpf/stage.hpp"

namespace patu::bpf {
namespace {

constexpr std::uint32_t kSmallestLimit = 256u << 10;
constexpr std::uint32_t kLargestLimit = 4u << 20;
constexpr std::uint64_t kShareOfMemory = 256;
constexpr std::uint32_t kLargestService = 2 * PATU_MAX_BACKENDS;  // of TCP and UDP: it can always be removed
constexpr std::uint32_t kEventBytes = 16u << 10;                  // and a page at least

std::uint32_t redirect_limit(const DatapathOptions& options) {
  if (options.redirect_limit_bytes != 0) return options.redirect_limit_bytes;
  struct sysinfo machine {};
  if (::sysinfo(&machine) != 0) return kSmallestLimit;
  const std::uint64_t share = std::uint64_t{machine.totalram} * machine.mem_unit / kShareOfMemory;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(share, kSmallestLimit, kLargestLimit));
}

std::uint32_t max_entries(const DatapathOptions& options, MapId map) {
  switch (map) {
    case MapId::pods: return 3 * options.max_pods;  // IPv4, IPv6 and link-local
    case MapId::leases:
    case MapId::released: return 2 * options.max_pods;
    case MapId::attachments: return options.max_pods;
    case MapId::frontends:
    case MapId::services:
    case MapId::addresses:
    case MapId::counters: return 2 * options.max_services;
    case MapId::affinity: return 4 * options.max_pods;
    case MapId::exempt: return options.max_pods;
    case MapId::stale: return std::max<std::uint32_t>(options.max_services, kLargestService);
    case MapId::events: return std::max<std::uint32_t>(kEventBytes, static_cast<std::uint32_t>(::getpagesize()));
    case MapId::sockets: return options.max_redirected_sockets;
    default: return 0;  // as declared
  }
}

Result<Object> open_sized(const DatapathOptions& options, Component component, std::uint32_t features) {
  PATU_TRY_LET(object, Object::open(component, features));
  for (const MapSpec& spec : map_specs()) {
    const std::uint32_t entries = max_entries(options, spec.id);
    if (spec.component == component && entries != 0) PATU_TRY(object.set_max_entries(spec.name, entries));
  }
  return std::move(object);
}

Result<> write_first_values(const Target& target, const Object& pod, std::uint32_t features) {
  patu_meta meta{};
  meta.magic = PATU_MAGIC;
  meta.version = PATU_MAPS_VERSION;
  meta.features = features;
  for (const Component component : {Component::pod, Component::service})
    meta.build[static_cast<std::size_t>(component)] = build_of(component);
  PATU_TRY(Element<patu_meta>(pod.map_fd("meta"), "meta").put(meta));
  patu_settings settings{};
  settings.redirect_enabled = 1;
  settings.redirect_limit_bytes = redirect_limit(target.options);
  return Element<patu_settings>(pod.map_fd("settings"), "settings").put(settings);
}

// What an adopted instance has stays, unless the caller names another limit.
Result<> write_limit(const DatapathOptions& options, int settings_fd) {
  if (options.redirect_limit_bytes == 0) return {};
  const Element<patu_settings> element(settings_fd, "settings");
  PATU_TRY_LET(settings, element.get());
  settings.redirect_limit_bytes = options.redirect_limit_bytes;
  return element.put(settings);
}

// The maps of the pod component that the redirect programs use.
struct SharedMaps {
  int meta_fd;
  int pods_fd;
  int settings_fd;
};

Result<> attach_to_sockets(const Object& object, int sockets_fd) {
  if (bpf_prog_attach(object.program_fd("patu_skmsg"), sockets_fd, BPF_SK_MSG_VERDICT, 0) != 0)
    return PATU_FAIL_ERRNO("attach patu_skmsg to map sockets");
  return {};
}

// With maps of its own: nobody sees the trial's addresses, and nothing of it stays.
Result<> try_redirect(std::uint32_t& features) {
  PATU_TRY_LET(object, Object::open(Component::redirect, features));
  PATU_TRY(object.load());
  PATU_TRY(attach_to_sockets(object, object.map_fd("sockets")));
  patu_settings settings{};
  settings.redirect_enabled = 1;
  settings.redirect_limit_bytes = kLargestLimit;
  PATU_TRY(Element<patu_settings>(object.map_fd("settings"), "settings").put(settings));
  PATU_TRY_LET(
      found,
      probe_redirect(
          {.sockets = object.map_fd("sockets"), .streams = object.map_fd("streams"), .pods = object.map_fd("pods")}),
      "try socket redirection");
  if (!found.delivers || !found.charges)
    return fail(Errc::unsupported, "socket redirection is not safe on this kernel: " + found.detail);
  features |= PATU_FEATURE_REDIRECT;
  if (found.fionread_ok) features |= PATU_FEATURE_FIONREAD_OK;
  return {};
}

// Tries, loads and pins socket redirection in a directory that does not count yet.
Result<> stage_redirect(const Target& target, const SharedMaps& shared, int parent_fd, const char* name) {
  const Element<patu_meta> element(shared.meta_fd, "meta");
  PATU_TRY_LET(meta, element.get());
  PATU_TRY(try_redirect(meta.features));
  PATU_TRY_LET(object, open_sized(target.options, Component::redirect, meta.features));
  PATU_TRY(object.reuse_map("pods", shared.pods_fd));
  PATU_TRY(object.reuse_map("settings", shared.settings_fd));
  PATU_TRY(object.load());
  PATU_TRY(attach_to_sockets(object, object.map_fd("sockets")));
  PATU_TRY_LET(staging, make_directory(parent_fd, name));
  PATU_TRY(make_directories(staging.get(), {"maps", "progs", "links"}));
  PATU_TRY(pin_component(target, staging.get(), Component::redirect, object));
  meta.build[PATU_COMPONENT_REDIRECT] = build_of(Component::redirect);
  PATU_TRY(element.put(meta));
  return write_limit(target.options, shared.settings_fd);
}

Result<> stage_core(const Target& target, Object& pod, Object& service) {
  PATU_TRY_LET(staging, make_directory(target.instance_fd, kStaging));
  PATU_TRY(make_directories(staging.get(), {"maps", "progs", "links", "slots", "locks"}));
  PATU_TRY(make_directories(staging.get(), {"locks/services", "locks/ports", "locks/events"}));
  for (std::uint32_t shard = 0; shard < Instance::kShards; ++shard)
    PATU_TRY(make_directories(staging.get(), {Instance::shard_lock(shard)}));
  PATU_TRY(pin_component(target, staging.get(), Component::pod, pod));
  return pin_component(target, staging.get(), Component::service, service);
}

Result<> upgrade_program(const Instance& instance, const ProgramSpec& spec, const Object& object) {
  const int program_fd = object.program_fd(spec.name);
  if (spec.attach == Attach::cgroup) {
    // kernel: ENOLINK once the cgroup is gone. mend_links makes a new link then, and where its pin is missing.
    auto link = instance.link(spec.id);
    if (!link && link.error().code() != Errc::not_found) return fail(std::move(link.error()));
    if (link && bpf_link_update(link->get(), program_fd, nullptr) != 0 && errno != ENOLINK)
      return PATU_FAIL_ERRNO(std::string("update link ") + spec.name);
  }
  if (spec.attach == Attach::map) {
    PATU_TRY_LET(sockets_fd, instance.open_map(MapId::sockets));
    PATU_TRY(attach_to_sockets(object, sockets_fd));
  }
  return pin_over(program_fd, instance.directory_fd(), component_directory(spec.component) + "progs/", spec.name);
}

Result<> upgrade_component(const Instance& instance, Component component, patu_meta& meta) {
  PATU_TRY_LET(object, Object::open(component, meta.features));
  const MapSpec* added = nullptr;
  for (const MapSpec& spec : map_specs()) {
    const bool shared = spec.id == MapId::pods || spec.id == MapId::settings;
    if (spec.component != component && !(component == Component::redirect && shared)) continue;
    auto opened = instance.open_map(spec.id);
    if (!opened && may_lack(spec.id, opened.error())) {
      added = &spec;
      continue;
    }
    if (!opened) return fail(std::move(opened.error()));
    PATU_TRY(object.reuse_map(spec.name, *opened));
  }
  PATU_TRY(object.load());
  if (added != nullptr) PATU_TRY(pin(object.map_fd(added->name), instance.directory_fd(), map_pin(*added)));
  for (const ProgramSpec& spec : program_specs())
    if (spec.component == component) PATU_TRY(upgrade_program(instance, spec, object));
  meta.build[static_cast<std::size_t>(component)] = build_of(component);
  return instance.put_meta(meta);
}

// A cgroup that is removed takes its links' effect with it; what is pinned then is a dead link.
Result<> mend_links(const Target& target, const Instance& instance) {
  // Backwards, while unload detaches forwards: where a killed process stopped, the first of a component is not attached.
  for (std::size_t i = program_specs().size(); i-- > 0;) {
    const ProgramSpec& spec = program_specs()[i];
    if (spec.attach != Attach::cgroup || !is_loaded(instance, spec.component)) continue;
    PATU_TRY_LET(attached, attached_cgroup(instance, spec.id));
    if (attached != 0) continue;
    PATU_TRY_LET(program, instance.program(spec.id));
    PATU_TRY_LET(link, attach_to_cgroup(target, spec, program.get()));
    PATU_TRY(pin_over(link.get(), instance.directory_fd(), component_directory(spec.component) + "links/", spec.name));
  }
  return {};
}

// Errors: invalid_argument (to another cgroup).
Result<bool> is_attached(const Target& target, const Instance& instance, const ProgramSpec& spec) {
  PATU_TRY_LET(attached, attached_cgroup(instance, spec.id));
  if (attached != 0 && attached != target.cgroup.id)
    return fail(Errc::invalid_argument, "the instance is attached to the cgroup with inode " +
                                            std::to_string(attached) + ", not to " + target.cgroup.path);
  return attached != 0;
}

// Where the first link of a component is attached all are, but for a pin that somebody removed: the kernel cuts all links of a
// cgroup that goes away under one lock, and mend_links makes the first one last.
Result<bool> are_attached(const Target& target, const Instance& instance) {
  bool first = true;
  for (const ProgramSpec& spec : program_specs()) {
    if (spec.attach != Attach::cgroup || spec.component != Component::service) continue;
    PATU_TRY_LET(there, std::exchange(first, false)
                            ? is_attached(target, instance, spec)
                            : exists(instance.directory_fd(), component_directory(spec.component) + link_pin(spec)));
    if (there) continue;
    // First of all: an instance is never spread over two cgroups.
    for (const ProgramSpec& one : program_specs())
      if (one.attach == Attach::cgroup && is_loaded(instance, one.component))
        PATU_TRY(is_attached(target, instance, one));
    return false;
  }
  if (!instance.redirect_loaded()) return true;
  return is_attached(target, instance, program_specs()[static_cast<std::size_t>(ProgramId::sockops)]);
}

}  // namespace

Result<> clean_staging(const Target& target) {
  PATU_TRY(remove_tree(target.instance_fd, kStaging, kStaging, nullptr));
  return remove_tree(target.instance_fd, kRedirectStaging, kRedirectStaging, nullptr);
}

Result<> refuse_other_versions(const Target& target) {
  PATU_TRY_LET(names, entries(target.instance_fd));
  for (const std::string& name : names)
    if (name != kVersionDirectory)
      return fail(Errc::version_mismatch, "layout " + name + " is pinned there and this patu speaks " +
                                              kVersionDirectory + "; unload the instance with the patu that made it");
  return {};
}

Result<> load_all(const Target& target) {
  PATU_TRY_LET(features, probe_features());
  PATU_TRY_LET(pod, open_sized(target.options, Component::pod, features));
  PATU_TRY(pod.load());
  PATU_TRY_LET(service, open_sized(target.options, Component::service, features));
  PATU_TRY(service.load());
  PATU_TRY(write_first_values(target, pod, features));
  PATU_TRY(stage_core(target, pod, service));
  if (target.options.socket_redirect) {
    PATU_TRY_LET(staging, open_directory(target.instance_fd, kStaging));
    const SharedMaps shared{pod.map_fd("meta"), pod.map_fd("pods"), pod.map_fd("settings")};
    PATU_TRY(stage_redirect(target, shared, staging.get(), kRedirectDirectory));
  }
  return rename(target.instance_fd, kStaging, target.instance_fd, kVersionDirectory);
}

Result<> upgrade(const Target& target, Instance& instance) {
  // Others write meta under this lock.
  PATU_TRY_LET(ports, instance.lock_ports());
  PATU_TRY_LET(meta, instance.meta());
  for (const Component component : {Component::pod, Component::service, Component::redirect}) {
    if (is_loaded(instance, component) && meta.build[static_cast<std::size_t>(component)] != build_of(component))
      PATU_TRY(upgrade_component(instance, component, meta), "upgrade");
  }
  PATU_TRY(mend_links(target, instance));
  if (!target.options.socket_redirect || instance.redirect_loaded()) return {};
  const SharedMaps shared{instance.map_fd(MapId::meta), instance.map_fd(MapId::pods), instance.map_fd(MapId::settings)};
  PATU_TRY(stage_redirect(target, shared, target.instance_fd, kRedirectStaging));
  return rename(target.instance_fd, kRedirectStaging, instance.directory_fd(), kRedirectDirectory);
}

Result<bool> is_current(const Target& target, const Instance& instance) {
  PATU_TRY_LET(attached, are_attached(target, instance));
  bool current = attached && (!target.options.socket_redirect || instance.redirect_loaded());
  PATU_TRY_LET(meta, instance.meta());
  for (const Component component : {Component::pod, Component::service, Component::redirect})
    if (is_loaded(instance, component) && meta.build[static_cast<std::size_t>(component)] != build_of(component))
      current = false;
  return current;
}

}  // namespace patu::bpf
