// Reads files of proc(5), which have no size until they are read. Without iostreams, which would bring all of std::locale.
#pragma once

#include <string>

#include "patu/error.hpp"

namespace patu {

// All of it. Errors: as open(2) and read(2) have them.
Result<std::string> read_file(const char* path);

}  // namespace patu
