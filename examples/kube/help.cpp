// The text of --help.
#include "arguments.hpp"

namespace kube {

const char* help_text() noexcept {
  return R"(usage: patu-kube [--instance NAME] [--bpffs DIR] [--cgroup DIR] [--max-services N] COMMAND

Makes Kubernetes' services work on this node, without kube-proxy: the kernel resolves them when a socket connects or sends.

  apply -f FILE|-     make the instance's services be exactly those of FILE (-: standard input), which is what
                      `kubectl get services,endpointslices -A -o json` prints
                      (also again after an address of the node has changed: node ports and external addresses follow)
      --node NAME         endpoints of this node are local to it (default: the host's name)
      --dry-run           show what would change, and change nothing
      --allow-empty       also apply a list that has no service, or services and no EndpointSlice at all
      --loopback          node ports also through 127.0.0.1 and ::1, for the node's own processes
      --reserve           bind(2) to a node port fails in the node's namespace (of 127.0.0.1 and ::1 only with --loopback)
  list [NAME…]        show services, their frontends and backends, as the kernel has them
  explain ADDRESS PORT [PROTOCOL]
  explain ADDRESS:PORT[/PROTOCOL]
                      say what the kernel does with a socket that connects there, and why; TCP (default) or UDP.
                      An IPv6 address before a colon stands in brackets
      --netns PATH        as seen from this network namespace, such as /proc/PID/ns/net
  delete NAME…        remove services
  delete --all        remove every service of the instance, whoever made it
      --dry-run           show what would go, and change nothing

NAME is `namespace/name` for all ports of a Service, or `namespace/name:port` for the one of that name.
-o json with any command prints JSON for machines.

  --instance NAME     the instance of patu (default: default)
  --bpffs DIR         where a BPF file system is mounted (default: /sys/fs/bpf)
  --cgroup DIR        whose processes see the services (default: the root of the cgroup2 hierarchy)
  --max-services N    room for twice as many frontends, if this call makes the instance (default: 4096)

Run it as root in the node's network namespace. apply loads an instance that is not there yet; the other commands and
--dry-run load nothing, and say that there is no service. What was applied stays when the program ends, until it is changed,
or the node starts again.

An object that cannot be read is named, and its service stays as it was. A service that patu has no room for, or cannot
have, is refused by name, and stays as it was.

exit status:
  0  everything was done
  1  it failed; what had been written until then is complete for each service
  2  the command line is wrong
  3  done, except for objects that could not be honoured, each named with its reason on standard error; or a NAME was not found
)";
}

}  // namespace kube
