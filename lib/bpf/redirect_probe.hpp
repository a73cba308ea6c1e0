// Tries socket redirection on this very kernel before anybody can use it.
#pragma once

#include <string>

#include "patu/error.hpp"

namespace patu::bpf {

// Borrowed descriptors of a freshly loaded redirect object's maps; patu_skmsg is attached to `sockets`, and `settings` says
// that redirection is on.
struct RedirectFds {
  int sockets;
  int streams;
  int pods;
};

struct RedirectFindings {
  bool delivers = false;     // redirected bytes arrive
  bool charges = false;      // they count against the receiver, so that a limit can hold
  bool fionread_ok = false;  // FIONREAD counts bytes that came through TCP to a socket in the map
  std::string detail;
};

// Errors: io, permission_denied: the trial itself could not be made.
Result<RedirectFindings> probe_redirect(const RedirectFds& fds);

}  // namespace patu::bpf
