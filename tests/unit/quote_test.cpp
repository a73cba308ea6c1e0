// Input in error texts: bounded, printable, and unmistakable.
#include "base/quote.hpp"

#include <doctest/doctest.h>

#include <set>

using patu::quote;

TEST_CASE("printable text is quoted as it is") {
  CHECK(quote("") == "\"\"");
  CHECK(quote("br0") == "\"br0\"");
  CHECK(quote(" ~") == "\" ~\"");
}

TEST_CASE("quotes, backslashes and whatever a terminal would act upon are escaped") {
  CHECK(quote("a\"b\\c") == "\"a\\\"b\\\\c\"");
  CHECK(quote("a\nb\tc\r") == "\"a\\nb\\tc\\x0d\"");
  CHECK(quote(std::string_view("\0\x1b[31m\x7f", 7)) == "\"\\x00\\x1b[31m\\x7f\"");
  CHECK(quote("\xc3\xa4\xff") == "\"\\xc3\\xa4\\xff\"");
}

TEST_CASE("every byte is printable once quoted, and no two look the same") {
  std::set<std::string> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string quoted = quote(std::string(1, static_cast<char>(byte)));
    for (const char c : quoted) CHECK((c >= 0x20 && c <= 0x7e));
    seen.insert(quoted);
  }
  CHECK(seen.size() == 256);
}

TEST_CASE("64 bytes are shown whole, of more the first 64 and their number") {
  CHECK(quote(std::string(64, 'a')) == '"' + std::string(64, 'a') + '"');
  CHECK(quote(std::string(65, 'a')) == '"' + std::string(64, 'a') + "...\" (65 bytes)");
  CHECK(quote(std::string(1 << 20, '\0')).size() < 64 * 4 + 32);
}
