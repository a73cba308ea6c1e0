// The tables, made from the same macros as the programs' maps.
#include "bpf/layout.hpp"

#include <linux/bpf.h>

#include <array>
#include <cstdio>

namespace patu::bpf {
namespace {

#define PATU_POD_ROW(name, type, key, value, entries, flags) \
  MapSpec{MapId::name, Component::pod, #name, type, sizeof(key), sizeof(value), flags},
#define PATU_SERVICE_ROW(name, type, key, value, entries, flags) \
  MapSpec{MapId::name, Component::service, #name, type, sizeof(key), sizeof(value), flags},
#define PATU_REDIRECT_ROW(name, type, key, value, entries, flags) \
  MapSpec{MapId::name, Component::redirect, #name, type, sizeof(key), sizeof(value), flags},

constexpr std::array kMaps{
    PATU_POD_MAPS(PATU_POD_ROW)          //
    PATU_SERVICE_MAPS(PATU_SERVICE_ROW)  //
    MapSpec{MapId::slots, Component::service, "slots", BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 0},
    MapSpec{MapId::events, Component::service, "events", BPF_MAP_TYPE_RINGBUF, 0, 0, 0},
    PATU_REDIRECT_MAPS(PATU_REDIRECT_ROW)  //
    MapSpec{MapId::sockets, Component::redirect, "sockets", BPF_MAP_TYPE_SOCKHASH, sizeof(patu_socket_key), 4, 0},
    MapSpec{MapId::streams, Component::redirect, "streams", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(patu_stream),
            BPF_F_NO_PREALLOC},
};
static_assert(kMaps.size() == kMapCount);

constexpr std::array kPrograms{
    ProgramSpec{ProgramId::pod_ingress, Component::pod, "pod_ingress", Attach::port},
    ProgramSpec{ProgramId::sock4_connect, Component::service, "sock4_connect", Attach::cgroup,
                BPF_CGROUP_INET4_CONNECT},
    ProgramSpec{ProgramId::sock6_connect, Component::service, "sock6_connect", Attach::cgroup,
                BPF_CGROUP_INET6_CONNECT},
    ProgramSpec{ProgramId::sock4_sendmsg, Component::service, "sock4_sendmsg", Attach::cgroup, BPF_CGROUP_UDP4_SENDMSG},
    ProgramSpec{ProgramId::sock6_sendmsg, Component::service, "sock6_sendmsg", Attach::cgroup, BPF_CGROUP_UDP6_SENDMSG},
    ProgramSpec{ProgramId::sock4_recvmsg, Component::service, "sock4_recvmsg", Attach::cgroup, BPF_CGROUP_UDP4_RECVMSG},
    ProgramSpec{ProgramId::sock6_recvmsg, Component::service, "sock6_recvmsg", Attach::cgroup, BPF_CGROUP_UDP6_RECVMSG},
    ProgramSpec{ProgramId::sock4_getpeername, Component::service, "sock4_getpeername", Attach::cgroup,
                BPF_CGROUP_INET4_GETPEERNAME},
    ProgramSpec{ProgramId::sock6_getpeername, Component::service, "sock6_getpeername", Attach::cgroup,
                BPF_CGROUP_INET6_GETPEERNAME},
    ProgramSpec{ProgramId::sock4_post_bind, Component::service, "sock4_post_bind", Attach::cgroup,
                BPF_CGROUP_INET4_POST_BIND},
    ProgramSpec{ProgramId::sock6_post_bind, Component::service, "sock6_post_bind", Attach::cgroup,
                BPF_CGROUP_INET6_POST_BIND},
    ProgramSpec{ProgramId::sockops, Component::redirect, "patu_sockops", Attach::cgroup, BPF_CGROUP_SOCK_OPS},
    ProgramSpec{ProgramId::skmsg, Component::redirect, "patu_skmsg", Attach::map},
};
static_assert(kPrograms.size() == kProgramCount);

constexpr bool ordered() {
  for (std::size_t i = 0; i < kMaps.size(); ++i)
    if (static_cast<std::size_t>(kMaps[i].id) != i) return false;
  for (std::size_t i = 0; i < kPrograms.size(); ++i)
    if (static_cast<std::size_t>(kPrograms[i].id) != i) return false;
  return true;
}
static_assert(ordered());

}  // namespace

std::span<const MapSpec> map_specs() noexcept { return kMaps; }
std::span<const ProgramSpec> program_specs() noexcept { return kPrograms; }

std::string component_directory(Component component) {
  return component == Component::redirect ? std::string(kRedirectDirectory) + "/" : std::string();
}

std::string map_pin(const MapSpec& spec) { return std::string("maps/") + spec.name; }
std::string program_pin(const ProgramSpec& spec) { return std::string("progs/") + spec.name; }
std::string link_pin(const ProgramSpec& spec) { return std::string("links/") + spec.name; }

std::string chunk_pin(std::uint32_t chunk) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "slots/%04x", chunk);
  return text.data();
}

}  // namespace patu::bpf
