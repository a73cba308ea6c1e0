// Checks that a parser refuses a text as the caller's fault, and what it says.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "patu/error.hpp"

namespace patu::test {

template <class Parsed>
std::string refusal_of(const Parsed& parsed, const std::string& text) {
  REQUIRE_MESSAGE(!parsed, text);
  CHECK(parsed.error().code() == Errc::invalid_argument);
  CHECK(parsed.error().os_error() == 0);
  return parsed.error().to_string();
}

// What T::parse says about `text`.
template <class T>
std::string refusal(const std::string& text) {
  return refusal_of(T::parse(text), text);
}

struct Refused {
  std::string text;
  std::string_view reason;  // what the error says behind the quoted text
};

// Each error is `lead "text": reason`; the texts are chosen so that quoting changes nothing.
template <class T>
void check_refusals(const std::string& lead, const std::vector<Refused>& cases) {
  for (const Refused& c : cases) CHECK(refusal<T>(c.text) == lead + " \"" + c.text + "\": " + std::string(c.reason));
}

}  // namespace patu::test
