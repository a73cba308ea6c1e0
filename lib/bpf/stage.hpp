// The steps that loading is made of: directories, pins and links of one component.
#pragma once

#include <initializer_list>
#include <string>

#include "bpf/layout.hpp"
#include "bpf/load.hpp"

namespace patu::bpf {

Result<> make_directories(int parent_fd, std::initializer_list<std::string> names);
// Maps, programs and, for programs of a cgroup, links.
Result<> pin_component(const Target& target, int directory_fd, Component component, const Object& object);
Result<UniqueFd> attach_to_cgroup(const Target& target, const ProgramSpec& spec, int program_fd);
bool is_loaded(const Instance& instance, Component component) noexcept;
// Inode number of the cgroup that a program's pinned link is attached to; 0 if the kernel cut it, or if the pin is missing.
Result<std::uint64_t> attached_cgroup(const Instance& instance, ProgramId program);

}  // namespace patu::bpf
