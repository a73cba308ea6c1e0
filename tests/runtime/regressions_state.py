"""Faults of what a plugin remembers: leases, and what a pod that is gone or was never finished leaves behind.

Each function is one test, called in a sandbox of its own where its docstring is what should hold.
"""

import os

import plugins
import probes

SMALL = "10.245.0.0/29"  # a gateway and five pods
LEGACY = "/var/lib/cni/networks/pods"


def add(config, pod, **more):
    """The answer of an ADD that must succeed, into a namespace of the pod's name."""
    answer = plugins.call("ADD", config, pod, pod, **more)
    assert answer.status == 0, f"ADD {pod}: {answer}"
    return answer


def delete(config, pod, netns=None):
    answer = plugins.call("DEL", config, pod, pod if netns is None else netns)
    assert answer.status == 0, f"DEL {pod}: {answer}"


def fill(config):
    """Takes all addresses of a small pool; names the pods."""
    pods = [f"p{number}" for number in range(1, 6)]
    probes.make_netns(*pods)
    for pod in pods:
        add(config, pod)
    return pods


def assert_exhausted(config, pod):
    answer = plugins.call("ADD", config, pod, pod)
    assert answer.status != 0, f"ADD {pod} into a full pool succeeds"


def failed_add_leaves_nothing():
    """An ADD that fails leaves nothing, and can be repeated"""
    config = plugins.network(SMALL)
    pods = fill(config)
    probes.make_netns("p6")
    links = probes.pod_links()
    assert_exhausted(config, "p6")
    assert "eth0" not in probes.links("p6"), "eth0 stays in the pod after ADD failed"
    assert probes.pod_links() == links, "a veth stays on the node after ADD failed"
    delete(config, pods[0])
    add(config, "p6")


def exhausted_pool_is_reported():
    """STATUS tells of an exhausted pool with code 50"""
    config = plugins.network(SMALL)
    asked = {**config, "cniVersion": "1.1.0"}  # the first version with STATUS and GC
    answer = plugins.call("STATUS", asked)
    assert answer.status == 0, f"STATUS of an empty pool: {answer}"
    fill(config)
    answer = plugins.call("STATUS", asked)
    assert answer.status != 0, "STATUS of a full pool: success"
    assert answer.output.get("code") == 50, f"STATUS of a full pool: {answer}"


def lost_pods_do_not_exhaust_the_pool():
    """Pods that went without a DEL do not exhaust the pool"""
    config = plugins.network(SMALL)
    probes.delete_netns(*fill(config))
    probes.await_true(lambda: not probes.pod_links(), "the kernel removes the veths of namespaces that are gone")
    probes.make_netns("p6")
    add(config, "p6")


def collection_frees_what_is_not_listed():
    """GC frees what is not listed, by both spellings of the list, and nothing else"""
    config = plugins.network(SMALL, ipMasq=True)
    fill(config)
    probes.delete_netns("p1")
    for key, keep in (("cni.dev/valid-attachments", 3), ("cni.dev/attachments", 2)):
        listed = [{"containerID": f"p{5 - number}", "ifname": "eth0"} for number in range(keep)]
        answer = plugins.call("GC", {**config, "cniVersion": "1.1.0", key: listed})
        assert answer.status == 0, f"GC: {answer}"
        assert len(probes.leases()) == keep, f"GC leaves {len(probes.leases())} leases for {keep} pods"
        assert len(probes.pod_links()) == keep, f"GC leaves {len(probes.pod_links())} veths for {keep} pods"
    assert probes.ip("address", "show", "dev", "eth0", netns="p5"), "a pod that is listed has its interface"


def empty_lease_file_is_collected():
    """A lease file of no bytes, as a crash leaves it, does not cost an address for ever"""
    config = plugins.network(SMALL)
    os.makedirs(LEGACY)
    with open(f"{LEGACY}/10.245.0.2", "w", encoding="ascii"):
        pass
    plugins.call("DEL", config, "crashed", "")
    collected = plugins.call("GC", {**config, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []})
    assert not os.path.exists(f"{LEGACY}/10.245.0.2"), f"the file stays after DEL and GC ({collected})"
    assert "10.245.0.2" in [add(config, pod).addresses[0] for pod in new_pods(5)]


