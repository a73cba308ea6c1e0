// The same services as netfilter rules, shaped as kube-proxy (1.32) writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "patu/netns.hpp"

namespace patu::test {

enum class RuleTool : std::uint8_t { iptables_legacy, iptables_nft, nft };
const char* name_of(RuleTool tool);

// "skipped: no nft" and the like, or nothing.
std::optional<std::string> missing(RuleTool tool);

// Services 0 to count - 1 as one input of iptables-restore --noflush, or of nft -f.
std::string rules_for(RuleTool tool, std::uint32_t count);
// What kube-proxy would write when one endpoint of service n has gone.
std::string change_for(RuleTool tool, std::uint32_t n);

struct Loaded {
  double ms = 0;
  std::uint64_t peak_rss_kib = 0;  // of the tool
};
// Runs the tool in the namespace; gives up if it fails.
Loaded load_rules(RuleTool tool, const Netns& netns, const std::string& rules);

// A namespace in which backends are local, as in the sandbox, and a frontend has a route, so that its packets meet rules.
Netns make_rules_netns();

}  // namespace patu::test
