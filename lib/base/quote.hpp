// Shows the caller's input in an error text, whatever bytes it holds and however long it is.
#pragma once

#include <string>
#include <string_view>

namespace patu {

// In double quotes, at most 64 bytes of it; bytes that are not printable ASCII are escaped ("\n", "\x00"). What was cut
// off is told behind: "aaaa..." (4096 bytes).
std::string quote(std::string_view text);

}  // namespace patu
