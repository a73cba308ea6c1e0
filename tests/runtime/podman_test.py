#!/usr/bin/python3
# Containers of podman with its CNI backend: they have their addresses, reach each other by a published port too, and are released.
"""usage: podman_test.py PATU_CNI|reference"""

import json
import subprocess
import unittest

import containerd
import containers
import plugins
import probes
import program
import sandbox

ROOTFS = "/run/rootfs"
CHAIN = ({"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "firewall"}, {"type": "tuning"})
CONFIGURATION = f"""\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins.DIRECTORY}"]
network_config_dir = "{containerd.NETWORKS}"
"""
STORAGE = """\
[storage]
driver = "vfs"
graphroot = "/run/podman-root"
runroot = "/run/podman"
"""


def podman(*arguments):
    """What podman prints. conmon keeps what it inherits: the answer goes to a file, not to a pipe that would not end."""
    with open("/run/podman.out", "w+", encoding="utf-8") as out:
        done = subprocess.run(["podman", *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False)
        out.seek(0)
        answer = out.read()
    if done.returncode != 0:
        raise AssertionError(f"podman {' '.join(arguments)}: status {done.returncode}: {answer}")
    return answer


class PodmanTest(unittest.TestCase):
    def setUp(self):
        containers.make_rootfs(ROOTFS)
        containerd.write_network(plugins.conflist(plugins.network(*probes.SUBNETS, ipMasq=True), *CHAIN))
        for name, text in (("containers.conf", CONFIGURATION), ("storage.conf", STORAGE)):
            with open(f"/etc/containers/{name}", "w", encoding="utf-8") as file:
                file.write(text)

    def run_container(self, name, *command, options=()):
        placed = "--network", "pods", "--cgroup-parent", "/pods"
        return podman("run", "--name", name, *placed, *options, "--rootfs", ROOTFS, *command)

    def addresses_of(self, name):
        settings = json.loads(podman("inspect", name))[0]["NetworkSettings"]["Networks"]["pods"]
        return settings["IPAddress"], settings["GlobalIPv6Address"]

    def test_containers_have_addresses_reach_each_other_and_are_released(self):
        shown = self.run_container("first", "/bin/ip", "address", "show", "dev", "eth0", options=["--rm"])
        self.assertIn("inet 10.244.0.2/24", shown)
        self.assertIn("inet6 fd00:244::2/64", shown)
        probes.assert_released()
        self.run_container("server", "/bin/sh", "-c", f"{containers.SERVER} here", options=["--detach", "--publish", "18080:8080"])
        v4, v6 = self.addresses_of("server")
        for address in (v4, v6):
            ask = f"until nc {address} 8080; do sleep 0.1; done"
            self.assertIn("here\n", self.run_container("client", "/bin/sh", "-c", ask, options=["--rm"]))
        self.assertEqual(probes.ask("127.0.0.1", 18080), "here\n", "by the published port")
        podman("rm", "--force", "--time", "0", "server")
        probes.assert_released()


if __name__ == "__main__":
    program.needs(podman="podman", runc="runc", busybox="busybox-static", iptables="iptables", nft="nftables")
    version = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    if int(version.partition(".")[0]) >= 5:
        sandbox.skip(f"podman {version} knows no CNI; the last that did is 4")
    program.main(__doc__, 1)
