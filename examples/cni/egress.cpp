// Looking is cheap and the rule; changing reads what is there and replaces it, again if somebody else was faster.
#include "egress.hpp"

#include <algorithm>
#include <chrono>
#include <functional>

#include "failure.hpp"
#include "masquerade_table.hpp"

namespace cni {
namespace {

// Each try that fails is a change of nftables that somebody else made.
constexpr std::chrono::seconds kPatience{10};

bool is_name(const std::string& name) {
  // What nft(8) reads back without quotes.
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !name.empty() && name.size() <= kMaxMasqueradedNameBytes &&
         name.find_first_not_of(kAllowed) == std::string::npos;
}

void require_name(const std::string& name, const char* what) {
  if (!is_name(name))
    throw Failure(Code::invalid_config, std::string(what) + ": 1 to " + std::to_string(kMaxMasqueradedNameBytes) +
                                            " letters, digits, '_', '.' and '-' are needed to masquerade");
}

MasqueradeTable table_of(const MasqueradedNetwork& network) {
  require_name(network.instance, "instance");
  require_name(network.name, "name of the network");
  return MasqueradeTable(network.instance);
}

std::vector<AddressRange> ranges_of(const MasqueradedNetwork& network) {
  return {network.pods.begin(), network.pods.end()};
}

// Calls `attempt` until it returns true, and not false because somebody has changed nftables meanwhile.
void persist(const MasqueradeTable& table, const std::function<bool()>& attempt) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!attempt())
    if (std::chrono::steady_clock::now() >= deadline)
      throw Failure(Code::try_again, "nftables table inet " + table.name() + ": others keep changing nftables");
}

}  // namespace

void masquerade(const MasqueradedNetwork& network) {
  const MasqueradeTable table = table_of(network);
  const auto ranges = ranges_of(network);
  if (ranges.empty()) return;
  persist(table, [&] {
    if (table.deviations(network.name, ranges).empty()) return true;
    MasqueradeContents contents = table.read();
    // Prefixes of an earlier configuration stay: there may be pods that have them.
    auto& recorded = contents.networks[network.name];
    for (const AddressRange& range : ranges)
      if (std::find(recorded.begin(), recorded.end(), range) == recorded.end()) recorded.push_back(range);
    return table.replace(contents);
  });
}

std::vector<std::string> masquerade_deviations(const MasqueradedNetwork& network) {
  const auto ranges = ranges_of(network);
  const MasqueradeTable table = table_of(network);
  if (ranges.empty()) return {};
  std::vector<std::string> wrong = table.deviations(network.name, ranges);
  // What looks wrong may only have been in change.
  if (!wrong.empty())
    persist(table, [&] {
      const std::uint32_t generation = table.generation();
      if (!table.is_at(generation)) return false;
      wrong = table.deviations(network.name, ranges);
      return wrong.empty() || table.is_at(generation);
    });
  return wrong;
}

bool is_masqueraded(const MasqueradedNetwork& network) {
  if (!is_name(network.instance) || !is_name(network.name)) return false;
  try {
    return MasqueradeTable(network.instance).has(network.name);
  } catch (const Failure& failure) {
    if (failure.code() == Code::kernel_unsupported) return false;
    throw;
  }
}

void stop_masquerading(const MasqueradedNetwork& network) {
  const MasqueradeTable table = table_of(network);
  persist(table, [&] {
    MasqueradeContents contents = table.read();
    const bool had = contents.networks.erase(network.name) != 0;
    if (had || (contents.exists && contents.networks.empty())) return table.replace(contents);
    return table.is_at(contents.generation);  // there is nothing, if that was read in peace
  });
}

}  // namespace cni
