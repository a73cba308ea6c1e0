#!/usr/bin/python3
# Pods that containerd starts for a kubelet: their addresses, the way from one to the other, a service, and their end.
"""usage: cri_test.py PATU_CNI|reference PATU_KUBE|none"""

import json
import unittest

import containerd
import containers
import plugins
import probes
import program
import sandbox

CLUSTER_ADDRESSES = ("10.96.0.10", "fd00:96::10")
SERVERS = ("web-1", "web-2")
PORTMAP = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}


def metadata(name, **labels):
    return {"name": name, "namespace": "default", "labels": labels}


def kubernetes_list(addresses):
    """A service of both families, port 80 to 8080, as an API server prints it; addresses: {pod: [IPv4, IPv6]}."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata("web"),
               "spec": {"type": "ClusterIP", "clusterIP": CLUSTER_ADDRESSES[0], "clusterIPs": list(CLUSTER_ADDRESSES),
                        "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack", "sessionAffinity": "None",
                        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]}}
    slices = [{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
               "metadata": metadata(f"web-{family.lower()}", **{"kubernetes.io/service-name": "web"}),
               "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
               "endpoints": [{"addresses": [each[index]], "conditions": {"ready": True}, "nodeName": "node"}
                             for each in addresses.values()]}
              for index, family in enumerate(("IPv4", "IPv6"))]
    return {"apiVersion": "v1", "kind": "List", "items": [service, *slices]}


class CriTest(unittest.TestCase):
    patu_kube = ""

    def setUp(self):
        containers.write_image("/run/image.tar", containers.make_rootfs("/run/rootfs"))
        containerd.write_network(plugins.conflist(plugins.network(*probes.SUBNETS, ipMasq=True), PORTMAP))
        self.enterContext(containerd.daemon())
        probes.run(*containerd.ctr("--namespace", "k8s.io", "image", "import", "--snapshotter", "native", "/run/image.tar"))
        self.runtime = cri.Runtime(containerd.SOCKET)
        self.pods = {}
        self.containers = {}

    def start(self, name, *command, host_ports=()):
        self.pods[name], config = self.runtime.run_pod(name, "/pods", host_ports)
        self.containers[name] = self.runtime.run_container(self.pods[name], config, containers.IMAGE, *command)
        return self.runtime.addresses(self.pods[name])

    def start_servers(self):
        """{pod: its addresses}"""
        command = "/bin/sh", "-c"
        return {name: self.start(name, *command, f"{containers.SERVER} {name}", host_ports=[(18080 + index, 8080)])
                for index, name in enumerate(SERVERS)}

    def ask(self, address, port):
        """What the client pod is told there, once somebody listens."""
        status, answer = self.runtime.execute(self.containers["client"], "/bin/sh", "-c",
                                              f"for i in $(seq 50); do nc {address} {port} && exit; sleep 0.1; done; exit 1")
        self.assertEqual(status, 0, f"{address} {port}: {answer}; {containerd.complaints()}")
        return answer.strip()

    def assert_served(self, servers):
        """By the cluster's addresses, to both pods in turn or by chance, and never anywhere else."""
        path = "/run/services.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(kubernetes_list(servers), file)
        common = (self.patu_kube, "--bpffs", sandbox.BPFFS, "--cgroup", sandbox.PODS_CGROUP)
        self.assertIn("1 added", probes.run(*common, "apply", "--node", "node", "-f", path))
        for address in CLUSTER_ADDRESSES:
            answers = {self.ask(address, 80) for _ in range(30)}
            self.assertEqual(answers, set(SERVERS), address)
            status, _ = self.runtime.execute(self.containers["client"], "nc", address, "81")
            self.assertNotEqual(status, 0, "a port that the service does not have")
        probes.run(*common, "delete", "--all")

    def test_pods_start_reach_each_other_and_a_service_and_are_released(self):
        servers = self.start_servers()
        self.start("client", "/bin/sleep", "1000")
        for name, (v4, v6) in servers.items():
            self.assertTrue(v4.startswith("10.244.0.") and v6.startswith("fd00:244::"), (v4, v6))
            for address in (v4, v6):
                self.assertEqual(self.ask(address, 8080), name)
            self.assertEqual(probes.ask("127.0.0.1", 18080 + SERVERS.index(name)), f"{name}\n", "by portmap's host port")
        with open(f"{sandbox.PODS_CGROUP}/{self.containers['client']}/cgroup.procs", encoding="ascii") as file:
            self.assertTrue(file.read(), "the client is below patu's cgroup")
        if self.patu_kube != "none":
            self.assert_served(servers)
        for pod in self.pods.values():
            self.runtime.stop_pod(pod)
            self.runtime.stop_pod(pod)  # the kubelet does so too
        probes.assert_released()
        for pod in self.pods.values():
            self.runtime.remove_pod(pod)


def prepare(_own, patu_kube):
    CriTest.patu_kube = patu_kube


if __name__ == "__main__":
    program.needs(containerd="containerd", runc="runc", busybox="busybox-static", iptables="iptables", nft="nftables")
    try:
        import cri
    except ImportError as missing:
        sandbox.skip(f"needs {missing.name}: the package python3-grpcio")
    program.main(__doc__, 2, prepare)
