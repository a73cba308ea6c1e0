// The text of --help.
#include "help.hpp"

namespace cni {

std::string_view help_text() noexcept {
  return R"(usage: CNI_COMMAND=ADD|DEL|CHECK|GC|STATUS|VERSION … patu-cni <configuration

patu as a CNI plugin, for container runtimes to call; CNI specification 0.1.0 to 1.1.0. What it does depends on the name that
it is called by:

  patu-cni, patu, bridge   a veth on a bridge, with addresses from patu or from another IPAM plugin
  host-local               addresses for another plugin's interfaces
  loopback                 sets lo up

A configuration of the reference plugins works as it is; examples/cni/README.md lists every key, patu's own and the error
codes. By hand:

  ip netns add web-1
  echo '{"cniVersion": "1.0.0", "name": "pods", "type": "patu-cni", "bridge": "pods0", "isDefaultGateway": true,
         "ipam": {"type": "host-local", "subnet": "10.200.0.0/24"}}' |
    CNI_COMMAND=ADD CNI_CONTAINERID=web-1 CNI_NETNS=/run/netns/web-1 CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin patu-cni
)";
}

}  // namespace cni
