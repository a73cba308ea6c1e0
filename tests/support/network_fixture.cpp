// Counting and probing for the tests of Network.
#include "network_fixture.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <sstream>

#include "base/thread.hpp"
#include "base/try.hpp"
#include "base/unique_fd.hpp"
#include "raw_map.hpp"

namespace patu::test {
namespace {

constexpr std::uint16_t kPort = 4242;
constexpr int kPatienceMs = 5000;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress to_socket_address(const IpAddress& address) {
  SocketAddress out;
  if (address.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(kPort);
    std::memcpy(&in.sin_addr, address.bytes().data() + 12, 4);
    out.size = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(out.storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(kPort);
    std::memcpy(&in.sin6_addr, address.bytes().data(), 16);
    out.size = sizeof in;
  }
  return out;
}

Result<UniqueFd> datagram_socket(const Netns& netns, int family) {
  UniqueFd fd;
  const auto work = [&]() -> Result<> {
    fd = UniqueFd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return fd ? Result<>() : Result<>(fail_errno(errno, "socket"));
  };
  PATU_TRY(in_netns(netns.fd(), work));
  return fd;
}

}  // namespace

NetworkOptions network_options(const char* bridge, const char* v4, const char* v6) {
  NetworkOptions options{*IfName::parse(bridge)};
  if (v4 != nullptr) options.subnets.push_back({*Prefix::parse(v4)});
  if (v6 != nullptr) options.subnets.push_back({*Prefix::parse(v6)});
  return options;
}

Census Census::take() {
  Census out;
  out.interfaces = count_of(output_of("ip -o link show"), "\n");
  out.leases = Leases("leases").size();
  out.attachments = Attachments("attachments").size();
  out.pods = Pods("pods").size();
  out.descriptors = open_descriptors();
  out.threads = test::threads();
  return out;
}

std::string to_string(const Census& census) {
  std::ostringstream out;
  out << census.interfaces << " interfaces, " << census.leases << " leases, " << census.attachments << " attachments, "
      << census.pods << " pods, " << census.descriptors << " descriptors, " << census.threads << " threads";
  return out.str();
}

NetworkFixture::NetworkFixture(const NetworkOptions& wanted, const DatapathOptions& instance)
    : InstanceFixture(instance), network_options_(wanted), network(must(Network::open(datapath, wanted))) {}

NetworkFixture::~NetworkFixture() {
  // Not CHECK_MESSAGE: while a failed test is unwound, doctest would read the error of a success.
  if (auto emptied = network.reconcile(std::span<const AttachmentId>{}); !emptied)
    FAIL_CHECK(emptied.error().to_string());
  if (auto removed = network.remove(); !removed) FAIL_CHECK(removed.error().to_string());
}

void check_well(const Network& network) {
  for (const Deviation& one : must(network.check())) FAIL_CHECK(one.id.to_string() << ": " << one.what);
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

std::vector<Netns> make_pods(std::size_t count) {
  std::vector<Netns> pods;
  for (std::size_t i = 0; i < count; ++i) pods.push_back(must(Netns::create()));
  return pods;
}

bool reaches(const Netns& from, const Netns& to, const IpAddress& address) {
  const SocketAddress target = to_socket_address(address);
  auto receiver = datagram_socket(to, target.storage.ss_family);
  auto sender = datagram_socket(from, target.storage.ss_family);
  if (!receiver || !sender) return false;
  const auto* raw = reinterpret_cast<const sockaddr*>(&target.storage);
  if (::bind(receiver->get(), raw, target.size) != 0) return false;
  if (::sendto(sender->get(), "ping", 4, 0, raw, target.size) != 4) return false;
  pollfd waiting{receiver->get(), POLLIN, 0};
  return ::poll(&waiting, 1, kPatienceMs) == 1;
}

}  // namespace patu::test
