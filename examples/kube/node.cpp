// Types are checked where a value is read, so that a wrong one is named with its place.
#include "node.hpp"

#include <array>

namespace kube {

Node Node::operator[](const char* key) const {
  const std::string path = path_.empty() ? key : path_ + "." + key;
  if (value_ == nullptr) return Node(nullptr, path);
  if (!value_->is_object()) refuse("is not an object");
  const auto found = value_->find(key);
  return Node(found == value_->end() || found->is_null() ? nullptr : &*found, path);
}

std::vector<Node> Node::elements(std::size_t max) const {
  if (value_ == nullptr) return {};
  if (!value_->is_array()) refuse("is not an array");
  if (value_->size() > max) refuse("has more than " + std::to_string(max) + " elements");
  std::vector<Node> nodes;
  nodes.reserve(value_->size());
  for (const auto& element : *value_) {
    nodes.push_back(Node(&element, path_ + "[" + std::to_string(nodes.size()) + "]"));
    if (element.is_null()) nodes.back().refuse("is null");
  }
  return nodes;
}

std::string Node::text(std::string_view if_absent) const {
  if (value_ == nullptr) return std::string(if_absent);
  if (!value_->is_string()) refuse("is not a string");
  return value_->get<std::string>();
}

std::optional<bool> Node::flag() const {
  if (value_ == nullptr) return std::nullopt;
  if (!value_->is_boolean()) refuse("is not true or false");
  return value_->get<bool>();
}

std::int64_t Node::number(std::int64_t min, std::int64_t max, std::int64_t if_absent) const {
  if (value_ == nullptr) return if_absent;
  const std::string why = "is not a number from " + std::to_string(min) + " to " + std::to_string(max);
  // Above INT64_MAX, get<int64_t>() would wrap.
  if (!value_->is_number_integer() || (value_->is_number_unsigned() && value_->get<std::uint64_t>() > INT64_MAX))
    refuse(why);
  const auto number = value_->get<std::int64_t>();
  if (number < min || number > max) refuse(why);
  return number;
}

void Node::refuse(const std::string& why) const { throw Malformed(path_.empty() ? why : path_ + ": " + why); }

std::string printable(std::string_view text) {
  static constexpr std::array<char, 17> kDigits = {"0123456789abcdef"};
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += "\\x";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

}  // namespace kube
