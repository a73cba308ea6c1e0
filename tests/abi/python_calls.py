#!/usr/bin/env python3
# Calls every method of examples/python/patu.py, and looks at what it makes of the answers.
"""usage: python_calls.py --bpffs DIR --cgroup DIR, in a sandbox, as a member of the cgroup, with patu.py in PYTHONPATH"""

import argparse
import contextlib
import copy
import dataclasses
import functools
import ipaddress
import os
import pathlib
import pickle
import select
import socket
import unittest

import patu

WEB = patu.Service(
    "default/web",
    [patu.Frontend("10.96.0.10:80"), patu.Frontend("[fd00:96::10]:80", "udp"),
     patu.Frontend("0.0.0.0:30080", kind="node_port", loopback=True)],
    [patu.Backend("10.201.0.2:8080", 3), patu.Backend("10.201.0.3:8080", state="terminating"),
     patu.Backend("[fd00:201::2]:8080", local=True)],
    affinity_seconds=30, internal_local=True, close_tcp=True)
EMPTY = patu.Service("default/empty", [patu.Frontend("10.96.0.11:80")])


class Calls(unittest.TestCase):
    options = {}

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(patu.Datapath.unload, **self.options)
        self.addCleanup(stack.close)
        self.datapath = stack.enter_context(patu.Datapath.open(**self.options, max_services=100))
        self.network = stack.enter_context(
            self.datapath.network("pods0", ["10.201.0.0/24", "fd00:201::/64"], mtu=1400, redirect_excluded_ports=[22]))
        self.services = stack.enter_context(self.datapath.services())
        self.netns = stack.enter_context(patu.Netns.create())
        self.addCleanup(self.network.remove)
        self.addCleanup(self.network.detach, "web-1")

    def refused(self, name, call, *arguments):
        with self.assertRaises(patu.Error) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.name, name)
        return caught.exception

    def test_a_data_path_tells_its_state(self):
        state = self.datapath.status()
        self.assertTrue(state.directory.startswith(f"{self.options['bpffs']}/patu/{self.options['instance']}/"))
        (frontends,) = [each for each in state.maps if each.name == "frontends"]
        self.assertTrue(frontends.id and frontends.memory_bytes and frontends.max_entries)
        self.assertTrue(state.programs and all(each.id and each.instructions for each in state.programs))
        self.assertTrue(state.features and all(each.name and each.detail for each in state.features))
        self.assertEqual(state.cgroup_id, os.stat(self.options["cgroup"]).st_ino)
        self.assertFalse(state.socket_redirect_loaded)
        self.refused("unsupported", self.datapath.set_socket_redirect, True)

    def test_namespaces_are_opened_in_every_way(self):
        with patu.Netns.of_fd(self.netns.fileno()) as same, patu.Netns.current() as own, \
                patu.Netns.of_pid(os.getpid()) as process, patu.Netns.of_path("/proc/self/ns/net") as path:
            self.assertEqual(same.cookie(), self.netns.cookie())
            self.assertEqual({each.cookie() for each in (own, process, path)}, {own.cookie()})
            self.assertNotEqual(own.cookie(), same.cookie())
        same.close()
        self.assertRaises(ValueError, same.fileno)
        self.assertEqual(self.refused("not_found", patu.Netns.of_path, "/no/such").errno, 2)

    def test_numbers_and_texts_arrive_whole_or_not_at_all(self):
        front, back = WEB.frontends[0], WEB.backends[0]
        of_web = functools.partial(dataclasses.replace, WEB)
        wrong = [
            lambda: patu.Netns.of_pid(2**32 + os.getpid()),
            lambda: patu.Netns.of_fd(2**32 + self.netns.fileno()),
            lambda: patu.Netns.of_path("/proc/self/ns/net\0"),
            lambda: patu.Datapath.open(**self.options, max_pods=2**32 + 5),
            lambda: patu.Datapath.unload(self.options["instance"] + "\0", self.options["bpffs"]),
            lambda: self.datapath.network("pods0", ["10.201.0.0/24", "fd00:201::/64"], mtu=2**32 + 1400),
            lambda: self.datapath.network("pods1", ["10.205.0.0/24"], redirect_excluded_ports=[22, 70000]),
            lambda: self.datapath.network("pods1", ["10.205.0.0/24"], redirect_excluded_ports=[-1]),
            lambda: self.datapath.pool("10.205.0.0/24\0"),
            lambda: self.network.detach("web-1\0"),
            lambda: self.services.upsert(of_web(backends=[dataclasses.replace(back, weight=65537)])),
            lambda: self.services.upsert(of_web(backends=[dataclasses.replace(back, endpoint="10.201.0.2:80\0")])),
            lambda: self.services.upsert(of_web(affinity_seconds=2**32)),
            lambda: self.services.upsert(of_web(affinity_seconds=-1)),
            lambda: self.services.sync([of_web(name="default/web\0", frontends=[front])]),
            lambda: self.services.remove("default/empty\0"),
        ]
        self.services.upsert(EMPTY)
        for index, call in enumerate(wrong):
            with self.subTest(index):
                failure = self.refused("invalid_argument", call)
                self.assertRegex(str(failure), "is out of range|has a zero byte")
        self.assertEqual([each.name for each in self.services.list()], [EMPTY.name])
        self.assertNotIn("pods1", [name for _, name in socket.if_nameindex()])

    def test_paths_are_paths(self):
        with patu.Netns.of_path(pathlib.Path("/proc/self/ns/net")) as own, patu.Netns.of_path(b"/proc/self/ns/net") as same:
            self.assertEqual(own.cookie(), same.cookie())
        patu.Datapath.adopt(self.options["instance"], pathlib.Path(self.options["bpffs"])).close()

    def test_an_error_can_be_sent_to_another_process(self):
        failure = self.refused("not_found", patu.Netns.of_path, "/no/such")
        for same in (pickle.loads(pickle.dumps(failure)), copy.copy(failure)):
            self.assertEqual((type(same), same.code, same.errno, same.name, str(same)),
                             (patu.Error, failure.code, 2, "not_found", str(failure)))

    def test_a_handle_has_no_copy(self):
        for of in (copy.copy, copy.deepcopy, pickle.dumps):
            self.assertRaises(TypeError, of, self.netns)
        self.assertGreater(self.netns.cookie(), 0)

    def test_addresses_are_leased_and_given_back(self):
        ip = ipaddress.ip_address
        with self.datapath.pool("10.202.0.0/29", reserved=["10.202.0.3"], last="10.202.0.5") as pool:
            self.assertEqual(pool.subnet, patu.Subnet("10.202.0.0/29", ip("10.202.0.1"), ip("10.202.0.1"), ip("10.202.0.5"),
                                                      [ip("10.202.0.3")]))
            self.assertEqual(pool.acquire("vm-1"), ip("10.202.0.2"))
            self.assertEqual(pool.acquire("vm-1"), ip("10.202.0.2"))
            self.assertEqual(pool.acquire("vm-2", "eth1", requested="10.202.0.3"), ip("10.202.0.3"))
            self.assertEqual(pool.find("vm-2", "eth1"), ip("10.202.0.3"))
            self.assertEqual([(each.container_id, each.ifname, each.address) for each in pool.list()],
                             [("vm-1", "eth0", ip("10.202.0.2")), ("vm-2", "eth1", ip("10.202.0.3"))])
            self.assertTrue(all(each.acquired_ns for each in pool.list()))
            self.assertEqual(pool.usage(), patu.PoolUsage(capacity=3, leased=2, free=2))
            self.refused("already_exists", pool.acquire, "vm-3", "eth0", "10.202.0.2")
            pool.release("vm-1")
            pool.release("vm-1")
            self.refused("not_found", pool.find, "vm-1")
            self.assertEqual([pool.acquire(each) for each in ("a", "b", "c")],
                             [ip(each) for each in ("10.202.0.4", "10.202.0.5", "10.202.0.2")])
            self.refused("exhausted", pool.acquire, "d")
            for lease in pool.list():
                pool.release(lease.container_id, lease.ifname)
            self.assertEqual(pool.list(), [])
        self.assertRaises(ValueError, pool.list)

    def test_a_pod_is_attached_as_asked_for(self):
        pod = patu.Pod("web-1", self.netns, addresses=["10.201.0.9"], mac="0a:58:0a:c9:00:09", no_services=True)
        (made,) = self.network.attach(pod)
        self.assertEqual((made.container_id, made.ifname, made.mtu, made.mac), ("web-1", "eth0", 1400, pod.mac))
        self.assertEqual(made.addresses, [ipaddress.ip_interface(each) for each in ("10.201.0.9/24", "fd00:201::2/64")])
        self.assertEqual(made.gateways, [ipaddress.ip_address(each) for each in ("10.201.0.1", "fd00:201::1")])
        self.assertEqual((made.no_services, made.socket_redirect), (True, False))
        self.assertEqual(made.host_ifindex, socket.if_nametoindex(made.host_ifname))
        self.assertEqual(self.network.bridge_ifindex, socket.if_nametoindex(self.network.bridge))
        self.assertEqual((self.network.bridge_mac, made.host_mac[:3]), ("0a:58:0a:c9:00:01", "fe:"))
        self.assertEqual((self.network.find("web-1"), self.network.list()), (made, [made]))
        self.assertEqual(self.network.check(), [])
        self.assertEqual(self.network.check("web-1", netns=self.netns), [])
        self.assertEqual(self.network.reconcile(), patu.ReconcileReport([], [], []))
        for names in (["web-1"], ["db"], "db"):
            self.assertRaises(TypeError, self.network.reconcile, names)
        self.assertEqual(self.network.reconcile(keep=[("web-1", "eth0")]), patu.ReconcileReport([], [], []))
        self.assertEqual(self.network.reconcile(keep=[]).detached, [("web-1", "eth0")])
        self.refused("not_found", self.network.find, "web-1")

    def test_what_is_adopted_is_looked_at_and_taken_away(self):
        self.refused("not_found", patu.Datapath.adopt, "absent", self.options["bpffs"])
        self.network.attach(patu.Pod("web-1", self.netns))
        with patu.Datapath.adopt(self.options["instance"], self.options["bpffs"]) as datapath, \
                datapath.adopt_network("pods0", mtu=1400) as network, \
                datapath.adopt_network("pods0", name="other") as other:
            self.assertEqual(([each.container_id for each in network.list()], other.list()), (["web-1"], []))
            network.detach("web-1")
        self.assertEqual(self.network.list(), [])

    def test_options_of_a_network_arrive(self):
        subnets = ["10.203.0.0/24"]
        routes = [patu.Route("192.0.2.0/24", "10.203.0.7", mtu=1300, advmss=1200, priority=7, table=100),
                  patu.Route("198.51.100.0/24", scope=253)]
        with self.datapath.network("pods1", subnets, name="named", routes=routes) as network:
            network.attach(patu.Pod("web-2", self.netns, "eth1"))
            self.assertEqual(network.check("web-2", "eth1", self.netns), [])
            for wrong in (dataclasses.replace(routes[0], mtu=1299), dataclasses.replace(routes[0], gateway=None),
                          dataclasses.replace(routes[1], scope=None)):
                with self.datapath.adopt_network("pods1", subnets, name="named", routes=[wrong]) as other:
                    (deviation,) = other.check("web-2", "eth1", self.netns)
                    self.assertIn(wrong.destination, deviation.what)
                    self.assertEqual((deviation.kind, deviation.destination), ("pod_route", wrong.destination))
            network.detach("web-2", ifname="eth1")
            for options in ({"hairpin": True, "promiscuous": True}, {"gateway": False}):
                with self.assertRaises(patu.Error) as caught:
                    self.datapath.network("pods1", subnets, **options)
                self.assertEqual(caught.exception.name, "invalid_argument")
            self.refused("already_exists", self.datapath.network, "pods1", ["10.204.0.0/24"])
            self.datapath.network("pods1", ["10.204.0.0/24"], force_gateway=True).close()
            network.remove()

    def test_a_pod_is_abandoned(self):
        self.network.attach(patu.Pod("web-1", self.netns))
        self.network.abandon("web-1")
        self.assertEqual(self.network.list(), [])

    def test_services_are_read_as_they_were_written(self):
        self.services.upsert(WEB)
        found = self.services.find("default/web")
        self.assertEqual(dataclasses.replace(found, frontends=set(found.frontends), backends=set(found.backends)),
                         dataclasses.replace(WEB, frontends=set(WEB.frontends), backends=set(WEB.backends)))
        report = self.services.sync([EMPTY], dry_run=True)
        self.assertEqual((report.added, report.removed), (["default/empty"], ["default/web"]))
        clash = dataclasses.replace(EMPTY, name="default/x")
        report = self.services.sync([EMPTY, clash, found])
        self.assertEqual([(each.name, each.code) for each in report.refused], [("default/x", -3)])
        self.assertIn("default/empty", report.refused[0].reason)
        self.assertEqual((report.added, report.unchanged, report.closed.closed), (["default/empty"], 1, 0))
        self.assertEqual([each.name for each in self.services.list()], ["default/empty", "default/web"])
        self.assertIn("frontends", [each.name for each in self.services.fill() if 0 < each.used < each.limit])
        self.assertEqual(self.services.close_stale_sockets().closed, 0)
        self.assertIn(ipaddress.ip_address("10.201.0.1"), self.services.refresh_node_addresses())
        self.refused("invalid_argument", self.services.sync, [])
        self.assertEqual(self.services.sync([], allow_empty=True).removed, ["default/empty", "default/web"])

    def test_a_destination_is_explained(self):
        self.services.upsert(dataclasses.replace(WEB, internal_local=False))
        found = self.services.explain("10.96.0.10:80", netns=self.netns)
        self.assertEqual((found.verdict, found.service, found.frontend), ("translated", WEB.name, WEB.frontends[0]))
        self.assertEqual((found.candidates, found.preferred), ([WEB.backends[0]], None))
        self.assertEqual(self.services.explain("192.0.2.1:80").verdict, "untouched")

    def test_a_refused_socket_is_counted_and_told(self):
        self.services.upsert(EMPTY)
        with self.services.events() as reader:
            self.assertEqual(reader.read(), [])
            self.refused("busy", self.services.events)
            with socket.socket() as client:
                self.assertRaises((ConnectionRefusedError, PermissionError), client.connect, ("10.96.0.11", 80))
            self.assertTrue(select.select([reader], [], [], 30)[0])
            (event,) = reader.read()
        self.assertEqual((event.kind, event.service, event.endpoint, event.protocol),
                         ("no_backend", EMPTY.name, "10.96.0.11:80", "tcp"))
        with patu.Netns.current() as own:
            self.assertEqual(event.netns_cookie, own.cookie())
        (stats,) = self.services.stats()
        self.assertEqual((stats.name, stats.connects, stats.refused), (EMPTY.name, 0, 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bpffs", required=True)
    parser.add_argument("--cgroup", required=True)
    Calls.options = {"instance": "python", **vars(parser.parse_args())}
    unittest.main(argv=["python_calls"])
