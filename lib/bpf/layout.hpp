// Which maps, programs and links an instance has, and where they are pinned: the one table of it.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "bpf/instance.hpp"

namespace patu::bpf {

enum class Component : std::uint8_t {
  pod = PATU_COMPONENT_POD,
  service = PATU_COMPONENT_SERVICE,
  redirect = PATU_COMPONENT_REDIRECT,
  close = PATU_COMPONENTS,  // of no instance: loaded by who needs it, with an instance's maps, and pinned nowhere
};

struct MapSpec {
  MapId id;
  Component component;
  const char* name;
  std::uint32_t type;
  std::uint32_t key_size;
  std::uint32_t value_size;
  std::uint32_t flags;
};

enum class Attach : std::uint8_t {
  port,    // to each pod's interface, by Network
  cgroup,  // a pinned link
  map,     // to `sockets`
};

struct ProgramSpec {
  ProgramId id;
  Component component;
  const char* name;  // in the object, in `bpftool prog list` and as pin
  Attach attach;
  bpf_attach_type type = {};  // of a cgroup program
};

std::span<const MapSpec> map_specs() noexcept;
std::span<const ProgramSpec> program_specs() noexcept;

// Directory of a component below the version's: the redirect part is published by a rename of its own.
std::string component_directory(Component component);
std::string map_pin(const MapSpec& spec);          // "maps/pods"
std::string program_pin(const ProgramSpec& spec);  // "progs/pod_ingress"
std::string link_pin(const ProgramSpec& spec);     // "links/sock4_connect"
std::string chunk_pin(std::uint32_t chunk);        // "slots/000a"

inline constexpr const char* kVersionDirectory = "v1";
static_assert(PATU_MAPS_VERSION == 1);
inline constexpr const char* kStaging = "staging";
inline constexpr const char* kRedirectStaging = "staging_redirect";
inline constexpr const char* kRedirectDirectory = "redirect";
inline constexpr const char* kNewPrefix = "new_";  // a pin that is about to be renamed over the one it replaces

}  // namespace patu::bpf
