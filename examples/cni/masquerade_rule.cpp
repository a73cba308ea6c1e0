// As nft(8) compiles it, so that it shows it as it would be written:
//   ip saddr @pods4 ip daddr != @pods4 ip daddr != 224.0.0.0/4 masquerade
#include "masquerade_rule.hpp"

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>

namespace cni {
namespace {

constexpr std::uint32_t kRegister = NFT_REG_1;

// A part of the network header.
struct Field {
  std::uint32_t offset;
  std::uint32_t bytes;
};

struct Family {
  std::string_view set;
  std::uint8_t number;
  Field source;
  Field destination;
};

constexpr Family kIpv4{"pods4", NFPROTO_IPV4, {offsetof(iphdr, saddr), 4}, {offsetof(iphdr, daddr), 4}};
constexpr Family kIpv6{"pods6", NFPROTO_IPV6, {offsetof(ipv6hdr, saddr), 16}, {offsetof(ipv6hdr, daddr), 16}};

class Expressions final {
 public:
  explicit Expressions(NftMessages& messages) noexcept : messages_(messages) {}

  void load_family() {
    add("meta", [this] { messages_.put_be32(NFTA_META_DREG, kRegister).put_be32(NFTA_META_KEY, NFT_META_NFPROTO); });
  }
  void load(const Field& field) {
    add("payload", [&] {
      messages_.put_be32(NFTA_PAYLOAD_DREG, kRegister)
          .put_be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER)
          .put_be32(NFTA_PAYLOAD_OFFSET, field.offset)
          .put_be32(NFTA_PAYLOAD_LEN, field.bytes);
    });
  }
  void require_in(std::string_view set, bool in) {
    add("lookup", [&] {
      messages_.put(NFTA_LOOKUP_SET, set)
          .put_be32(NFTA_LOOKUP_SREG, kRegister)
          .put_be32(NFTA_LOOKUP_FLAGS, in ? 0 : NFT_LOOKUP_F_INV);
    });
  }
  void mask(const std::array<std::uint8_t, 4>& mask) {
    constexpr std::array<std::uint8_t, 4> kNothing{};
    add("bitwise", [&] {
      messages_.put_be32(NFTA_BITWISE_SREG, kRegister)
          .put_be32(NFTA_BITWISE_DREG, kRegister)
          .put_be32(NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
      put_value(NFTA_BITWISE_MASK, std::as_bytes(std::span(mask)));
      put_value(NFTA_BITWISE_XOR, std::as_bytes(std::span(kNothing)));
    });
  }
  void compare(nft_cmp_ops operation, Bytes with) {
    add("cmp", [&] {
      messages_.put_be32(NFTA_CMP_SREG, kRegister).put_be32(NFTA_CMP_OP, operation);
      put_value(NFTA_CMP_DATA, with);
    });
  }
  void masquerade() {
    add("masq", [] {});
  }

 private:
  template <class Fill>
  void add(std::string_view name, const Fill& fill) {
    messages_.nest(NFTA_LIST_ELEM, [&] {
      messages_.put(NFTA_EXPR_NAME, name);
      messages_.nest(NFTA_EXPR_DATA, fill);
    });
  }
  void put_value(std::uint16_t type, Bytes value) {
    messages_.nest(type, [&] { messages_.put(NFTA_DATA_VALUE, value); });
  }

  NftMessages& messages_;
};

void require_no_multicast(Expressions& expressions, bool v4) {
  if (v4) {
    constexpr std::array<std::uint8_t, 4> kMask{0xf0, 0, 0, 0};
    constexpr std::array<std::uint8_t, 4> kMulticast{224, 0, 0, 0};
    expressions.load(kIpv4.destination);
    expressions.mask(kMask);
    expressions.compare(NFT_CMP_NEQ, std::as_bytes(std::span(kMulticast)));
  } else {
    constexpr std::array<std::uint8_t, 1> kMulticast{0xff};
    expressions.load({kIpv6.destination.offset, kMulticast.size()});
    expressions.compare(NFT_CMP_NEQ, std::as_bytes(std::span(kMulticast)));
  }
}

// Every attribute that is wanted is there, of the same value; the kernel adds some of its own.
bool holds(Attributes present, Attributes wanted) {
  while (const auto want = wanted.next()) {
    const auto have = present.find(want->type);
    if (!have) return want->payload.empty();  // a nest of nothing
    const bool same = want->nested ? holds(Attributes(*have), Attributes(want->payload))
                                   : std::equal(have->begin(), have->end(), want->payload.begin(), want->payload.end());
    if (!same) return false;
  }
  return true;
}

}  // namespace

std::string_view set_of(bool v4) noexcept { return (v4 ? kIpv4 : kIpv6).set; }

void put_masquerade_rule(NftMessages& messages, bool v4) {
  const Family& family = v4 ? kIpv4 : kIpv6;
  messages.nest(NFTA_RULE_EXPRESSIONS, [&] {
    Expressions expressions(messages);
    expressions.load_family();
    expressions.compare(NFT_CMP_EQ, std::as_bytes(std::span(&family.number, 1)));
    expressions.load(family.source);
    expressions.require_in(family.set, true);
    expressions.load(family.destination);
    expressions.require_in(family.set, false);
    require_no_multicast(expressions, v4);
    expressions.masquerade();
  });
}

bool is_masquerade_rule(const Attributes& rule, bool v4) {
  NftMessages own;
  own.add(NFT_MSG_NEWRULE, 0, "compare");
  put_masquerade_rule(own, v4);
  const Attributes wanted(*reinterpret_cast<const nlmsghdr*>(own.bytes().data()), sizeof(nfgenmsg));
  Attributes theirs = rule.nest(NFTA_RULE_EXPRESSIONS);
  Attributes ours = wanted.nest(NFTA_RULE_EXPRESSIONS);
  // In this order, and no more of them.
  while (const auto one = ours.next()) {
    const auto other = theirs.next();
    if (!other || !holds(Attributes(other->payload), Attributes(one->payload))) return false;
  }
  return !theirs.next();
}

}  // namespace cni
