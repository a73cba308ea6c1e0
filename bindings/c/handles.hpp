// The handles of the C ABI: each is one object of the C++ API.
#pragma once

#include "patu/patu.hpp"

struct patu_netns {
  patu::Netns netns;
};

struct patu_datapath {
  patu::Datapath datapath;
};

struct patu_network {
  patu::Network network;
};

struct patu_service_table {
  patu::ServiceTable table;
};

namespace patu::c {

inline const Netns* read_netns(const patu_netns* netns) noexcept { return netns == nullptr ? nullptr : &netns->netns; }

// Makes a handle of an object that was opened.
template <class Handle, class Object>
Result<> hand_out(Result<Object>&& opened, Handle** out) {
  if (!opened) return fail(std::move(opened.error()));
  *out = new Handle{std::move(*opened)};
  return {};
}

}  // namespace patu::c
