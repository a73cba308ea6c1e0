// An open directory, for readdir(3).
#pragma once

#include <dirent.h>

#include <memory>

namespace patu {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

}  // namespace patu
