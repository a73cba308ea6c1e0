// A value in a JSON document that knows where it stands there, and refuses to be read as what it is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kube {

// "spec.ports[0].port: is not a number from 1 to 65535"
class Malformed final : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Borrows the document. Null and absent are the same, as in Kubernetes. Everything that reads throws Malformed.
class Node final {
 public:
  explicit Node(const nlohmann::json& document) : value_(&document) {}

  bool is_absent() const noexcept { return value_ == nullptr; }
  bool is_number() const noexcept { return value_ != nullptr && value_->is_number(); }
  // A member; absent if this is.
  Node operator[](const char* key) const;
  // The elements of an array, at most so many; none if it is absent.
  std::vector<Node> elements(std::size_t max) const;
  std::string text(std::string_view if_absent = {}) const;
  std::optional<bool> flag() const;
  // `if_absent` need not be in the range.
  std::int64_t number(std::int64_t min, std::int64_t max, std::int64_t if_absent) const;
  [[noreturn]] void refuse(const std::string& why) const;

 private:
  Node(const nlohmann::json* value, std::string path) : value_(value), path_(std::move(path)) {}

  const nlohmann::json* value_;  // null: absent
  std::string path_;
};

// Text from outside for a terminal: what is not printable ASCII is written as \xNN.
std::string printable(std::string_view text);

}  // namespace kube
