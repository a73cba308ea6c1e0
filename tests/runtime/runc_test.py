#!/usr/bin/python3
# Containers of runc in network namespaces that the plugin furnished: they find their addresses, each other, and
# their way out of the node.
"""usage: runc_test.py PATU_CNI|reference"""

import unittest

import containers
import plugins
import probes
import program

PODS = ("server", "client")


class RuncTest(unittest.TestCase):
    def setUp(self):
        self.config = plugins.network(*probes.SUBNETS, ipMasq=True)
        self.runc = containers.Runc(containers.make_rootfs("/run/rootfs"))
        probes.make_netns(*PODS)
        self.outside = probes.make_outside()

    def attach(self, pod):
        answer = plugins.call("ADD", self.config, pod, pod)
        self.assertEqual(answer.status, 0, answer)
        return answer

    def assert_furnished(self, pod, answer):
        shown = self.runc.execute(pod, "ip", "address", "show", "dev", "eth0")
        for each in answer.output["ips"]:
            self.assertIn(each["address"], shown)
        self.assertIn(answer.output["interfaces"][2]["mac"], shown)
        gateways = [each["gateway"] for each in answer.output["ips"]]
        routes = self.runc.execute(pod, "ip", "route") + self.runc.execute(pod, "ip", "-6", "route")
        for gateway in gateways:
            self.assertIn(f"default via {gateway} dev eth0", routes)

    def test_containers_have_what_the_result_says_and_reach_each_other_and_the_outside(self):
        answers = {pod: self.attach(pod) for pod in PODS}
        self.runc.start("server", "server", "/bin/sh", "-c", f"{containers.SERVER} here")
        self.runc.start("client", "client", "/bin/sleep", "1000")
        for pod in PODS:
            self.assert_furnished(pod, answers[pod])
        probes.await_true(lambda: ":8080 " in probes.run("ip", "netns", "exec", "server", "ss", "-ltn"), "server listens")
        for address in answers["server"].addresses:
            self.assertEqual(self.runc.execute("client", "nc", address, "8080"), "here\n")
            self.assertEqual(probes.ask(address, 8080), "here\n", "from the node")
        with probes.server("outside", text="outside"):
            for address in self.outside:
                self.assertEqual(self.runc.execute("client", "nc", address, "8080"), "outside\n")
        for pod in PODS:
            checked = plugins.call("CHECK", {**self.config, "prevResult": answers[pod].output}, pod, pod)
            self.assertEqual(checked.status, 0, checked)
            self.runc.delete(pod)
            self.assertEqual(plugins.call("DEL", self.config, pod, pod).status, 0)
        probes.run("ip", "link", "delete", "uplink")
        probes.assert_released()


if __name__ == "__main__":
    program.needs(runc="runc", busybox="busybox-static")
    program.main(__doc__, 1)
