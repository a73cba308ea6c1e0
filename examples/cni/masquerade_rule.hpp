// The one rule of a family: what leaves the pods' prefixes, to no multicast group, gets the node's address.
#pragma once

#include <string_view>

#include "nft_messages.hpp"

namespace cni {

// The set with all pods' prefixes of a family.
std::string_view set_of(bool v4) noexcept;

// Adds it to an NFT_MSG_NEWRULE.
void put_masquerade_rule(NftMessages& messages, bool v4);
// Whether a rule of the kernel's does just that.
bool is_masquerade_rule(const Attributes& rule, bool v4);

}  // namespace cni
