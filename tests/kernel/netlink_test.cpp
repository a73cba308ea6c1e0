// Calls, batches and dumps report what the kernel said, all of it and nothing else.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "nl/link.hpp"
#include "nl/socket.hpp"
#include "sandbox.hpp"

namespace patu::nl {
namespace {

using test::output_in;

IfName name_of(const std::string& text) { return *IfName::parse(text); }

// A namespace of its own for each test, and a socket in it.
struct Net {
  Netns netns = *Netns::create();
  Socket socket = *Socket::open_in(netns.fd());
};

Request bridge(const std::string& name, std::uint32_t mtu = 1500) {
  return create_bridge({name_of(name), MacAddress::from_bytes({2, 0, 0, 0, 0, 1}), mtu});
}

// Two links each, v<i> and p<i>. Many of them go with their namespace at little cost, unlike bridges.
std::vector<Request> veths(int count) {
  std::vector<Request> requests;
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    VethSpec spec{.name = name_of("v" + number), .peer_name = name_of("p" + number)};
    spec.mac = MacAddress::from_bytes({2, 0, 0, 0, 1, static_cast<std::uint8_t>(i)});
    spec.peer_mac = MacAddress::from_bytes({2, 0, 0, 0, 2, static_cast<std::uint8_t>(i)});
    requests.push_back(create_veth(spec));
  }
  return requests;
}

bool exists(const Net& net, const std::string& name) {
  return !output_in(net.netns, "ip -br link show dev " + name + " 2>/dev/null").empty();
}

std::set<std::string> names_by_ip(const Net& net) {
  const std::string lines = output_in(net.netns, "ip -j link | jq -r '.[].ifname'");
  std::set<std::string> names;
  for (std::size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1)
    names.insert(lines.substr(at, end - at));
  return names;
}

std::set<std::string> names_of(const std::vector<Link>& links) {
  std::set<std::string> names;
  for (const Link& link : links) names.insert(link.name);
  return names;
}

// No answer waits for the next call.
bool nothing_left(const Socket& socket) {
  char byte = 0;
  return ::recv(socket.fd(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

TEST_CASE("a socket belongs to the namespace it was opened in, and its descriptor does not outlive an exec") {
  const Net net;
  CHECK(net.socket.netns_cookie() == *net.netns.cookie());
  CHECK((::fcntl(net.socket.fd(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(net.socket.port() != 0);
  timeval patience{};
  socklen_t size = sizeof patience;
  REQUIRE(::getsockopt(net.socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, &size) == 0);
  CHECK(patience.tv_sec == 5);
  auto here = Socket::open();
  REQUIRE(here);
  CHECK(here->netns_cookie() == *Netns::current()->cookie());
  CHECK(here->netns_cookie() != net.socket.netns_cookie());
}

TEST_CASE("sockets leave no descriptor and no thread") {
  const Net net;
  const std::size_t descriptors = test::open_descriptors();
  const std::size_t threads = test::threads();
  { CHECK(Socket::open_in(net.netns.fd())); }
  CHECK_FALSE(Socket::open_in(-1));
  CHECK_FALSE(Socket::adopt(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))));
  CHECK(test::open_descriptors() == descriptors);
  CHECK(test::threads() == threads);
}

TEST_CASE("an error carries the kernel's errno and its sentence") {
  Net net;
  Request request = bridge("br0", 10);
  const auto result = net.socket.call(request);
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == Errc::invalid_argument);
  CHECK(result.error().os_error() == EINVAL);
  CHECK(result.error().to_string() == "mtu less than device minimum: Invalid argument (EINVAL)");
}

TEST_CASE("a request that overflowed is refused before anything is sent") {
  Net net;
  Request big(RTM_NEWLINK, 0, ifinfomsg{});
  big.put_bytes(1, std::vector<std::byte>(Request::kCapacity));
  CHECK(net.socket.call(big).error().code() == Errc::invalid_argument);
  CHECK(net.socket.dump(big, [](const Message&) -> Result<> { return {}; }, {}).error().code() ==
        Errc::invalid_argument);
  std::vector<Request> requests{bridge("br0"), big};
  const auto result = net.socket.batch(requests);
  REQUIRE_FALSE(result);
  CHECK(result.error().index == 1);
  CHECK(result.error().error.code() == Errc::invalid_argument);
  CHECK_FALSE(exists(net, "br0"));
}

TEST_CASE("a batch goes on behind a failure and reports the first one") {
  Net net;
  std::vector<Request> requests{bridge("br0"), bridge("br0"), delete_link(999'999), bridge("br1")};
  const auto result = net.socket.batch(requests);
  REQUIRE_FALSE(result);
  CHECK(result.error().index == 1);
  CHECK(result.error().error.code() == Errc::already_exists);
  CHECK(exists(net, "br0"));
  CHECK(exists(net, "br1"));
  CHECK(nothing_left(net.socket));
}

TEST_CASE("the last request's failure is the batch's, and an empty batch succeeds") {
  Net net;
  std::vector<Request> requests{bridge("br0"), delete_link(999'999)};
  const auto result = net.socket.batch(requests);
  REQUIRE_FALSE(result);
  CHECK(result.error().index == 1);
  CHECK(result.error().error.code() == Errc::not_found);
  CHECK(net.socket.batch({}));
}

TEST_CASE("a batch of more requests than one datagram takes is one batch for its caller") {
  Net net;
  std::vector<Request> requests = veths(70);
  requests.push_back(get_link(name_of("v69")));
  requests[50] = requests[0];
  std::vector<std::size_t> replies;
  const auto result = net.socket.batch(requests, [&](std::size_t index, const Message&) -> Result<> {
    replies.push_back(index);
    return {};
  });
  REQUIRE_FALSE(result);
  CHECK(result.error().index == 50);
  CHECK(result.error().error.code() == Errc::already_exists);
  CHECK(replies == std::vector<std::size_t>{70});
  CHECK(exists(net, "v69"));
  CHECK(names_by_ip(net).size() == 2 * 69 + 1);
}

TEST_CASE("a GET in a batch sees what was created before it, wherever it stands") {
  Net net;
  std::vector<Request> requests{bridge("br0"), get_link(name_of("br0")), bridge("br1"), get_link(name_of("br1"))};
  std::vector<std::pair<std::size_t, std::string>> seen;
  const auto on_reply = [&](std::size_t index, const Message& message) -> Result<> {
    seen.emplace_back(index, parse_link(message)->name);
    return {};
  };
  REQUIRE(net.socket.batch(requests, on_reply));
  CHECK(seen == std::vector<std::pair<std::size_t, std::string>>{{1, "br0"}, {3, "br1"}});
  // Without a callback the replies are dropped, and stay away from the next call.
  std::vector<Request> again{get_link(name_of("br0")), get_link(name_of("br1"))};
  CHECK(net.socket.batch(again));
  CHECK(nothing_left(net.socket));
  const auto link = find_link(net.socket, name_of("br1"));
  REQUIRE((link && *link));
  CHECK((*link)->name == "br1");
}

TEST_CASE("a reply that the caller refuses is the failure of its request") {
  Net net;
  std::vector<Request> requests{bridge("br0"), get_link(name_of("br0")), bridge("br1")};
  const auto result = net.socket.batch(requests, [](std::size_t, const Message&) -> Result<> {
    return tl::unexpected(Error(Errc::protocol, "refused"));
  });
  REQUIRE_FALSE(result);
  CHECK(result.error().index == 1);
  CHECK(result.error().error.to_string() == "refused");
  CHECK(exists(net, "br1"));
}

TEST_CASE("the answers to many failures fit into the socket's queue") {
  Net net;
  std::vector<Request> requests;
  for (std::uint32_t i = 0; i < 1000; ++i) requests.push_back(delete_link(900'000 + i));
  const auto result = net.socket.batch(requests);
  REQUIRE_FALSE(result);
  CHECK(result.error().index == 0);
  CHECK(result.error().error.os_error() == ENODEV);
}

TEST_CASE("a dump of many datagrams is complete") {
  Net net;
  std::vector<Request> requests = veths(50);
  REQUIRE(net.socket.batch(requests));
  std::size_t bytes = 0;
  Request request(RTM_GETLINK, 0, ifinfomsg{});
  const auto count = [&](const Message& message) -> Result<> {
    bytes += message.header().nlmsg_len;
    return {};
  };
  REQUIRE(net.socket.dump(request, count, {}));
  CHECK(bytes > 64 * 1024);
  const auto links = list_links(net.socket, 0);
  REQUIRE(links);
  CHECK(links->size() == 101);
  CHECK(names_of(*links) == names_by_ip(net));
}

// Changes the table while a dump is under way, at its first message each time.
struct Churn {
  Net& net;
  Socket other = *Socket::open_in(net.netns.fd());
  unsigned changes;  // how many dumps to interrupt
  unsigned restarts = 0;
  std::set<std::string> names{};

  Result<> run() {
    Request request(RTM_GETLINK, 0, ifinfomsg{});
    const auto on_message = [&](const Message& message) -> Result<> {
      if (names.empty() && changes > 0) {
        Request change = nl::set_link_group(1, changes--);
        if (auto result = other.call(change); !result) return result;
        Request create = bridge("new" + std::to_string(changes));
        if (auto result = other.call(create); !result) return result;
      }
      names.insert(parse_link(message)->name);
      return {};
    };
    return net.socket.dump(request, on_message, [&] {
      ++restarts;
      names.clear();
    });
  }
};

TEST_CASE("an interrupted dump starts again, and the caller sees one consistent table") {
  Net net;
  std::vector<Request> requests = veths(75);
  REQUIRE(net.socket.batch(requests));
  Churn churn{.net = net, .changes = 2};
  REQUIRE(churn.run());
  CHECK(churn.restarts == 2);
  CHECK(churn.names.size() == 150 + 2 + 1);
  CHECK(churn.names == names_by_ip(net));
}

TEST_CASE("a dump that is interrupted each time gives up, and the socket stays usable") {
  Net net;
  std::vector<Request> requests = veths(75);
  REQUIRE(net.socket.batch(requests));
  Churn churn{.net = net, .changes = 100};
  const auto result = churn.run();
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == Errc::busy);
  CHECK(churn.restarts == 3);
  CHECK(list_links(net.socket, 0));
}

TEST_CASE("a dump that its caller refuses is read to its end") {
  Net net;
  std::vector<Request> requests = veths(50);
  REQUIRE(net.socket.batch(requests));
  Request request(RTM_GETLINK, 0, ifinfomsg{});
  int calls = 0;
  const auto result = net.socket.dump(request,
                                      [&](const Message&) -> Result<> {
                                        ++calls;
                                        return tl::unexpected(Error(Errc::protocol, "refused"));
                                      },
                                      {});
  REQUIRE_FALSE(result);
  CHECK(result.error().to_string() == "refused");
  CHECK(calls == 1);
  CHECK(list_links(net.socket, 0)->size() == 101);
}

TEST_CASE("a call that the kernel does not answer times out, and the next one is answered") {
  Net net;
  const timeval soon{0, 50'000};
  REQUIRE(::setsockopt(net.socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
  Request mute = delete_link(999'999);
  mute.header()->nlmsg_len = 12;  // the kernel skips what is shorter than a header
  const auto result = net.socket.call(mute);
  REQUIRE_FALSE(result);
  CHECK(result.error().code() == Errc::timed_out);
  Request next = delete_link(999'999);
  CHECK(net.socket.call(next).error().code() == Errc::not_found);
}

TEST_CASE("behind a datagram that nobody answered no other one is sent") {
  Net net;
  const timeval soon{0, 50'000};
  REQUIRE(::setsockopt(net.socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) == 0);
  std::vector<Request> requests(32, set_link_up(name_of("lo")));
  requests.back().header()->nlmsg_len = 12;
  requests.push_back(bridge("br0"));
  const auto result = net.socket.batch(requests);
  REQUIRE_FALSE(result);
  CHECK(result.error().error.code() == Errc::timed_out);
  CHECK_FALSE(exists(net, "br0"));
}

TEST_CASE("the answer to an earlier request is not taken for this one's") {
  Net net;
  const auto leave_answer = [&] {
    Request late = delete_link(999'999);
    late.header()->nlmsg_seq = 77;
    REQUIRE(::send(net.socket.fd(), late.header(), late.header()->nlmsg_len, 0) > 0);
  };
  leave_answer();
  Request next = set_link_up(name_of("lo"));
  CHECK(net.socket.call(next));
  leave_answer();
  CHECK(list_links(net.socket, 0));
}

}  // namespace
}  // namespace patu::nl
