// Inside a network namespace, by a thread that ends at once: what the library's verbs do not offer.
#pragma once

#include <patu/netns.hpp>
#include <patu/types.hpp>

namespace cni {

// Sets lo up. Throws Failure.
void raise_loopback(const patu::Netns& netns);
// Sets lo down. Throws Failure.
void lower_loopback(const patu::Netns& netns);
// Throws Failure.
bool is_loopback_up(const patu::Netns& netns);

// Deletes an interface that is not patu's, such as the reference plugin's veth of a pod from before a switch. Success where there
// is none. Throws Failure.
void delete_foreign_interface(const patu::Netns& netns, const patu::IfName& ifname);
// Whether there is an interface of that name. Throws Failure.
bool has_interface(const patu::Netns& netns, const patu::IfName& ifname);

}  // namespace cni
