// UDP with services: a server that says which address it was asked at, and clients that say whom they heard.
#pragma once

#include <optional>
#include <thread>

#include "service_lab.hpp"

namespace patu::test {

// Answers at every address and port kBackendPort of the sandbox, from the address that was asked.
class DatagramServer final {
 public:
  DatagramServer();
  DatagramServer(const DatagramServer&) = delete;
  DatagramServer& operator=(const DatagramServer&) = delete;
  ~DatagramServer();

 private:
  UniqueFd socket_;
  UniqueFd stop_;
  std::thread thread_;
};

struct Answer {
  int error = 0;       // errno; ETIMEDOUT if there was none in five seconds
  Endpoint from{};     // as recvmsg(2) tells
  Endpoint backend{};  // that answered
};

int send_datagram(int socket_fd, Socket kind, const Endpoint& to);  // 0 or errno
int send_connected(int socket_fd);
Answer receive_datagram(int socket_fd);
Answer ask(int socket_fd, Socket kind, const Endpoint& to);
Answer ask_connected(int socket_fd);

}  // namespace patu::test
