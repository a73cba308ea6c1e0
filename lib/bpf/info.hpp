// What the kernel says of a BPF object that is open.
#pragma once

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/try.hpp"
#include "bpf/map.hpp"

namespace patu::bpf {

// Info is bpf_map_info, bpf_prog_info or bpf_link_info. Errors: io, with `what` in front.
template <class Info>
Result<Info> inspect(int object_fd, std::string_view what) {
  if (object_fd < 0) return fail(no_map_error(object_fd).context(what));
  Info info;
  std::memset(&info, 0,
              sizeof info);  // clang's {} leaves unnamed bit-fields as they were, and the kernel refuses those
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(object_fd, &info, &size) != 0) return PATU_FAIL_ERRNO(what);
  return info;
}

}  // namespace patu::bpf
