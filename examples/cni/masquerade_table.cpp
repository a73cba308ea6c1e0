// One batch makes the table whole, so that there is no half of it to be mended, and nothing is changed that was not just read.
#include "masquerade_table.hpp"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "failure.hpp"
#include "masquerade_rule.hpp"
#include "nft_messages.hpp"

namespace cni {
namespace {

constexpr std::string_view kChain = "postrouting";
constexpr std::string_view kNatType = "nat";
constexpr std::uint32_t kSourceNat = 100;     // NF_IP_PRI_NAT_SRC, which nft(8) shows as "srcnat"
constexpr std::array kFamilies{true, false};  // IPv4?
// nft(8)'s numbers of the types, for it to show the elements.
constexpr std::uint32_t kTypeIpv4 = 7;
constexpr std::uint32_t kTypeIpv6 = 8;
// An attribute has at most 64 KiB, and an element less than 64 bytes.
constexpr std::size_t kElementsPerMessage = 512;

std::string record_of(const std::string& network, bool v4) { return std::string(set_of(v4)) + "." + network; }

// The other way round; nothing for a set that is no record.
std::optional<std::string> network_of(std::string_view set) {
  for (const bool v4 : kFamilies)
    if (set.size() > set_of(v4).size() && set.starts_with(set_of(v4)) && set[set_of(v4).size()] == '.')
      return std::string(set.substr(set_of(v4).size() + 1));
  return std::nullopt;
}

void put_element(NftMessages& messages, const patu::IpAddress& key, bool is_end) {
  messages.nest(NFTA_LIST_ELEM, [&] {
    messages.nest(NFTA_SET_ELEM_KEY, [&] { messages.put(NFTA_DATA_VALUE, key_of(key)); });
    if (is_end) messages.put_be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
  });
}

// What deviations() asks for, and in which words it tells that something is not there.
class Look final {
 public:
  Look(const std::string& table, const std::string& network, const std::vector<AddressRange>& ranges)
      : table_("table inet " + table), name_(table) {
    requests_.add(NFT_MSG_GETTABLE, 0, "look for " + table_).put(NFTA_TABLE_NAME, name_);
    requests_.add(NFT_MSG_GETCHAIN, 0, "look for its chain").put(NFTA_CHAIN_TABLE, name_).put(NFTA_CHAIN_NAME, kChain);
    for (const AddressRange& range : ranges) {
      add_range(std::string(set_of(range.is_v4())), range);
      add_range(record_of(network, range.is_v4()), range);
    }
    requests_.add(NFT_MSG_GETRULE, NLM_F_DUMP, "look for its rules")
        .put(NFTA_RULE_TABLE, name_)
        .put(NFTA_RULE_CHAIN, kChain);
  }

  void take(std::size_t number, const Attributes& reply) {
    if (number == 0)
      table_found_ = true, dormant_ = (reply.be32(NFTA_TABLE_FLAGS) & NFT_TABLE_F_DORMANT) != 0;
    else if (number == 1)
      chain_right_ = is_chain(reply);
    else if (number + 1 == requests_.size())
      take_rule(reply);
    else
      take_element(elements_.at(number - 2), reply);
  }

  std::vector<std::string> verdict() const {
    if (!table_found_) return {table_ + " is not there"};
    std::vector<std::string> wrong;
    const auto require = [&](bool right, const std::string& what) {
      if (!right) wrong.push_back(table_ + ": " + what);
    };
    require(!dormant_, "it is dormant");
    require(chain_right_, "chain postrouting, of type nat with priority srcnat, is not there");
    require(rules_right_ && rules_ == kFamilies.size(), "the rules are not those that patu made");
    for (const Element& element : elements_)
      require(element.found.size() == 2 && element.found[0] == element.found[1],
              "set " + element.set + " lacks " + to_string(element.range));
    return wrong;
  }

  const NftMessages& requests() const noexcept { return requests_; }

 private:
  struct Element {
    std::string set;
    AddressRange range;
    std::vector<patu::IpAddress> found;  // where the intervals begin that the first and the last address are in
  };

  void add_range(const std::string& set, const AddressRange& range) {
    requests_.add(NFT_MSG_GETSETELEM, 0, "look into set " + set)
        .put(NFTA_SET_ELEM_LIST_TABLE, name_)
        .put(NFTA_SET_ELEM_LIST_SET, set)
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
          put_element(requests_, range.first, false);
          put_element(requests_, range.last, false);
        });
    elements_.push_back({set, range, {}});
  }

