// JSON in and out, through one type and one place each, so that the library for it is compiled once.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace cni {

using Json = nlohmann::ordered_json;

inline constexpr std::size_t kMaxInputBytes = std::size_t{1} << 20;
inline constexpr int kMaxDepth = 32;

// Throws Failure: decode.
Json parse_json(std::string_view text);
// Over several lines, without one at the end. Bytes that are not UTF-8 are replaced.
std::string to_text(const Json& json);
// On one line, cut short where it is long; for a message about it.
std::string excerpt(const Json& json);

}  // namespace cni
