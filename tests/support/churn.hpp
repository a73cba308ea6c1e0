// A service whose backends are replaced all at once, again and again, and clients that judge where they arrive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "datagrams.hpp"
#include "service_lab.hpp"

namespace patu::test {

inline constexpr std::uint32_t kSetSize = 16;
inline constexpr std::uint32_t kVersions = 1u << 18;  // that backends' numbers can tell apart

// Set number v has 1 to 16 backends of either family, and shares none with another.
inline std::uint32_t size_of_set(std::uint32_t version) { return 1 + version * 7 % kSetSize; }
// Two IPv4 and two IPv6 addresses, each with a TCP port and, if asked for, a UDP port.
enum class Protocols : std::uint8_t { tcp, tcp_and_udp };
Service churned(std::uint32_t version, Protocols protocols = Protocols::tcp);
// Fills the hash, so that buckets hold several frontends; half of them are exchanged with every version.
Service neighbours(std::uint32_t version);

struct ChurnCounters {
  std::atomic<std::uint32_t> started{0};  // the last version whose upsert began, and ended
  std::atomic<std::uint32_t> finished{0};
  std::atomic<std::uint32_t> clients_done{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> tcp_connects{0};
  std::atomic<std::uint64_t> udp_connects{0};
  std::atomic<std::uint64_t> answers{0};  // to datagrams
  std::atomic<std::uint64_t> closed{0};   // sockets, because their backend had been taken out: as it should be
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> misled{0};
  std::atomic<int> last_error{0};

  std::uint64_t connects() const { return tcp_connects + udp_connects; }
};

// True if the peer belongs to a set that was in force at some moment between two.
bool was_in_force(const Endpoint& peer, bool v4, std::uint32_t first, std::uint32_t last);

enum class ChurnWork : std::uint8_t {
  tcp_connect,
  udp_connect,  // a new socket each
  udp_talk,     // the same, and a datagram there and back
  udp_ask,      // datagrams there and back from a few sockets that are never connected
};
// A client that does this many times, or until it is told to stop; needs a DatagramServer for the last two.
pid_t start_churn_client(const ServiceLab& lab, ChurnCounters& counters, ChurnWork work, std::uint32_t times,
                         unsigned seconds = 300);
// Empty, or why it could not be written.
std::string replace(ServiceTable& table, ChurnCounters& counters, std::uint32_t version,
                    Protocols protocols = Protocols::tcp);

}  // namespace patu::test
