// The kernel lists sockets by their destination, but tells what the hooks remember of one only to who has it: each socket that
// might be meant is looked up among its owner's descriptors. (kernel: INET_DIAG_REQ_SK_BPF_STORAGES is for TCP alone.)
#include <sys/socket.h>

#include <map>
#include <unordered_map>
#include <vector>

#include "base/try.hpp"
#include "nl/sock_diag.hpp"
#include "services/closing_pass.hpp"
#include "services/namespaces.hpp"
#include "services/socket_owners.hpp"

namespace patu::services {
namespace {

constexpr std::uint8_t kProtocols[] = {IPPROTO_UDP, IPPROTO_TCP};
constexpr std::uint8_t kFamilies[] = {AF_INET, AF_INET6};

patu_stale_key key_of(const nl::InetSocket& socket, std::uint32_t service_id) noexcept {
  patu_stale_key key{};
  std::memcpy(key.backend.bytes, socket.remote_address().bytes().data(), sizeof key.backend.bytes);
  key.port = socket.id.idiag_dport;
  key.protocol = socket.protocol;
  key.service_id = service_id;
  return key;
}

bool talks_to(const nl::InetSocket& socket, const patu_translation& peer) noexcept {
  const patu_stale_key live = key_of(socket, peer.service_id);
  return peer.is_current != 0 && peer.backend_port == live.port && peer.protocol == live.protocol &&
         std::memcmp(&peer.backend, &live.backend, sizeof live.backend) == 0;
}

// Namespaces are known by their inode numbers.
class Destroying final {
 public:
  Destroying(int connected_fd, ClosingPass& pass) : connected_fd_(connected_fd), pass_(pass), has_tcp_(pass.has_tcp()) {
    for (patu_stale_key key : pass.stale) {
      key.service_id = 0;
      backends_.insert(key);
    }
  }

  Result<> run() {
    for (unsigned round = 0; round < kClosingRounds; ++round) {
      PATU_TRY(list());
      left_.clear();
      if (candidates_.empty()) break;
      PATU_TRY(judge());
      if (doomed_.empty()) break;
      PATU_TRY(destroy());
    }
    for (const std::uint64_t inode : left_) listed_.erase(inode);
    pass_.report.namespaces = static_cast<std::uint32_t>(listed_.size());
    pass_.report.unreachable = hidden_ + static_cast<std::uint32_t>(left_.size());
    pass_.is_complete = pass_.report.unreachable == 0;
    return {};
  }

 private:
  struct Candidate {
    nl::InetSocket socket;
    std::uint64_t netns_inode;
  };

  // What is connected to such a backend, whoever brought it there. What nobody holds any more, nobody waits for.
  Result<> list() {
    candidates_.clear();
    std::uint32_t denied = 0;
    const auto list_one = [&](int netns_fd, std::uint64_t inode, int) -> Result<> {
      auto listed = list_namespace(netns_fd, inode);
      if (listed) {
        listed_.insert(inode);
        return {};
      }
      if (listed.error().code() != Errc::permission_denied) return listed;
      ++denied;
      return {};
    };
    PATU_TRY_LET(hidden, visit_namespaces(list_one));
    hidden_ = hidden + denied;
    return {};
  }

  Result<> list_namespace(int netns_fd, std::uint64_t inode) {
    PATU_TRY_LET(diag, nl::open_sock_diag_in(netns_fd));
    const auto is_candidate = [&](const nl::InetSocket& socket) {
      return socket.inode != 0 && backends_.contains(key_of(socket, 0)) && !others_.contains(socket.cookie());
    };
    for (const std::uint8_t protocol : kProtocols) {
      if (protocol == IPPROTO_TCP && !has_tcp_) continue;
      for (const std::uint8_t family : kFamilies) {
        PATU_TRY_LET(sockets, nl::list_connected(diag, family, protocol, is_candidate));
        for (const nl::InetSocket& socket : sockets) candidates_.emplace(socket.inode, Candidate{socket, inode});
      }
    }
    return {};
  }

  // Which are to be closed, and which are none of ours; what could not be looked at is left.
  Result<> judge() {
    SocketCookies unseen;
    for (const auto& [inode, candidate] : candidates_) unseen.emplace(inode, candidate.socket.cookie());
    doomed_.clear();
    const auto tell = [&](std::uint32_t inode, const std::optional<patu_translation>& peer) {
      const auto& [socket, netns_inode] = candidates_.at(inode);
      if (peer && talks_to(socket, *peer) && pass_.stale.contains(key_of(socket, peer->service_id)))
        doomed_[netns_inode].push_back(socket);
      else
        others_.insert(socket.cookie());
    };
    PATU_TRY(read_translations(connected_fd_, unseen, tell));
    for (const auto& [inode, cookie] : unseen) left_.insert(candidates_.at(inode).netns_inode);
    return {};
  }

  Result<> destroy() {
    const auto destroy_in = [&](int netns_fd, std::uint64_t inode, int) -> Result<> {
      const auto sockets = doomed_.find(inode);
      if (sockets == doomed_.end()) return {};
      PATU_TRY_LET(diag, nl::open_sock_diag_in(netns_fd));
      for (const nl::InetSocket& socket : sockets->second) {
        PATU_TRY_LET(destroyed, nl::destroy_socket(diag, socket));
        if (destroyed)
          ++pass_.report.closed;
        else
          left_.insert(inode);
      }
      return {};
    };
    PATU_TRY(visit_namespaces(destroy_in));
    return {};
  }

  int connected_fd_;
  ClosingPass& pass_;
  bool has_tcp_;
  std::set<patu_stale_key, StaleLess> backends_;             // stale, without services
  std::unordered_map<std::uint32_t, Candidate> candidates_;  // by inode number
  std::map<std::uint64_t, std::vector<nl::InetSocket>> doomed_;
  std::set<std::uint64_t> others_;  // cookies
  std::set<std::uint64_t> listed_;
  std::set<std::uint64_t> left_;  // where sockets may be that should be closed
  std::uint32_t hidden_ = 0;      // namespaces that could not be listed
};

}  // namespace

Result<> close_by_sock_diag(int connected_fd, ClosingPass& pass) { return Destroying(connected_fd, pass).run(); }

}  // namespace patu::services
