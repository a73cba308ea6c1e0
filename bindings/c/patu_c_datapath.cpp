// The data path: opening, status, switching, unloading.
#include "handles.hpp"
#include "input.hpp"
#include "output.hpp"

struct patu_programs : patu::c::List<patu_program> {};
struct patu_maps : patu::c::List<patu_map> {};
struct patu_features : patu::c::List<patu_feature> {};

namespace {

using namespace patu;
using namespace patu::c;

struct State final : patu_datapath_state {
  Arena arena;
  patu_programs all_programs;
  patu_maps all_maps;
  patu_features all_features;
};

Result<DatapathOptions> read_options(const patu_datapath_options* given) {
  if (given == nullptr) return DatapathOptions{};
  PATU_TRY_LET(options, read_struct(given, "options"));
  PATU_TRY(check_flags(options.flags, PATU_DATAPATH_SOCKET_REDIRECT, "the data path's"));
  PATU_TRY(check_reserved(options.reserved, "`reserved` of the data path's options"));
  DatapathOptions out;
  const auto set = [](std::uint32_t& field, std::uint32_t value) { field = value == 0 ? field : value; };
  out.instance = text_or(options.instance, "default");
  out.bpffs = text_or(options.bpffs, "/sys/fs/bpf");
  out.cgroup = text_or(options.cgroup, "");
  out.socket_redirect = (options.flags & PATU_DATAPATH_SOCKET_REDIRECT) != 0;
  out.redirect_limit_bytes = options.redirect_limit_bytes;
  set(out.max_pods, options.max_pods);
  set(out.max_services, options.max_services);
  set(out.max_redirected_sockets, options.max_redirected_sockets);
  return out;
}

patu_program convert_program(Arena& arena, const ProgramStatus& program) {
  return {sizeof(patu_program), arena.text(program.name), program.id, program.instructions};
}

patu_map convert_map(Arena& arena, const MapStatus& map) {
  return {sizeof(patu_map), arena.text(map.name), map.memory_bytes, map.id, map.max_entries};
}

patu_feature convert_feature(Arena& arena, const Feature& feature) {
  return {sizeof(patu_feature), arena.text(feature.name), arena.text(feature.detail), feature.available ? 1u : 0u, 0};
}

std::unique_ptr<State> convert(const DatapathStatus& status) {
  auto out = std::make_unique<State>();
  fill(out->all_programs, status.programs, convert_program);
  fill(out->all_maps, status.maps, convert_map);
  fill(out->all_features, status.features, convert_feature);
  static_cast<patu_datapath_state&>(*out) = {
      .struct_size = sizeof(patu_datapath_state),
      .directory = out->arena.text(status.directory),
      .programs = &out->all_programs,
      .maps = &out->all_maps,
      .features = &out->all_features,
      .cgroup_id = status.cgroup_id,
      .socket_redirect_loaded = status.socket_redirect_loaded ? 1u : 0u,
      .socket_redirect_enabled = status.socket_redirect_enabled ? 1u : 0u,
      .redirect_limit_bytes = status.redirect_limit_bytes,
      .reserved = 0,
  };
  return out;
}

Result<> open_by(Result<Datapath> (*open)(const DatapathOptions&), const patu_datapath_options* options,
                 patu_datapath** datapath) {
  PATU_TRY(check_given(datapath, "datapath"));
  PATU_TRY_LET(known, read_options(options));
  return hand_out(open(known), datapath);
}

}  // namespace

patu_status patu_datapath_open(const patu_datapath_options* options, patu_datapath** datapath, patu_error** err) {
  return guard(err, [&] { return open_by(Datapath::open, options, datapath); });
}

patu_status patu_datapath_adopt(const patu_datapath_options* options, patu_datapath** datapath, patu_error** err) {
  return guard(err, [&] { return open_by(Datapath::adopt, options, datapath); });
}

void patu_datapath_close(patu_datapath* datapath) { delete datapath; }

patu_status patu_datapath_status(const patu_datapath* datapath, patu_datapath_state** state, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(datapath, "datapath"));
    PATU_TRY(check_given(state, "state"));
    PATU_TRY_LET(status, datapath->datapath.status());
    *state = convert(status).release();
    return {};
  });
}

void patu_datapath_state_free(patu_datapath_state* state) { delete static_cast<State*>(state); }

patu_status patu_datapath_set_socket_redirect(patu_datapath* datapath, std::int32_t enabled, patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY(check_given(datapath, "datapath"));
    if (enabled != 0 && enabled != 1)
      return fail(Errc::invalid_argument, "`enabled` is 0 or 1, not " + std::to_string(enabled));
    return datapath->datapath.set_socket_redirect(enabled == 1);
  });
}

patu_status patu_datapath_unload(const patu_datapath_options* options, std::uint32_t flags, patu_names** removed,
                                 patu_error** err) {
  return guard(err, [&]() -> Result<> {
    PATU_TRY_LET(known, read_options(options));
    PATU_TRY(check_flags(flags, PATU_UNLOAD_FORCE, "unload's"));
    auto names = std::make_unique<patu_names>();
    PATU_TRY_LET(report,
                 Datapath::unload(known, (flags & PATU_UNLOAD_FORCE) != 0 ? UnloadMode::force : UnloadMode::if_idle));
    if (removed == nullptr) return {};
    names->fill(report.removed);
    *removed = names.release();
    return {};
  });
}

std::size_t patu_programs_count(const patu_programs* programs) { return count_of(programs); }
const patu_program* patu_programs_at(const patu_programs* programs, std::size_t index) {
  return item_of(programs, index);
}
std::size_t patu_maps_count(const patu_maps* maps) { return count_of(maps); }
const patu_map* patu_maps_at(const patu_maps* maps, std::size_t index) { return item_of(maps, index); }
std::size_t patu_features_count(const patu_features* features) { return count_of(features); }
const patu_feature* patu_features_at(const patu_features* features, std::size_t index) {
  return item_of(features, index);
}
