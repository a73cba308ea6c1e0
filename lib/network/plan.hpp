// One pod on its way to being attached: what is asked for, what was found, what is to be made.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "network/node.hpp"

namespace patu::network {

struct Plan {
  const PodSpec* spec;
  IfName name;  // of the host's end
  Record record;
  std::optional<nl::Socket> pod = {};  // of the pod's namespace; closed when it has been used
  std::uint32_t ifindex = 0;           // of the host's end; 0: not made
  std::uint32_t peer_ifindex = 0;
  std::optional<Attachment> same = {};  // was attached just so before
  bool begun = false;                   // something may have been changed: addresses leased, remains taken away
};

// Checks everything that can be checked without changing anything. Errors: invalid_argument, unsupported.
Result<std::vector<Plan>> make_plans(const Node& node, std::span<const PodSpec> specs);

// Opens a socket in each pod's namespace, by way of one thread. Errors: permission_denied, io.
Result<> open_pods(std::span<Plan> plans);

// Finds out what there is of the attachment. Fills in `same` if it is complete and as asked for; takes an interface away that
// was half made or half removed, or whose pod is gone. Errors: already_exists, io, timed_out.
Result<> find_existing(Node& node, Plan& plan);

// Leases the addresses, one of each family of which there is a subnet, and derives the MAC from them, or else from the id.
// Errors: already_exists, exhausted, io.
Result<> lease_addresses(Node& node, Plan& plan);

// Sets loopback and the pod's interface up, with addresses and routes, in one batch. Errors: already_exists, io.
Result<> configure_pod(const Node& node, Plan& plan);
// Waits until the addresses can be used, and leaves the pod's namespace. Errors: timed_out, io.
Result<> await_addresses(Plan& plan);
// The same where they are probed for duplicates first. Errors: already_exists (there is one), timed_out, io.
Result<> await_probes(Plan& plan);

}  // namespace patu::network
