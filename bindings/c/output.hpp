// What a C caller is given: lists and reports that own every byte that can be reached through them.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "patu/ipam.hpp"
#include "patu/patu.h"
#include "patu/services.hpp"
#include "patu/types.hpp"

namespace patu::c {

// Memory for texts and small arrays; all of it goes at once.
class Arena final {
 public:
  const char* text(std::string_view text);
  // NULL for an empty one.
  const char* text_or_null(std::string_view text) { return text.empty() ? nullptr : this->text(text); }

  // A copy of each, made by `convert`; NULL for none.
  template <class Out, class In, class Convert>
  const Out* array(const std::vector<In>& in, const Convert& convert) {
    if (in.empty()) return nullptr;
    auto* out = static_cast<Out*>(take(in.size() * sizeof(Out)));
    for (std::size_t i = 0; i < in.size(); ++i) new (out + i) Out(convert(in[i]));
    return out;
  }
  template <class Out>
  const Out* one(const Out& value) {
    return new (take(sizeof(Out))) Out(value);
  }

 private:
  void* take(std::size_t bytes);  // aligned for any type

  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::size_t used_ = 0;  // of the last block
  std::size_t size_ = 0;
};

template <class Item>
struct List {
  Arena memory;
  std::vector<Item> items;
};

template <class Item>
std::size_t count_of(const List<Item>* list) noexcept {
  return list == nullptr ? 0 : list->items.size();
}

template <class Item>
const Item* item_of(const List<Item>* list, std::size_t index) noexcept {
  return index < count_of(list) ? &list->items[index] : nullptr;
}

// A list made of `in`: convert(arena, element) for each.
template <class Out, class In, class Convert>
void fill(Out& out, const std::vector<In>& in, const Convert& convert) {
  out.items.reserve(in.size());
  for (const In& element : in) out.items.push_back(convert(out.memory, element));
}

template <class Out, class In, class Convert>
std::unique_ptr<Out> list_of(const std::vector<In>& in, const Convert& convert) {
  auto out = std::make_unique<Out>();
  fill(*out, in, convert);
  return out;
}

patu_address to_c(const IpAddress& address) noexcept;
patu_interface_address to_c(const InterfaceAddress& address) noexcept;
patu_mac to_c(const MacAddress& mac) noexcept;
patu_prefix to_c(const Prefix& prefix) noexcept;
patu_endpoint to_c(const Endpoint& endpoint) noexcept;
patu_frontend to_c(const Frontend& frontend) noexcept;
patu_backend to_c(const Backend& backend) noexcept;
patu_attachment_id to_c(Arena& arena, const AttachmentId& id);

}  // namespace patu::c

struct patu_names : patu::c::List<const char*> {
  void fill(const std::vector<std::string>& names) {
    patu::c::fill(*this, names, [](patu::c::Arena& arena, const std::string& name) { return arena.text(name); });
  }
};
struct patu_addresses : patu::c::List<patu_address> {
  void fill(const std::vector<patu::IpAddress>& addresses) {
    patu::c::fill(*this, addresses, [](patu::c::Arena&, const patu::IpAddress& a) { return patu::c::to_c(a); });
  }
};
struct patu_ids : patu::c::List<patu_attachment_id> {
  void fill(const std::vector<patu::AttachmentId>& ids) {
    patu::c::fill(*this, ids,
                  [](patu::c::Arena& arena, const patu::AttachmentId& id) { return patu::c::to_c(arena, id); });
  }
};