  static bool is_chain(const Attributes& chain) {
    const Attributes hook = chain.nest(NFTA_CHAIN_HOOK);
    return chain.string(NFTA_CHAIN_TYPE) == kNatType && hook.be32(NFTA_HOOK_HOOKNUM) == NF_INET_POST_ROUTING &&
           hook.be32(NFTA_HOOK_PRIORITY) == kSourceNat && chain.be32(NFTA_CHAIN_POLICY) == NF_ACCEPT;
  }

  void take_rule(const Attributes& rule) {
    if (rules_ >= kFamilies.size() || !is_masquerade_rule(rule, kFamilies[rules_])) rules_right_ = false;
    ++rules_;
  }

  static void take_element(Element& element, const Attributes& reply) {
    const Attributes one = reply.nest(NFTA_SET_ELEM_LIST_ELEMENTS).nest(NFTA_LIST_ELEM);
    if (const auto key = one.nest(NFTA_SET_ELEM_KEY).find(NFTA_DATA_VALUE))
      if (const auto address = address_of(*key)) element.found.push_back(*address);
  }

  std::string table_;
  std::string name_;
  NftMessages requests_;
  std::vector<Element> elements_;
  bool table_found_ = false;
  bool dormant_ = false;
  bool chain_right_ = false;
  bool rules_right_ = true;
  std::size_t rules_ = 0;
};

// The whole table, as messages of a batch.
class Construction final {
 public:
  Construction(const std::string& table, NftMessages& batch) : table_(table), batch_(batch) {}

  void add(const NetworkRanges& networks) {
    batch_.add(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, "make table inet " + table_).put(NFTA_TABLE_NAME, table_);
    std::vector<AddressRange> all;
    for (const auto& [network, ranges] : networks) {
      all.insert(all.end(), ranges.begin(), ranges.end());
      for (const bool v4 : kFamilies)
        if (const auto own = joined(ranges, v4); !own.empty()) add_set(record_of(network, v4), v4, own);
    }
    for (const bool v4 : kFamilies) add_set(std::string(set_of(v4)), v4, joined(all, v4));
    add_chain();
    for (const bool v4 : kFamilies) {
      batch_.add(NFT_MSG_NEWRULE, static_cast<std::uint16_t>(NLM_F_CREATE | NLM_F_APPEND | (v4 ? 0 : NLM_F_ACK)),
                 "make the rule that masquerades (CONFIG_NFT_MASQ)");
      batch_.put(NFTA_RULE_TABLE, table_).put(NFTA_RULE_CHAIN, kChain);
      put_masquerade_rule(batch_, v4);
    }
  }

 private:
  void add_set(const std::string& name, bool v4, const std::vector<AddressRange>& ranges) {
    batch_.add(NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, "make set " + name)
        .put(NFTA_SET_TABLE, table_)
        .put(NFTA_SET_NAME, name)
        .put_be32(NFTA_SET_FLAGS, NFT_SET_INTERVAL)
        .put_be32(NFTA_SET_KEY_TYPE, v4 ? kTypeIpv4 : kTypeIpv6)
        .put_be32(NFTA_SET_KEY_LEN, v4 ? 4 : 16)
        .put_be32(NFTA_SET_ID, ++sets_);
    for (std::size_t at = 0; at < ranges.size(); at += kElementsPerMessage)
      add_elements(name, std::span(ranges).subspan(at, std::min(kElementsPerMessage, ranges.size() - at)));
  }

  void add_elements(const std::string& set, std::span<const AddressRange> ranges) {
    batch_.add(NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, "fill set " + set)
        .put(NFTA_SET_ELEM_LIST_TABLE, table_)
        .put(NFTA_SET_ELEM_LIST_SET, set)
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, [&] {
          for (const AddressRange& range : ranges) {
            put_element(batch_, range.first, false);
            if (const auto behind = next(range.last)) put_element(batch_, *behind, true);
          }
        });
  }

  void add_chain() {
    batch_.add(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, "make a chain of type nat (CONFIG_NF_NAT, CONFIG_NFT_NAT)")
        .put(NFTA_CHAIN_TABLE, table_)
        .put(NFTA_CHAIN_NAME, kChain)
        .nest(
            NFTA_CHAIN_HOOK,
            [&] { batch_.put_be32(NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING).put_be32(NFTA_HOOK_PRIORITY, kSourceNat); })
        .put_be32(NFTA_CHAIN_POLICY, NF_ACCEPT)
        .put(NFTA_CHAIN_TYPE, kNatType);
  }

  const std::string& table_;
  NftMessages& batch_;
  std::uint32_t sets_ = 0;
};

// An interval is two elements: where it begins, and the one behind its end.
class Intervals final {
 public:
  explicit Intervals(std::vector<AddressRange>& ranges) noexcept : ranges_(ranges) {}

