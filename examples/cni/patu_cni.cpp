// The border of the library: no exception passes it.
#include "patu/patu_cni.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "run.hpp"

namespace {

constexpr std::int32_t kInvalidArgument = -1;
constexpr std::int32_t kOutOfMemory = -11;

}  // namespace

int32_t patu_cni_exec(const char* role, const char* const* environment, const char* input, size_t input_len,
                      char** output, size_t* output_len) {
  if (output != nullptr) *output = nullptr;
  if (output_len != nullptr) *output_len = 0;
  if (role == nullptr || environment == nullptr || (input == nullptr && input_len != 0) || output == nullptr ||
      output_len == nullptr)
    return kInvalidArgument;
  try {
    std::vector<std::string> entries;
    for (; *environment != nullptr; ++environment) entries.emplace_back(*environment);
    const cni::Outcome outcome = cni::run(role, entries, {input == nullptr ? "" : input, input_len});
    char* text = static_cast<char*>(std::malloc(outcome.output.size() + 1));
    if (text == nullptr) return kOutOfMemory;
    std::memcpy(text, outcome.output.c_str(), outcome.output.size() + 1);
    *output = text;
    *output_len = outcome.output.size();
    return outcome.status;
  } catch (const std::exception&) {
    return kOutOfMemory;  // the only one that run() lets out
  }
}

void patu_cni_free(char* output) { std::free(output); }
