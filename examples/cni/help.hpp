// What the program says of itself.
#pragma once

#include <string_view>

namespace cni {

std::string_view help_text() noexcept;

}  // namespace cni
