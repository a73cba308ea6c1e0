#!/usr/bin/python3
# Containers that containerd starts for `ctr run --cni`: they have their addresses, reach each other, and are released.
"""usage: ctr_test.py PATU_CNI|reference"""

import shutil
import unittest

import containerd
import containers
import plugins
import probes
import program

ROOTFS = "/run/rootfs"
OPTIONS = ("--rootfs", "--cni", "--cgroup")


def run_in(name, command):
    """Standard output of a container that lives for one command."""
    return probes.run(*containerd.ctr("run", "--rm", *OPTIONS, f"/pods/{name}", ROOTFS, name, "/bin/sh", "-c", command))


class CtrTest(unittest.TestCase):
    def setUp(self):
        containers.make_rootfs(ROOTFS)
        self.addCleanup(shutil.rmtree, ROOTFS)
        containerd.write_network(plugins.conflist(plugins.network(*probes.SUBNETS, ipMasq=True)))
        self.enterContext(containerd.daemon())

    def serve(self):
        """Starts a detached server; returns its pid."""
        command = containerd.ctr("run", "--detach", *OPTIONS, "/pods/server", ROOTFS, "server", "/bin/sh", "-c",
                                 f"{containers.SERVER} here")
        with open("/run/ctr.log", "w+b") as log:
            probes.run(*command, streams=log)
        return probes.run(*containerd.ctr("task", "list")).splitlines()[1].split()[1]

    def addresses_of(self, pid):
        shown = probes.run("nsenter", "--net", "--target", pid, "ip", "-o", "address", "show", "dev", "eth0", "scope", "global")
        return [line.split()[3].split("/")[0] for line in shown.splitlines()]

    def test_a_container_lives_and_its_network_goes_with_it(self):
        shown = run_in("first", "ip address show dev eth0; ip address show dev lo; ip route; ip -6 route; cat /proc/self/cgroup")
        self.assertIn("inet 10.244.0.2/24", shown)
        self.assertIn("inet6 fd00:244::2/64", shown)
        self.assertIn("default via 10.244.0.1 dev eth0", shown)
        self.assertIn("default via fd00:244::1 dev eth0", shown)
        self.assertIn("0::/pods/first", shown)
        probes.assert_released()

    def test_containers_reach_each_other(self):
        addresses = self.addresses_of(self.serve())
        self.assertEqual(len(addresses), 2)
        for address in addresses:
            self.assertEqual(run_in("client", f"until nc {address} 8080; do sleep 0.1; done"), "here\n")
        self.assertEqual(len(probes.leases()), len(probes.SUBNETS), "the server's")

if __name__ == "__main__":
    program.needs(containerd="containerd", runc="runc", busybox="busybox-static")
    program.main(__doc__, 1)
