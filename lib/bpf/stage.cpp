// Pins and cgroup links of one component.
#include "bpf/stage.hpp"

#include <bpf/bpf.h>

#include <cerrno>

#include "base/try.hpp"
#include "bpf/info.hpp"
#include "bpf/pin.hpp"

namespace patu::bpf {
Result<> make_directories(int parent_fd, std::initializer_list<std::string> names) {
  for (const std::string& name : names) PATU_TRY(make_directory(parent_fd, name));
  return {};
}

Result<UniqueFd> attach_to_cgroup(const Target& target, const ProgramSpec& spec, int program_fd) {
  UniqueFd link(bpf_link_create(program_fd, target.cgroup.fd.get(), spec.type, nullptr));
  if (!link) return PATU_FAIL_ERRNO(std::string("attach ") + spec.name + " to cgroup " + target.cgroup.path);
  return link;
}

Result<> pin_component(const Target& target, int directory_fd, Component component, const Object& object) {
  for (const MapSpec& spec : map_specs())
    if (spec.component == component) PATU_TRY(pin(object.map_fd(spec.name), directory_fd, map_pin(spec)));
  for (const ProgramSpec& spec : program_specs()) {
    if (spec.component != component) continue;
    PATU_TRY(pin(object.program_fd(spec.name), directory_fd, program_pin(spec)));
    if (spec.attach != Attach::cgroup) continue;
    PATU_TRY_LET(link, attach_to_cgroup(target, spec, object.program_fd(spec.name)));
    PATU_TRY(pin(link.get(), directory_fd, link_pin(spec)));
  }
  return {};
}

bool is_loaded(const Instance& instance, Component component) noexcept {
  return component != Component::redirect || instance.redirect_loaded();
}

Result<std::uint64_t> attached_cgroup(const Instance& instance, ProgramId program) {
  auto link = instance.link(program);
  if (!link && link.error().code() == Errc::not_found) return std::uint64_t{0};
  if (!link) return fail(std::move(link.error()));
  PATU_TRY_LET(info, inspect<bpf_link_info>(link->get(), "inspect link"));
  if (info.type != BPF_LINK_TYPE_CGROUP) return fail(Errc::version_mismatch, "a pinned link is not one of a cgroup");
  return std::uint64_t{info.cgroup.cgroup_id};
}

}  // namespace patu::bpf
