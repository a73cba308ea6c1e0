// What a field may be, and what is said where it is something else.
#include "fields.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace cni {
namespace {

bool asks_for_nothing(const Json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();
}

}  // namespace

Fields::Fields(const Json* object, std::string path, Reading reading)
    : object_(object), path_(std::move(path)), reading_(reading) {
  if (object_ == nullptr || object_->is_object()) return;
  if (reading_ == Reading::strict)
    throw Failure(Code::invalid_config, (path_.empty() ? "the configuration" : path_) + ": is no object");
  object_ = nullptr;
}

const Json* Fields::take(std::string_view key) {
  known_.emplace_back(key);
  if (object_ == nullptr) return nullptr;
  const auto found = object_->find(std::string(key));
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool Fields::flag(std::string_view key) {
  const Json* value = take(key);
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  complain(key, "is neither true nor false");
  return false;
}

std::string Fields::text(std::string_view key) {
  const Json* value = take(key);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get_ref<const std::string&>();
  complain(key, "is no text");
  return {};
}

std::uint64_t Fields::number(std::string_view key, std::uint64_t max) {
  const Json* value = take(key);
  if (value == nullptr) return 0;
  if (value->is_number_unsigned() && value->get<std::uint64_t>() <= max) return value->get<std::uint64_t>();
  complain(key, "is not a whole number from 0 to " + std::to_string(max));
  return 0;
}

std::vector<std::string> Fields::texts(std::string_view key) {
  std::vector<std::string> out;
  const Json* value = take(key);
  if (value == nullptr) return out;
  if (!value->is_array()) {
    complain(key, "is no list");
    return out;
  }
  for (const Json& element : *value) {
    if (element.is_string())
      out.push_back(element.get_ref<const std::string&>());
    else
      complain(key, "has an element that is no text");
  }
  return out;
}

Fields Fields::object(std::string_view key) { return {take(key), path_of(key), reading_}; }

std::vector<Fields> Fields::objects(std::string_view key) {
  std::vector<Fields> out;
  const Json* value = take(key);
  if (value == nullptr) return out;
  if (!value->is_array()) {
    complain(key, "is no list");
    return out;
  }
  for (std::size_t i = 0; i < value->size(); ++i)
    out.emplace_back(&(*value)[i], path_of(key) + "[" + std::to_string(i) + "]", reading_);
  return out;
}

void Fields::decline(std::string_view key, std::string_view why) {
  const Json* value = take(key);
  if (value != nullptr && !asks_for_nothing(*value))
    complain(key, excerpt(*value) + " is not supported: " + std::string(why), Code::unsupported_field);
}

void Fields::finish() const {
  if (object_ == nullptr) return;
  for (const auto& [key, value] : object_->items()) {
    const bool is_known = std::find(known_.begin(), known_.end(), key) != known_.end();
    if (is_known || key.rfind("cni.dev/", 0) == 0) continue;
    complain(key, excerpt(value) + " is not supported: no such key is known", Code::unsupported_field);
  }
}

bool Fields::has_any() const { return object_ != nullptr && !object_->empty(); }

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void Fields::complain(std::string_view key, const std::string& what, Code code) const {
  if (reading_ == Reading::strict) throw Failure(code, path_of(key) + ": " + what);
}

}  // namespace cni
