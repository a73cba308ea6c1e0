#!/usr/bin/python3
# libcni drives the plugin alone, and in a chain with Debian's portmap, bandwidth, tuning and firewall plugins.
"""usage: libcni_test.py PATU_CNI|reference DRIVER"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import unittest

import plugins
import probes
import program
import sandbox

VERSIONS = ("0.3.1", "0.4.0", "1.0.0")
STACKS = {"one family": probes.SUBNETS[:1], "both families": probes.SUBNETS}
CHAIN = [
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "bandwidth", "capabilities": {"bandwidth": True}},
    {"type": "tuning", "sysctl": {"net.core.somaxconn": "333"}},
    {"type": "firewall"},
]
CAPABILITIES = {
    "portMappings": [{"hostPort": 18080, "containerPort": 8080, "protocol": "tcp"}],
    "bandwidth": {"ingressRate": 80_000_000, "ingressBurst": 8_000_000},
}
# For this bandwidth makes an ingress qdisc, where patu's fast path has a clsact.
EGRESS = {"bandwidth": {"egressRate": 80_000_000, "egressBurst": 8_000_000}}


class Libcni(unittest.TestCase):
    driver = ""

    def drive(self, verb, capabilities=None):
        command = [self.driver, verb, self.conflist, plugins.DIRECTORY, "/run/cache", "pod-1", "/run/netns/pod-1"]
        more = [json.dumps(capabilities)] if capabilities else []
        return subprocess.run(command + more, capture_output=True, text=True, timeout=60, check=False)

    def driven(self, verb, capabilities=None):
        done = self.drive(verb, capabilities)
        self.assertEqual(done.returncode, 0, f"{verb}: {done.stderr}")
        return done.stdout

    def for_each_network(self, body, *chain):
        """Calls body(version, subnets) with a pod's namespace and the network's conflist; nothing is to be left of any."""
        for version, (stack, subnets) in itertools.product(VERSIONS, STACKS.items()):
            with self.subTest(version=version, stack=stack), contextlib.ExitStack() as afterwards:
                self.write("pods", subnets, version, chain)
                probes.make_netns("pod-1")
                afterwards.callback(probes.delete_netns, "pod-1")
                afterwards.callback(self.drive, "del", CAPABILITIES)  # also of a test that failed
                body(version, subnets)
                probes.assert_released()

    def write(self, file_name, subnets, version, chain):
        chain = [each for each in chain if (version, each["type"]) != ("0.3.1", "firewall")]  # it refuses that version
        self.conflist = f"/run/{file_name}.conflist"
        with open(self.conflist, "w", encoding="utf-8") as file:
            json.dump(plugins.conflist(plugins.network(*subnets, ipMasq=True), *chain, version=version), file)

    def assert_result(self, text, version, subnets):
        result = json.loads(text)
        self.assertEqual(result["cniVersion"], version)
        bridge, host, pod = result["interfaces"][:3]  # bandwidth appends one
        self.assertEqual(bridge["name"], "pods0")
        self.assertEqual({host["name"]}, probes.pod_links())
        self.assertEqual((pod["name"], pod["sandbox"]), ("eth0", "/run/netns/pod-1"))
        (link,) = probes.ip("address", "show", "dev", "eth0", netns="pod-1")
        self.assertEqual(pod["mac"], link["address"])
        found = {f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] == "global"}
        self.assertEqual({each["address"] for each in result["ips"]}, found)
        self.assertEqual(len(found), len(subnets))
        for each in result["ips"]:
            self.assertEqual(result["interfaces"][each["interface"]]["name"], "eth0")
            self.assertEqual(each.get("version"), None if version == "1.0.0" else "6" if ":" in each["address"] else "4")
        return [each["address"].split("/")[0] for each in result["ips"]]

    def assert_checked(self, version, capabilities=None):
        """CHECK succeeds, and no longer once the pod has lost its addresses."""
        if version == "0.3.1":
            self.assertIn("does not support the CHECK", self.drive("check", capabilities).stderr)
            return
        self.driven("check", capabilities)
        probes.run("ip", "-n", "pod-1", "address", "flush", "dev", "eth0", "scope", "global")
        self.assertIn("10.244.0.", self.drive("check", capabilities).stderr)

    def alone(self, version, subnets):
        addresses = self.assert_result(self.driven("add"), version, subnets)
        with probes.server("pod-1"):
            for address in addresses:
                self.assertEqual(probes.ask(address, 8080), "here\n")
        self.assertNotEqual(self.drive("add").returncode, 0, "a second ADD")
        self.assertEqual(len(probes.leases()), len(addresses))
        self.assert_checked(version)
        self.driven("del")
        probes.assert_released()
        self.driven("del")

    def chained(self, version, subnets):
        v4, *_ = self.assert_result(self.driven("add", CAPABILITIES), version, subnets)
        self.assertEqual(probes.run("ip", "netns", "exec", "pod-1", "sysctl", "-n", "net.core.somaxconn"), "333\n")
        (host,) = probes.pod_links()
        self.assertIn("tbf", probes.run("tc", "qdisc", "show", "dev", host))
        with probes.server("pod-1"):
            self.assertEqual(probes.ask(v4, 8080), "here\n")
            self.assertEqual(probes.ask("127.0.0.1", 18080), "here\n", "by portmap's host port")
        whole = self.conflist
        self.write("checked", subnets, version, CHAIN[1:])  # CHECK of Debian's portmap fails, whatever the pod is like
        self.assert_checked(version, CAPABILITIES)
        self.conflist = whole
        self.driven("del", CAPABILITIES)
        probes.assert_released()
        self.assertEqual([link for link in probes.links() if link.startswith("bwp")], [], "links of bandwidth's")

    def refused(self, _version, _subnets):
        added = self.drive("add", EGRESS)
        self.assertNotEqual(added.returncode, 0)
        self.assertIn('type="bandwidth" failed (add): create ingress qdisc: file exists', added.stderr)
        self.driven("del", EGRESS)
        probes.assert_released()

    def test_an_egress_rate_is_refused_by_bandwidth_and_nothing_stays(self):
        self.for_each_network(self.refused, *CHAIN)

    def test_the_plugin_alone_in_every_version_that_libcni_speaks(self):
        self.for_each_network(self.alone)

    def test_the_plugin_in_a_chain_with_plugins_of_debian(self):
        self.for_each_network(self.chained, *CHAIN)


def prepare(_own, driver):
    Libcni.driver = driver


if __name__ == "__main__":
    program.needs(iptables="iptables", nft="nftables", busybox="busybox-static")
    if len(sys.argv) == 3 and not os.access(sys.argv[2], os.X_OK):
        sandbox.skip(f"needs {sys.argv[2]}: the packages golang-go and golang-github-appc-cni-dev, when it is built")
    program.main(__doc__, 2, prepare)
