// Escapes and cuts the caller's input for error texts.
#include "base/quote.hpp"

namespace patu {
namespace {

constexpr std::size_t kMaxQuotedBytes = 64;

void append_escaped(std::string& out, unsigned char byte) {
  constexpr std::string_view kHex = "0123456789abcdef";
  if (byte == '"' || byte == '\\') {
    out += '\\';
    out += static_cast<char>(byte);
  } else if (byte == '\n') {
    out += "\\n";
  } else if (byte == '\t') {
    out += "\\t";
  } else if (byte < 0x20 || byte > 0x7e) {
    out += "\\x";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  } else {
    out += static_cast<char>(byte);
  }
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxQuotedBytes)) append_escaped(out, static_cast<unsigned char>(c));
  if (text.size() <= kMaxQuotedBytes) return out + '"';
  return out + "...\" (" + std::to_string(text.size()) + " bytes)";
}

}  // namespace patu
