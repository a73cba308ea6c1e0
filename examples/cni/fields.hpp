// Reading one JSON object key by key; a key that nobody has asked for is refused by its name in the end.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "failure.hpp"
#include "json.hpp"

namespace cni {

// Strict: what is wrong is a Failure. Lenient: it counts as absent, for whoever only takes away.
enum class Reading { strict, lenient };

// Null is absent, as it is to the reference plugins.
class Fields final {
 public:
  // Of no object: without fields. `path` is the object's own, for messages.
  Fields(const Json* object, std::string path, Reading reading);

  // The value of a key, which counts as known from now on. Null if absent.
  const Json* take(std::string_view key);
  bool flag(std::string_view key);
  std::string text(std::string_view key);
  std::uint64_t number(std::string_view key, std::uint64_t max);
  std::vector<std::string> texts(std::string_view key);
  Fields object(std::string_view key);
  // The elements of a list; elements that are no objects are refused.
  std::vector<Fields> objects(std::string_view key);

  // A text that T::parse() takes.
  template <class T>
  std::optional<T> value(std::string_view key) {
    const std::string given = text(key);
    if (given.empty()) return std::nullopt;
    return parsed<T>(key, given);
  }

  // A key that is fine to leave alone.
  void pass(std::string_view key) { (void)take(key); }
  // A key that is known and not honoured: refused, unless it asks for nothing (false, 0, "", [], {}).
  void decline(std::string_view key, std::string_view why);
  // Refuses what is left, keys that begin with "cni.dev/" excepted.
  void finish() const;

  bool has_any() const;
  Reading reading() const noexcept { return reading_; }
  std::string path_of(std::string_view key) const;
  // Throws in strict reading.
  void complain(std::string_view key, const std::string& what, Code code = Code::invalid_config) const;

 private:
  template <class T>
  std::optional<T> parsed(std::string_view key, const std::string& given) const {
    auto one = T::parse(given);
    if (one) return *one;
    complain(key, one.error().to_string());
    return std::nullopt;
  }

  const Json* object_;
  std::string path_;
  Reading reading_;
  std::vector<std::string> known_;
};

}  // namespace cni
