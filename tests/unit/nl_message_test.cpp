// Netlink messages as bytes: requests come out as the kernel wants them, and every malformed length is an error.
#include "nl/message.hpp"

#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <string>
#include <vector>

#include "bytes.hpp"
#include "nl/link.hpp"

namespace patu::nl {
namespace {

using test::Bytes;
using test::Exact;

std::string hex(std::span<const std::byte> bytes) {
  std::string out;
  for (const std::byte byte : bytes) {
    out += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    out += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return out;
}

std::string hex(const Request& request) {
  return hex({reinterpret_cast<const std::byte*>(request.header()), request.header()->nlmsg_len});
}

Result<std::optional<Message>> first_of(std::span<const std::byte> bytes) { return Message::next(bytes); }

Errc code_of_first(std::span<const std::byte> bytes) {
  const Exact exact(bytes);
  auto message = first_of(exact.view());
  REQUIRE_FALSE(message);
  return message.error().code();
}

std::size_t attributes_in(std::span<const std::byte> bytes) {
  const Exact exact(bytes);
  std::size_t count = 0;
  for (const Attr attr : AttrRange(exact.view())) {
    CHECK(exact.holds(attr.payload().data(), attr.payload().size()));
    ++count;
  }
  return count;
}

Result<Acknowledgement> acknowledgement_in(const Exact& bytes) {
  auto message = first_of(bytes.view());
  REQUIRE(message);
  REQUIRE(*message);
  return parse_acknowledgement(**message);
}

TEST_CASE("a request is laid out as the kernel reads it") {
  rtmsg header{};
  header.rtm_family = 2;
  Request request(RTM_NEWROUTE, NLM_F_CREATE, header);
  request.put_string(3, "br0").put<std::uint32_t>(4, 1500).put_flag(5).put_mac(1,
                                                                               *MacAddress::parse("02:00:00:00:00:07"));
  request.put_address(6, IpAddress::v4(10, 0, 0, 1)).put_address(7, *IpAddress::parse("fd00::1"));
  request.put<std::uint8_t>(8, 9);
  Bytes expected;
  expected.header(96, RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE).u8({2}).zeros(11);
  expected.u16(8).u16(3).text("br0").zeros(1).u16(8).u16(4).u32(1500).u16(4).u16(5);
  expected.u16(10).u16(1).u8({2, 0, 0, 0, 0, 7}).zeros(2).u16(8).u16(6).u8({10, 0, 0, 1});
  expected.u16(20).u16(7).u8({0xfd}).zeros(14).u8({1}).u16(5).u16(8).u8({9}).zeros(3);
  CHECK(hex(request) == hex(expected.view()));
  CHECK_FALSE(request.overflowed());
  CHECK(request.type() == RTM_NEWROUTE);
}

TEST_CASE("nests close themselves around what they hold, raw bytes included") {
  Request request(RTM_NEWLINK, 0, std::uint32_t{0});
  request.nest(18, [&] {
    request.put_string(1, "veth");
    request.nest(2, [&] { request.put_raw(std::uint16_t{0xabab}).put<std::uint32_t>(4, 7); });
  });
  request.put_flag(19);
  Bytes expected;
  expected.header(56, RTM_NEWLINK, NLM_F_REQUEST).u32(0).u16(32).u16(18 | NLA_F_NESTED);
  expected.u16(9).u16(1).text("veth").zeros(4).u16(16).u16(2 | NLA_F_NESTED).u16(0xabab).zeros(2).u16(8).u16(4).u32(7);
  expected.u16(4).u16(19);
  CHECK(hex(request) == hex(expected.view()));
}

TEST_CASE("a copy of a request is a request of its own") {
  Request request(RTM_NEWLINK, 0, std::uint32_t{0});
  Request copy = request;
  copy.put_flag(1);
  CHECK(request.header()->nlmsg_len == 20);
  CHECK(copy.header()->nlmsg_len == 24);
}

TEST_CASE("what does not fit is latched, and nothing is put behind it") {
  Request request(RTM_NEWLINK, 0, std::uint32_t{0});
  const std::vector<std::byte> rest(Request::kCapacity - 20 - 4);
  SUBCASE("an attribute") {
    request.put_bytes(1, std::span(rest).first(rest.size() - 3)).put_flag(2);
    CHECK(request.overflowed());
    CHECK(request.header()->nlmsg_len == Request::kCapacity);
  }
  SUBCASE("raw bytes") {
    request.put_bytes(1, std::span(rest).first(rest.size() - 4));
    CHECK_FALSE(request.overflowed());
    request.put_raw(std::uint64_t{1}).put_raw(std::uint32_t{1});
    CHECK(request.overflowed());
    CHECK(request.header()->nlmsg_len == Request::kCapacity - 4);
  }
  SUBCASE("a nest") {
    request.put_bytes(1, rest);
    const std::string before = hex(request);
    CHECK_FALSE(request.overflowed());
    request.nest(2, [&] { request.put_flag(3); });
    CHECK(request.overflowed());
    CHECK(hex(request) == before);
  }
  SUBCASE("an attribute inside of a nest") {
    request.nest(1, [&] { request.put_bytes(2, rest); });
    CHECK(request.overflowed());
  }
  SUBCASE("a string longer than any that rtnetlink takes") {
    request.put_string(1, std::string(255, 'a'));
    CHECK_FALSE(request.overflowed());
    request.put_string(1, std::string(256, 'a'));
    CHECK(request.overflowed());
  }
}

TEST_CASE("messages are taken off one by one, padding included") {
  Bytes bytes;
  bytes.header(17, 20).u8({7}).zeros(3).header(16, 21);
  const Exact exact(bytes.view());
  std::span<const std::byte> rest = exact.view();
  auto first = Message::next(rest);
  REQUIRE((first && *first));
  CHECK((*first)->type() == 20);
  CHECK((*first)->payload().size() == 1);
  auto second = Message::next(rest);
  REQUIRE((second && *second));
  CHECK((*second)->type() == 21);
  CHECK((*second)->payload().empty());
  auto end = Message::next(rest);
  REQUIRE(end);
  CHECK_FALSE(*end);
}

TEST_CASE("the last message's padding may be missing") {
  const Exact exact(Bytes().header(17, 20).u8({7}).view());
  std::span<const std::byte> rest = exact.view();
  CHECK(Message::next(rest));
  CHECK(rest.empty());
}

TEST_CASE("a message whose length cannot be right is an error, never a read beyond the buffer") {
  for (const std::uint32_t length : {0U, 1U, 15U, 21U, 0x7fffffffU, 0x80000000U, 0xfffffff0U, 0xffffffffU}) {
    CAPTURE(length);
    CHECK(code_of_first(Bytes().header(length, 20).u32(0).view()) == Errc::protocol);
  }
  for (std::size_t size = 1; size < sizeof(nlmsghdr); ++size) {
    CAPTURE(size);
    CHECK(code_of_first(Bytes().header(16, 20).view().first(size)) == Errc::protocol);
  }
}

TEST_CASE("a body shorter than its family's header is an error, and has no attributes") {
  for (std::uint32_t size = 0; size < sizeof(ifinfomsg); ++size) {
    const Exact exact(Bytes().header(16 + size, RTM_NEWLINK).zeros(size).view());
    const auto message = first_of(exact.view());
    REQUIRE((message && *message));
    const auto body = (*message)->body<ifinfomsg>();
    REQUIRE_FALSE(body);
    CHECK(body.error().code() == Errc::protocol);
    CHECK((*message)->attributes(sizeof(ifinfomsg)).begin() == std::default_sentinel);
    CHECK_FALSE(parse_link(**message));
  }
}

TEST_CASE("attributes end at the first one whose length cannot be right") {
  CHECK(attributes_in({}) == 0);
  for (std::size_t size = 1; size < 4; ++size) CHECK(attributes_in(Bytes().u16(4).u16(1).view().first(size)) == 0);
  for (const std::uint16_t length : std::initializer_list<std::uint16_t>{0, 1, 2, 3, 9, 0x7fff, 0x8000, 0xffff}) {
    CAPTURE(length);
    CHECK(attributes_in(Bytes().u16(5).u16(1).u32(0).u16(length).u16(2).u32(0).view()) == 1);
  }
  CHECK(attributes_in(Bytes().u16(5).u16(1).u32(0).u16(8).u16(2).u32(0).view()) == 2);
  CHECK(attributes_in(Bytes().u16(5).u16(1).u8({0}).view()) == 1);  // without the padding of the last one
}

TEST_CASE("an attribute's value is read only from a payload of its shape") {
  const auto attr = [](Bytes& bytes) { return Attr(bytes.view()); };
  Bytes number = Bytes().u16(8).u16(4 | NLA_F_NESTED).u32(1500);
  CHECK(attr(number).type() == 4);
  CHECK(attr(number).as<std::uint32_t>() == 1500U);
  CHECK(attr(number).as<std::uint16_t>().error().code() == Errc::protocol);
  CHECK(attr(number).as<std::uint64_t>().error().code() == Errc::protocol);
  CHECK(attr(number).mac().error().code() == Errc::protocol);
  CHECK(attr(number).address() == IpAddress::v4(0xdc, 5, 0, 0));
  Bytes name = Bytes().u16(8).u16(3).text("lo").zeros(2);
  CHECK(attr(name).string() == "lo");
  Bytes endless = Bytes().u16(7).u16(3).text("eth");
  CHECK(attr(endless).string().error().code() == Errc::protocol);
  Bytes empty = Bytes().u16(4).u16(3);
  CHECK(attr(empty).string().error().code() == Errc::protocol);
  CHECK(attr(empty).address().error().code() == Errc::protocol);
  Bytes mac = Bytes().u16(10).u16(1).u8({2, 0, 0, 0, 0, 7});
  CHECK(attr(mac).mac() == *MacAddress::parse("02:00:00:00:00:07"));
  Bytes v6 = Bytes().u16(20).u16(1).u8({0xfd}).zeros(14).u8({1});
  CHECK(attr(v6).address() == *IpAddress::parse("fd00::1"));
  CHECK(Attr({}).type() == 0);
  CHECK(Attr({}).payload().empty());
}

TEST_CASE("an acknowledgement tells the errno and the kernel's sentence") {
  const auto text = [](Bytes bytes) {
    return bytes.u16(8).u16(NLMSGERR_ATTR_OFFS).u32(4).u16(11).u16(NLMSGERR_ATTR_MSG).text("no way").zeros(2);
  };
  const std::uint32_t minus_eperm = static_cast<std::uint32_t>(-EPERM);
  SUBCASE("success") {
    const Exact bytes(Bytes().header(36, NLMSG_ERROR, NLM_F_CAPPED).u32(0).header(20, RTM_NEWLINK).view());
    const auto ack = acknowledgement_in(bytes);
    REQUIRE(ack);
    CHECK(ack->error == 0);
    CHECK(ack->text.empty());
  }
  SUBCASE("an error with the request left out") {
    const Exact bytes(
        text(Bytes().header(56, NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS).u32(minus_eperm).header(99, 16)).view());
    const auto ack = acknowledgement_in(bytes);
    REQUIRE(ack);
    CHECK(ack->error == EPERM);
    CHECK(ack->text == "no way");
  }
  SUBCASE("an error with the request echoed") {
    const Exact bytes(
        text(Bytes().header(64, NLMSG_ERROR, NLM_F_ACK_TLVS).u32(minus_eperm).header(22, 16).zeros(8)).view());
    const auto ack = acknowledgement_in(bytes);
    REQUIRE(ack);
    CHECK(ack->error == EPERM);
    CHECK(ack->text == "no way");
  }
  SUBCASE("the end of a dump") {
    const Exact bytes(text(Bytes().header(40, NLMSG_DONE, NLM_F_ACK_TLVS).u32(minus_eperm)).view());
    const auto ack = acknowledgement_in(bytes);
    REQUIRE(ack);
    CHECK(ack->error == EPERM);
    CHECK(ack->text == "no way");
  }
}

TEST_CASE("an acknowledgement that cannot be right is an error") {
  const auto code = [](const Bytes& bytes) {
    const Exact exact(bytes.view());
    auto ack = acknowledgement_in(exact);
    REQUIRE_FALSE(ack);
    return ack.error().code();
  };
  for (std::uint32_t size = 0; size < 20; ++size)
    CHECK(code(Bytes().header(16 + size, NLMSG_ERROR).zeros(size)) == Errc::protocol);
  for (std::uint32_t size = 0; size < 4; ++size)
    CHECK(code(Bytes().header(16 + size, NLMSG_DONE).zeros(size)) == Errc::protocol);
  for (const std::uint32_t error : {1U, 0x7fffffffU, 0x80000000U, static_cast<std::uint32_t>(-4096)})
    CHECK(code(Bytes().header(36, NLMSG_ERROR, NLM_F_CAPPED).u32(error).header(20, 16)) == Errc::protocol);
  for (const std::uint32_t echoed : {0U, 15U, 21U, 0x80000000U, 0xffffffffU})
    CHECK(code(Bytes().header(36, NLMSG_ERROR, NLM_F_ACK_TLVS).u32(0).header(echoed, 16)) == Errc::protocol);
  CHECK(code(Bytes().header(25, NLMSG_DONE, NLM_F_ACK_TLVS).u32(0).u16(5).u16(NLMSGERR_ATTR_MSG).u8({'x'})) ==
        Errc::protocol);
}

}  // namespace
}  // namespace patu::nl
