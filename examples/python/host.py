#!/usr/bin/env python3
# The hosts' scenario in Python: a node with two pods and a service, from nothing and back to nothing.
import argparse
import contextlib
import socket
import sys

import patu

SERVICE_ADDRESSES = ("10.96.0.53:53", "[fd00:96::53]:53")


def attach_pods(network, *netns):
    """Both pods in one call: attach makes all of a batch, or none of it."""
    pods = network.attach(patu.Pod("web-1", netns[0]), patu.Pod("web-2", netns[1]))
    for pod in pods:
        print(f"pod {pod.container_id}: {' '.join(map(str, pod.addresses))}, mtu {pod.mtu}")
    return pods


def endpoint(address, port):
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def write_service(services, pods):
    """The backends are the pods, with every address that they have. The second sync finds nothing to do."""
    frontends = [patu.Frontend(address, "udp") for address in SERVICE_ADDRESSES]
    backends = [patu.Backend(endpoint(address.ip, 53)) for pod in pods for address in pod.addresses]
    for _ in range(2):
        report = services.sync([patu.Service("default/dns", frontends, backends)])
        print(f"sync: {len(report.added)} added, {len(report.changed)} changed, {len(report.removed)} removed, "
              f"{report.unchanged} unchanged, {len(report.refused)} refused")


def use_service(services):
    """Connects as any program does; the service's statistics tell that its sockets were given backends."""
    for to in (*SERVICE_ADDRESSES, "10.96.0.53:54"):
        found = services.explain(to, "udp")
        print(f"udp {to}:", found.verdict, *(each.endpoint for each in found.candidates))
    for _ in range(10):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("10.96.0.53", 53))
    for stats in services.stats():
        print(f"{stats.name}: {stats.connects} connects, {stats.refused} refused")


def remove_all(network, services):
    try:
        network.remove()
    except patu.Error as error:
        print(f"{error.name}: {error}")
    services.remove("default/dns")
    network.detach("web-1", "web-2")
    network.remove()


def main():
    parser = argparse.ArgumentParser(description="The example of patu's Python module.")
    parser.add_argument("--bpffs")
    parser.add_argument("--cgroup")
    options = {"instance": "example", **vars(parser.parse_args())}
    with contextlib.ExitStack() as stack:
        datapath = stack.enter_context(patu.Datapath.open(**options))
        network = stack.enter_context(datapath.network("example0", ["10.201.0.0/24", "fd00:201::/64"]))
        services = stack.enter_context(datapath.services())
        print(f"network {network.bridge}")
        netns = [stack.enter_context(patu.Netns.create()) for _ in range(2)]
        write_service(services, attach_pods(network, *netns))
        use_service(services)
        remove_all(network, services)
    patu.Datapath.unload(**options)
    print("removed")


if __name__ == "__main__":
    try:
        main()
    except patu.Error as error:
        sys.exit(f"{error.name}: {error}")
