// No reply, however mangled, makes the reader leave its buffer or run for ever.
#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

#include "bytes.hpp"
#include "nl/link.hpp"
#include "nl/message.hpp"

namespace patu::nl {
namespace {

using test::Bytes;
using test::Exact;

// Reads all that there is in every way that there is; false if something lies outside of the buffer.
bool read_attributes(const Exact& bytes, const AttrRange& range, unsigned depth) {
  bool inside = true;
  for (const Attr attr : range) {
    inside = inside && bytes.holds(attr.payload().data(), attr.payload().size());
    (void)attr.as<std::uint32_t>();
    (void)attr.mac();
    (void)attr.address();
    if (const auto text = attr.string()) inside = inside && bytes.holds(text->data(), text->size());
    if (depth > 0) inside = read_attributes(bytes, AttrRange(attr), depth - 1) && inside;
  }
  return inside;
}

bool read_everything(const Exact& bytes) {
  bool inside = true;
  std::span<const std::byte> rest = bytes.view();
  for (std::size_t before = rest.size();; before = rest.size()) {
    const auto message = Message::next(rest);
    if (!message || !*message) return inside;
    inside = inside && rest.size() + sizeof(nlmsghdr) <= before;  // or it would never end
    inside = inside && bytes.holds((*message)->payload().data(), (*message)->payload().size());
    (void)(*message)->body<tcmsg>();
    if (const auto ack = parse_acknowledgement(**message))
      inside = inside && bytes.holds(ack->text.data(), ack->text.size());
    (void)parse_link(**message);
    inside = read_attributes(bytes, (*message)->attributes(sizeof(ifinfomsg)), 3) && inside;
  }
}

std::vector<Bytes> specimens() {
  Bytes link;
  link.header(84, RTM_NEWLINK).zeros(16).u16(8).u16(IFLA_IFNAME).text("br0").zeros(1).u16(8).u16(IFLA_MTU).u32(1500);
  link.u16(10)
      .u16(IFLA_ADDRESS)
      .zeros(8)
      .u16(16)
      .u16(IFLA_LINKINFO)
      .u16(11)
      .u16(IFLA_INFO_KIND)
      .text("bridge")
      .zeros(2);
  link.u16(8).u16(IFLA_GROUP).u32(1);
  Bytes dump = link;
  dump.header(20, NLMSG_DONE).u32(0);
  Bytes capped;
  capped.header(48, NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS).u32(static_cast<std::uint32_t>(-EPERM)).header(20, 16);
  capped.u16(11).u16(NLMSGERR_ATTR_MSG).text("no way").zeros(2);
  Bytes echoed;
  echoed.header(56, NLMSG_ERROR, NLM_F_ACK_TLVS).u32(static_cast<std::uint32_t>(-EPERM)).header(24, 16).zeros(8);
  echoed.u16(11).u16(NLMSGERR_ATTR_MSG).text("no way").zeros(2);
  return {link, dump, capped, echoed};
}

TEST_CASE("no mutation of a reply makes the reader leave its buffer") {
  constexpr std::uint16_t kLengths[] = {0, 1, 3, 4, 5, 15, 16, 17, 0x7fff, 0x8000, 0xfffc, 0xffff};
  std::mt19937_64 random(20240607);
  const std::vector<Bytes> originals = specimens();
  std::size_t outside = 0;
  for (int round = 0; round < 250'000; ++round) {
    const auto original = originals[random() % originals.size()].view();
    std::vector<std::byte> bytes(original.begin(), original.end());
    for (std::size_t changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = random() % bytes.size();
      if (random() % 2 == 0 && at % 2 == 0 && at + 2 <= bytes.size())
        std::memcpy(&bytes[at], &kLengths[random() % std::size(kLengths)], 2);
      else
        bytes[at] = static_cast<std::byte>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    if (!read_everything(Exact(bytes))) ++outside;
  }
  CHECK(outside == 0);
}

TEST_CASE("the specimens of the mutation test are read to their end") {
  for (const Bytes& bytes : specimens()) {
    std::span<const std::byte> rest = bytes.view();
    while (!rest.empty()) REQUIRE(Message::next(rest));
  }
  const std::vector<Bytes> all = specimens();
  std::span<const std::byte> rest = all[0].view();
  const auto message = Message::next(rest);
  REQUIRE((message && *message));
  const auto parsed = parse_link(**message);
  REQUIRE(parsed);
  CHECK(parsed->name == "br0");
  CHECK(parsed->kind == "bridge");
  CHECK(parsed->group == 1);
}

}  // namespace
}  // namespace patu::nl
