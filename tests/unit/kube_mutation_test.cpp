// Every value of a real list is replaced by every kind of value: nothing may crash, and what comes out must be sound.
#include <set>

#include "kube_lists.hpp"
#include "node.hpp"

using namespace patu;
using namespace patu::test;
using nlohmann::json;

namespace {

const std::vector<json>& replacements() {
  static const std::vector<json> values = {nullptr,
                                           true,
                                           -1,
                                           UINT64_MAX,
                                           1.5,
                                           "",
                                           "None",
                                           json::array(),
                                           json::object(),
                                           json::array({nullptr}),
                                           json::array({json::object()}),
                                           R"({"a": [1]})"_json,
                                           std::string(300, 'x')};
  return values;
}

// What any list may lead to, whatever is wrong in it.
void check_sound(const json& document, const json::json_pointer& where, const json& value) {
  const auto objects = read_text(document.dump());
  if (!objects) return;
  const kube::Conversion conversion = kube::convert(*objects, {.node = "n1"});
  std::set<std::string> names;
  bool is_sound = true;
  for (const Service& service : conversion.services) {
    is_sound &= names.insert(service.name).second && !service.frontends.empty();
    is_sound &= service.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-./:") == std::string::npos;
    for (const Frontend& frontend : service.frontends) is_sound &= frontend.endpoint.port != 0;
    for (const Backend& backend : service.backends) is_sound &= backend.endpoint.port != 0;
  }
  for (const auto* remarks : {&conversion.not_honoured, &conversion.notes})
    for (const kube::Remark& remark : *remarks)
      is_sound &= remark.object == kube::printable(remark.object) && remark.text == kube::printable(remark.text);
  CHECK_MESSAGE(is_sound, where.to_string(), " = ", value.dump());
}

void visit(const json& value, const json::json_pointer& path, std::vector<json::json_pointer>& out) {
  out.push_back(path);
  if (value.is_array())
    for (std::size_t i = 0; i < value.size(); ++i) visit(value[i], path / i, out);
  if (value.is_object())
    for (const auto& [key, member] : value.items()) visit(member, path / key, out);
}

// Lists of one object each: one of every special case.
std::vector<json> lists() {
  const json all = json::parse(kube_data("services-1.32.json"));
  std::vector<json> out;
  for (const json& item : all["items"]) {
    const std::string name = item["metadata"]["name"];
    for (const char* wanted : {"lb", "sticky", "external", "manual-fqdn", "web-dual-ffw8f", "sctp", "alias"}) {
      if (name != wanted) continue;
      out.push_back(R"({"apiVersion": "v1", "kind": "List"})"_json);
      out.back()["items"].push_back(item);
    }
  }
  REQUIRE(out.size() == 7);
  return out;
}

std::vector<json::json_pointer> places_of(const json& document) {
  std::vector<json::json_pointer> places;
  visit(document, json::json_pointer(), places);
  CHECK(places.size() > 20);
  return places;
}

}  // namespace

TEST_CASE("no value of a list can be replaced by any other so that reading crashes or what comes out is unsound") {
  for (json& document : lists()) {
    for (const json::json_pointer& place : places_of(document)) {
      for (const json& value : replacements()) {
        json saved = std::exchange(document.at(place), value);
        check_sound(document, place, value);
        document.at(place) = std::move(saved);
      }
    }
  }
}

TEST_CASE("no value of a list can be left out so that reading crashes or what comes out is unsound") {
  for (const json& whole : lists()) {
    for (const json::json_pointer& place : places_of(whole)) {
      if (place.empty()) continue;
      json document = whole;
      json& parent = document.at(place.parent_pointer());
      if (!parent.is_object()) continue;
      parent.erase(place.back());
      check_sound(document, place, "left out");
    }
  }
}

TEST_CASE("a list that ends early is refused, and one with a byte changed is refused or read") {
  for (const json& whole : lists()) {
    const std::string text = whole.dump();
    for (std::size_t end = 0; end < text.size(); end += 3) CHECK_FALSE(read_text(text.substr(0, end)));
    for (std::size_t at = 0; at < text.size(); at += 3) {
      std::string changed = text;
      for (const char byte : {'\0', '"', '{', ']', '9', '\xff'}) {
        changed[at] = byte;
        const auto objects = read_text(changed);
        if (objects) (void)kube::convert(*objects, {.node = "n1"});
      }
    }
  }
}
