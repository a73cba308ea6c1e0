// The parser is told to stop where the input nests too deep; its own limit is the stack.
#include "json.hpp"

#include <nlohmann/json.hpp>

#include "failure.hpp"

namespace cni {
namespace {

constexpr std::size_t kExcerptBytes = 80;

}  // namespace

Json parse_json(std::string_view text) {
  if (text.size() > kMaxInputBytes) throw Failure(Code::decode, "the configuration is longer than 1 MiB");
  const auto limit = [](int depth, Json::parse_event_t, Json&) {
    if (depth >= kMaxDepth) throw Failure(Code::decode, "the configuration nests deeper than 32 levels");
    return true;
  };
  try {
    return Json::parse(text.data(), text.data() + text.size(), limit);
  } catch (const Json::exception& why) {
    throw Failure(Code::decode, "the configuration is not JSON", why.what());
  }
}

std::string to_text(const Json& json) { return json.dump(4, ' ', false, Json::error_handler_t::replace); }

std::string excerpt(const Json& json) {
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kExcerptBytes) return text;
  std::size_t end = kExcerptBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // no half of a character
  return text.substr(0, end) + "...";
}

}  // namespace cni
