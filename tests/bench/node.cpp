// The pods are 10.64.0.2 and 10.64.0.3, the node is 10.64.0.1.
#include "node.hpp"

#include <unistd.h>

#include <string>

#include "base/thread.hpp"
#include "contest.hpp"
#include "service_lab.hpp"

namespace patu::test {
namespace {

void configure(const Netns& netns, const std::string& commands) {
  if (const std::string said = output_in(netns, "(" + commands + ") 2>&1"); !said.empty()) give_up(said);
}

void join(const Netns& host, const std::string& port, const Netns& pod) {
  const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(pod.fd());
  configure(host, "ip link add " + port + " type veth peer name eth0 netns " + path + " && ip link set " + port +
                      " master br0 up");
}

void configure_pod(const Netns& pod, const std::string& address, const std::string& more) {
  configure(pod, "ip link set lo up && ip address add " + address +
                     "/24 dev eth0 && ip link set eth0 up && "
                     "ip route add default via 10.64.0.1 && " +
                     more);
}

}  // namespace

Node make_node(Way way) {
  Node node{take(Netns::create()), take(Netns::create()), take(Netns::create()), {}};
  configure(node.host,
            "ip link set lo up && ip link add br0 type bridge && ip address add 10.64.0.1/24 dev br0 && ip link set "
            "br0 up && "
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0 && "
            "ip route add 10.128.0.0/10 via 10.64.0.3");
  join(node.host, "port0", node.client);
  join(node.host, "port1", node.server);
  configure_pod(
      node.client, "10.64.0.2",
      way == Way::bridged ? "ip route add 10.128.0.0/10 via 10.64.0.3" : "ip route add 10.64.0.3 via 10.64.0.1");
  configure_pod(node.server, "10.64.0.3",
                std::string("ip route add local 10.128.0.0/10 dev lo && sysctl -qw net.core.somaxconn=16384") +
                    (way == Way::bridged ? "" : " && ip route add 10.64.0.2 via 10.64.0.1"));
  must(in_netns(node.server.fd(), [&]() -> Result<> {
    node.listener = listen_everywhere();
    return {};
  }));
  return node;
}

}  // namespace patu::test