def new_pods(count):
    pods = [f"n{number}" for number in range(count)]
    probes.make_netns(*pods)
    return pods


def delete_without_namespace_leaves_no_rule():
    """DEL without the namespace takes the pod's masquerade rules away"""
    config = plugins.network(SMALL, "fd00:245::/120", ipMasq=True)
    for netns in ("p1", ""):
        probes.make_netns("p1")
        addresses = add(config, "p1").addresses
        probes.delete_netns("p1")
        delete(config, "p1", netns)
        left = probes.rules_for(*addresses)
        assert not left, f"{len(left)} rules stay: {left[0]}"
        assert not probes.leases(), "a lease stays"


def delete_of_a_changed_pod_leaves_no_rule():
    """DEL takes the masquerade rules of a pod away that has lost its addresses"""
    config = plugins.network(SMALL, ipMasq=True)
    probes.make_netns("p1")
    addresses = add(config, "p1").addresses
    probes.run("ip", "-n", "p1", "address", "flush", "dev", "eth0")
    delete(config, "p1")
    left = probes.rules_for(*addresses)
    assert not left, f"{len(left)} rules stay: {left[0]}"


def traced(prepared, *options):
    # A leak checker cannot work where a tracer does.
    prepared["env"]["ASAN_OPTIONS"] = prepared["env"].get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return {**prepared, "args": ["strace", "-f", *options, *prepared["args"]]}


def work_of_an_add(config, pod):
    """How many system calls one ADD makes, with all that it starts."""
    probes.make_netns(pod)
    answer = plugins.run(traced(plugins.prepare("ADD", config, pod, pod), "-c", "-U", "calls,name", "-o", "/run/calls"), config)
    assert answer.status == 0, f"ADD: {answer}"
    with open("/run/calls", encoding="ascii") as file:
        return int(file.read().splitlines()[-1].split()[0])


def add_does_not_grow_with_the_leases():
    """An ADD makes as many system calls with 200 leases as with one"""
    config = plugins.network("10.245.0.0/16", ipam={"routes": []})
    probes.make_netns("many")
    add(config, "many", ifname="e0")  # what the first one makes for all that come is not counted
    few = work_of_an_add(config, "early")
    for number in range(1, 200):
        add(config, "many", ifname=f"e{number}")
    many = work_of_an_add(config, "late")
    assert many < few * 1.2, f"{few} system calls with one lease, {many} with 200"


def kill_adds(config, calls, step):
    """ADDs, the first one killed at its first system call, each later one some further on, until one is let alone."""
    for number in range(1, 2 * calls, step):
        prepared = plugins.prepare("ADD", config, "p1", "p1")
        ended = plugins.run(traced(prepared, "-o", "/dev/null", "-e", f"inject=all:signal=KILL:when={number}"), config)
        delete(config, "p1")
        assert not probes.leases(), f"killed at system call {number}: a lease stays after DEL"
        assert not probes.pod_links(), f"killed at system call {number}: a veth stays after DEL"
        assert "eth0" not in probes.links("p1"), f"killed at system call {number}: eth0 stays after DEL"
        left = probes.rules_for("10.245.0.2", "10.245.0.3", "10.245.0.4", "10.245.0.5", "10.245.0.6")
        assert not left, f"killed at system call {number}: a rule stays after DEL: {left[0]}"
        if ended.status == 0:  # none of its threads makes so many
            return
    raise AssertionError("no ADD was let alone")


def killed_add_is_undone_by_delete():
    """An ADD killed at any system call leaves nothing after a DEL, and can be repeated"""
    config = plugins.network(SMALL, ipMasq=True)
    probes.make_netns("p1")
    kill_adds(config, 10_000, 20)  # the first ADD of a node
    calls = work_of_an_add(config, "p2")
    delete(config, "p2")
    kill_adds(config, calls, max(1, calls // 40))
    add(config, "p1")
