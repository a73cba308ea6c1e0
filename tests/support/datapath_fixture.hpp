// What tests of Datapath read back: pins from the file system, ids from the kernel.
#pragma once

#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "bpf/instance.hpp"
#include "patu/datapath.hpp"
#include "sandbox.hpp"

namespace patu::test {

namespace fs = std::filesystem;

inline fs::path directory(const std::string& instance = "test") { return fs::path(bpffs_path()) / "patu" / instance; }

// Every path below an instance, read from the file system.
inline std::set<std::string> pins(const std::string& instance = "test") {
  std::set<std::string> out;
  if (!fs::exists(directory(instance))) return out;
  for (const auto& entry : fs::recursive_directory_iterator(directory(instance)))
    if (!entry.is_directory()) out.insert(fs::relative(entry.path(), directory(instance)).string());
  return out;
}

struct Unloaded {
  ~Unloaded() { (void)Datapath::unload(datapath_options(), UnloadMode::force); }
};

inline std::map<std::string, std::uint32_t> program_ids(const Datapath& datapath) {
  auto status = datapath.status();
  REQUIRE(status);
  std::map<std::string, std::uint32_t> ids;
  for (const ProgramStatus& program : status->programs) ids[program.name] = program.id;
  return ids;
}

inline std::map<std::string, std::uint32_t> map_ids(const Datapath& datapath) {
  auto status = datapath.status();
  REQUIRE(status);
  std::map<std::string, std::uint32_t> ids;
  for (const MapStatus& map : status->maps) ids[map.name] = map.id;
  return ids;
}

inline std::uint32_t link_id(const std::string& pin) {
  const int fd = bpf_obj_get((directory() / pin).c_str());
  REQUIRE(fd >= 0);
  bpf_link_info info{};
  std::uint32_t size = sizeof info;
  REQUIRE(bpf_obj_get_info_by_fd(fd, &info, &size) == 0);
  close(fd);
  return info.id;
}

inline std::string text(const Error& error) { return error.to_string(); }

}  // namespace patu::test
