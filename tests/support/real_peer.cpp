// One line a socket: "sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode …".
#include "real_peer.hpp"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace patu::test {
namespace {

// Words of eight digits, each a machine word of the address as it is in memory.
Endpoint parse(const std::string& text) {
  const std::size_t colon = text.find(':');
  IpAddress::Bytes bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const std::size_t words = colon / 8;
  for (std::size_t i = 0; i < words; ++i) {
    const auto word = static_cast<std::uint32_t>(std::stoul(text.substr(8 * i, 8), nullptr, 16));
    std::memcpy(bytes.data() + 16 - 4 * (words - i), &word, sizeof word);
  }
  return {IpAddress::from_bytes(bytes), static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1), nullptr, 16))};
}

std::optional<Endpoint> find(const char* table, ino_t inode) {
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string sl, local, remote, state, queues, timer, retransmits, uid, timeout;
    ino_t found = 0;
    fields >> sl >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> found;
    if (found == inode) return parse(remote);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Endpoint> real_peer(int socket_fd, Protocol protocol) {
  struct stat status {};
  if (::fstat(socket_fd, &status) != 0) return std::nullopt;
  const bool tcp = protocol == Protocol::tcp;
  const auto v4 = find(tcp ? "/proc/self/net/tcp" : "/proc/self/net/udp", status.st_ino);
  return v4 ? v4 : find(tcp ? "/proc/self/net/tcp6" : "/proc/self/net/udp6", status.st_ino);
}

}  // namespace patu::test
