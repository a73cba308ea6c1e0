// Directories and pins of a BPF file system, reached only through descriptors of directories that were checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "patu/error.hpp"

namespace patu::bpf {

// The root of a bpffs. Errors: not_found, invalid_argument (not a bpffs).
Result<UniqueFd> open_bpffs(const std::string& path);

// A directory in `parent`: no link is followed; it must belong to the caller and be writable by nobody else.
// Errors: not_found, permission_denied, io.
Result<UniqueFd> open_directory(int parent_fd, const std::string& name);
// Makes it (mode 0700) if it is not there. Errors: as above.
Result<UniqueFd> make_directory(int parent_fd, const std::string& name);
// True if `name` in `parent` is the directory that is open as `directory_fd`.
bool is_same_directory(int parent_fd, const std::string& name, int directory_fd);
Result<bool> exists(int parent_fd, const std::string& name);
// Names in a directory, without "." and "..", sorted.
Result<std::vector<std::string>> entries(int directory_fd);

// `name` may have directories in it; they are our own, inside of one that was checked.
// Errors: already_exists, permission_denied, io.
Result<> pin(int object_fd, int directory_fd, const std::string& name);
// Puts the object where another one is pinned, without a moment in which there is neither.
Result<> pin_over(int object_fd, int directory_fd, const std::string& parent, const std::string& name);
// Errors: not_found, permission_denied, io.
Result<UniqueFd> open_pin(int directory_fd, const std::string& name);

Result<> rename(int from_fd, const std::string& from, int to_fd, const std::string& to);
// Removes a directory with all in it, and appends the paths to `removed` if it is given. Success where there is none.
Result<> remove_tree(int parent_fd, const std::string& name, const std::string& path,
                     std::vector<std::string>* removed);

}  // namespace patu::bpf