  void take(const Attributes& reply) {
    Attributes elements = reply.nest(NFTA_SET_ELEM_LIST_ELEMENTS);
    while (const auto one = elements.next()) {
      const Attributes element(one->payload);
      const auto key = element.nest(NFTA_SET_ELEM_KEY).find(NFTA_DATA_VALUE);
      const auto address = key ? address_of(*key) : std::nullopt;
      if (!address) continue;
      const bool is_end = (element.be32(NFTA_SET_ELEM_FLAGS) & NFT_SET_ELEM_INTERVAL_END) != 0;
      (is_end ? ends_ : begins_).push_back(*address);
    }
  }
  void finish() {
    std::sort(begins_.begin(), begins_.end());
    std::sort(ends_.begin(), ends_.end());
    for (const patu::IpAddress& begin : begins_) {
      const auto end = std::upper_bound(ends_.begin(), ends_.end(), begin);
      if (end != ends_.end() && end->is_v4() == begin.is_v4()) ranges_.emplace_back(begin, *previous(*end));
    }
  }

 private:
  std::vector<AddressRange>& ranges_;
  std::vector<patu::IpAddress> begins_;
  std::vector<patu::IpAddress> ends_;
};

Failure refused(const std::string& table, const std::string& step, int error) {
  const std::string what = "nftables table inet " + table + ": " + step;
  if (error == EPERM) return {Code::permission_denied, what + ": needs CAP_NET_ADMIN"};
  if (error == ENOENT || error == EOPNOTSUPP || error == EAFNOSUPPORT)
    return {Code::kernel_unsupported, what + ": this kernel has not what it takes"};
  return {patu::Error::from_errno(patu::Errc::io, error, what)};
}

}  // namespace

MasqueradeTable::MasqueradeTable(const std::string& instance)
    : name_("patu-" + instance), netlink_(NETLINK_NETFILTER) {}

std::vector<std::string> MasqueradeTable::deviations(const std::string& network,
                                                     const std::vector<AddressRange>& ranges) const {
  Look look(name_, network, ranges);
  ask_nft(netlink_, look.requests(), [&](std::size_t number, const Attributes& reply) { look.take(number, reply); });
  return look.verdict();
}

bool MasqueradeTable::has(const std::string& network) const {
  NftMessages list;
  list.add(NFT_MSG_GETSET, NLM_F_DUMP, "list the sets").put(NFTA_SET_TABLE, name_);
  bool found = false;
  ask_nft(netlink_, list, [&](std::size_t, const Attributes& reply) {
    found = found || network_of(reply.string(NFTA_SET_NAME)) == network;
  });
  return found;
}

MasqueradeContents MasqueradeTable::read() const {
  MasqueradeContents contents;
  contents.generation = generation();
  if (!is_at(contents.generation)) return contents;  // outdated by now, and will be found to be
  std::vector<std::string> records;
  NftMessages overview;
  overview.add(NFT_MSG_GETTABLE, 0, "look for the table").put(NFTA_TABLE_NAME, name_);
  overview.add(NFT_MSG_GETSET, NLM_F_DUMP, "list the sets").put(NFTA_SET_TABLE, name_);
  ask_nft(netlink_, overview, [&](std::size_t number, const Attributes& reply) {
    if (number == 0) contents.exists = true;
    if (number == 1 && network_of(reply.string(NFTA_SET_NAME))) records.emplace_back(reply.string(NFTA_SET_NAME));
  });
  for (const std::string& record : records) {
    NftMessages list;
    list.add(NFT_MSG_GETSETELEM, NLM_F_DUMP, "list set " + record)
        .put(NFTA_SET_ELEM_LIST_TABLE, name_)
        .put(NFTA_SET_ELEM_LIST_SET, record);
    Intervals intervals(contents.networks[*network_of(record)]);
    ask_nft(netlink_, list, [&](std::size_t, const Attributes& reply) { intervals.take(reply); });
    intervals.finish();
  }
  return contents;
}

std::uint32_t MasqueradeTable::generation() const { return nft_generation(netlink_); }
bool MasqueradeTable::is_at(std::uint32_t generation) const { return is_nft_at(netlink_, generation); }

bool MasqueradeTable::replace(const MasqueradeContents& contents) const {
  NftMessages batch;
  batch.begin_batch(contents.generation);
  if (contents.exists)
    batch.add(NFT_MSG_DELTABLE, contents.networks.empty() ? NLM_F_ACK : 0, "delete it").put(NFTA_TABLE_NAME, name_);
  if (!contents.networks.empty()) Construction(name_, batch).add(contents.networks);
  batch.end_batch();
  const auto failure = commit_nft(netlink_, batch);
  if (!failure) return true;
  if (failure->error == ERESTART) return false;
  throw refused(name_, batch.step(failure->number), failure->error);
}

}  // namespace cni
