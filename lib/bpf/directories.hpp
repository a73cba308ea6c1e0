// Where an instance's pins are, and the lock that whoever changes them holds.
#pragma once

#include <optional>
#include <string>

#include "base/file_lock.hpp"
#include "patu/datapath.hpp"

namespace patu::bpf {

struct Directories {
  UniqueFd patu;      // <bpffs>/patu
  UniqueFd instance;  // <bpffs>/patu/<instance>
  std::string path;   // of the latter, for texts
};

// Errors: invalid_argument (no name for an instance).
Result<> validate_instance(const std::string& instance);
// Errors: not_found (also if the instance was never made), invalid_argument, permission_denied.
Result<Directories> open_directories(const DatapathOptions& options);
// Makes what is not there.
Result<Directories> make_directories(const DatapathOptions& options);
// Holds the instance for one writer of pins. Empty if another process removed the directory meanwhile: look again.
// Errors: timed_out, io.
Result<std::optional<FileLock>> lock_instance(const Directories& directories, const DatapathOptions& options);

}  // namespace patu::bpf
