// The parser hands over each object of the list when it is complete, and forgets it.
#include "read.hpp"

#include <istream>

#include "node.hpp"
#include "parse.hpp"
#include "source.hpp"

namespace kube {
namespace {

using nlohmann::json;
using Event = json::parse_event_t;

struct TooDeep {};

std::string quietly(const Node& object, const char* key) {
  try {
    return printable(object[key].text());
  } catch (const Malformed&) {
    return {};
  }
}

// Its name if it is a Service, that of its service if it is an EndpointSlice; as much as can be read.
std::optional<ObjectName> service_of(const Node& object, bool is_slice) {
  try {
    const ObjectName name = parse_name(object);
    if (!is_slice) return name;
    const std::string label = parse_service_label(object);
    if (!label.empty()) return ObjectName{name.space, label};
  } catch (const Malformed&) {
    // Then nobody knows.
  }
  return std::nullopt;
}

// "EndpointSlice default/web-755pj", or where it stands if it has no name.
std::string title_of(const Node& object, const std::string& kind, const std::string& place) {
  try {
    return kind + " " + parse_name(object).to_string();
  } catch (const Malformed&) {
    return place.empty() ? kind : kind + " at " + place;
  }
}

class Collector final {
 public:
  explicit Collector(std::size_t max_depth) noexcept : max_depth_(max_depth) {}

  // What nlohmann's parser calls; false forgets the value.
  bool operator()(int depth, Event event, const json& value);
  // After the end of the document.
  patu::Result<Objects> finish(const json& root);

 private:
  bool see_top_key(const json& key);
  bool see_item(const json& value);
  void take(const json& value, const std::string& place);

  std::size_t max_depth_;
  bool at_items_ = false;  // the key of the outermost object that was read last
  bool in_items_ = false;  // inside of its array
  std::size_t items_ = 0;
  Objects objects_;
};

bool Collector::operator()(int depth, Event event, const json& value) {
  const bool opens = event == Event::object_start || event == Event::array_start;
  if (opens && static_cast<std::size_t>(depth) >= max_depth_) throw TooDeep{};
  if (event == Event::key) return depth != 1 || see_top_key(value);
  if (event == Event::array_start && depth == 1) in_items_ = at_items_;
  if (event == Event::array_end && depth == 1) in_items_ = false;
  // A value of the list is complete.
  if (!opens && depth == 2 && in_items_) return see_item(value);
  return true;
}

bool Collector::see_top_key(const json& key) {
  at_items_ = key == "items";
  return true;
}

bool Collector::see_item(const json& value) {
  take(value, "items[" + std::to_string(items_++) + "]");
  return false;
}

void Collector::take(const json& value, const std::string& place) {
  if (!value.is_object()) {
    objects_.unreadable.push_back({place, "is not an object", std::nullopt});
    return;
  }
  const Node object(value);
  const std::string kind = quietly(object, "kind");
  const std::string version = quietly(object, "apiVersion");
  const bool is_service = kind == "Service" && version == "v1";
  const bool is_slice = kind == "EndpointSlice" && version == "discovery.k8s.io/v1";
  try {
    if (is_service)
      objects_.services.push_back(parse_service(object));
    else if (is_slice)
      objects_.slices.push_back(parse_slice(object));
    else if (kind.empty() || version.empty())
      objects_.unreadable.push_back({place, "has no kind and apiVersion", std::nullopt});
    else
      ++objects_.other_kinds[version + " " + kind];
  } catch (const Malformed& why) {
    objects_.unreadable.push_back({title_of(object, kind, place), printable(why.what()), service_of(object, is_slice)});
  }
}

patu::Error invalid(const std::string& why) { return patu::Error(patu::Errc::invalid_argument, why); }

patu::Result<Objects> Collector::finish(const json& root) {
  if (!root.is_object()) return tl::unexpected(invalid("is JSON, but not a Kubernetes object"));
  const std::string kind = quietly(Node(root), "kind");
  if (kind.size() >= 4 && kind.compare(kind.size() - 4, 4, "List") == 0) {
    const auto items = root.find("items");
    if (items != root.end() && !items->is_array() && !items->is_null())
      return tl::unexpected(invalid("items is not an array"));
    return std::move(objects_);
  }
  if (items_ != 0) return tl::unexpected(invalid("has items, but its kind is not List"));
  take(root, {});
  if (objects_.services.empty() && objects_.slices.empty() && objects_.unreadable.empty())
    return tl::unexpected(invalid("is neither a List nor a Service or EndpointSlice"));
  return std::move(objects_);
}

// "parse error at line 1, column 5: …", without the library's own numbers.
std::string reason_of(const json::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return printable(end == std::string::npos ? text : text.substr(end + 2));
}

}  // namespace

patu::Result<Objects> read_objects(int source_fd, const ReadLimits& limits) {
  Source source(source_fd, limits.bytes);
  std::istream stream(&source);
  Collector collector(limits.depth);
  std::string why;
  try {
    const json root = json::parse(stream, std::ref(collector));
    if (source.error() == 0 && !source.is_too_long()) return collector.finish(root);
  } catch (const TooDeep&) {
    why = "is deeper than " + std::to_string(limits.depth) + " objects and arrays inside each other";
  } catch (const json::exception& error) {
    why = reason_of(error);
  }
  if (source.error() != 0) return tl::unexpected(patu::Error::from_errno(source.error(), "read"));
  if (source.is_too_long()) why = "is longer than " + std::to_string(limits.bytes) + " bytes";
  return tl::unexpected(invalid("byte " + std::to_string(source.position()) + ": " + why));
}

}  // namespace kube
