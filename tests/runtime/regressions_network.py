"""Faults of what a plugin makes in the kernel: neighbours, routes, addresses, the bridge; and of how it speaks.

Each function is one test, called in a sandbox of its own where its docstring is what should hold.
"""

import json

import plugins
import probes
from regressions_state import add, delete

BOTH = ("10.245.0.0/24", "fd00:245::/64")


def neighbour(address):
    """The MAC under which the node knows the address, or None."""
    entries = [entry for entry in probes.ip("neighbour", "show", "to", address) if "lladdr" in entry]
    return entries[0]["lladdr"] if entries else None


def reused_address_is_reached():
    """An address that is used again is reached at once: the node knows no stale neighbour"""
    config = plugins.network(BOTH[0])
    probes.make_netns("keeper")
    add(config, "keeper")  # a bridge without a port loses its entries
    for number in range(3):
        pod = f"p{number}"
        probes.make_netns(pod)
        mac = add(config, pod, arguments="IgnoreUnknown=1;IP=10.245.0.9").output["interfaces"][2]["mac"]
        known = neighbour("10.245.0.9")
        assert known in (None, mac), f"10.245.0.9 is a neighbour with the MAC of a pod that is gone: {known}, not {mac}"
        with probes.server(pod):
            assert probes.ask("10.245.0.9", 8080) == "here\n"
        delete(config, pod)
        probes.delete_netns(pod)


def route_options_are_honoured():
    """A route's mtu, advmss and priority are set in the pod"""
    config = plugins.network(*BOTH)
    config["ipam"]["routes"] = [{"dst": dst, "mtu": 1400, "advmss": 1300, "priority": 77} for dst in ("0.0.0.0/0", "::/0")]
    probes.make_netns("p1")
    add(config, "p1")
    for family in ("-4", "-6"):
        (route,) = probes.ip(family, "route", "show", "default", netns="p1") or [{}]
        metrics = {key: value for each in route.get("metrics", []) for key, value in each.items()}
        found = {"metric": route.get("metric"), "mtu": metrics.get("mtu"), "advmss": metrics.get("advmss")}
        assert found == {"metric": 77, "mtu": 1400, "advmss": 1300}, f"default route of {family}: {found}"


def check_of_two_families():
    """CHECK accepts a pod of two families as ADD left it, and notices what it has lost of either"""
    config = plugins.network(*BOTH, ipMasq=True)
    for number, lost in enumerate((None, "-4 address flush dev eth0", "-6 address flush dev eth0 scope global",
                                   "-4 route del default", "-6 route del default", "link set eth0 down")):
        pod = f"p{number}"
        probes.make_netns(pod)
        result = add(config, pod).output
        if lost:
            probes.run("ip", "-n", pod, *lost.split())
        answer = plugins.call("CHECK", {**config, "prevResult": result}, pod, pod)
        assert (answer.status == 0) == (lost is None), f"CHECK after `ip {lost}`: {answer}"
        delete(config, pod)


def check_of_masquerading():
    """CHECK notices that the masquerade rules are gone"""
    config = plugins.network(*BOTH, ipMasq=True)
    probes.make_netns("p1")
    result = add(config, "p1").output
    probes.run("nft", "flush", "ruleset")
    answer = plugins.call("CHECK", {**config, "prevResult": result}, "p1", "p1")
    assert answer.status != 0, "CHECK succeeds although there is no rule"


def bridge_keeps_its_mac():
    """The bridge's MAC is set when it is made, and does not follow its ports'"""
    config = plugins.network(BOTH[0], isGateway=False, isDefaultGateway=False)
    config["ipam"]["routes"] = []
    pods = [f"p{number}" for number in range(8)]
    probes.make_netns(*pods)
    seen = set()
    for pod in pods:
        add(config, pod)
        seen.add(probes.ip("link", "show", "pods0")[0]["address"])
    for pod in pods[:-1]:
        delete(config, pod)
        seen.add(probes.ip("link", "show", "pods0")[0]["address"])
    with open("/sys/class/net/pods0/addr_assign_type", encoding="ascii") as file:
        assigned = file.read().strip()
    assert len(seen) == 1, f"the bridge had {len(seen)} MACs while 8 pods came and 7 went"
    assert assigned == "3", f"addr_assign_type {assigned}, not 3 (set by somebody)"


def bridge_takes_no_router_advertisement():
    """A pod's router advertisement does not change the node: the bridge has accept_ra 0"""
    config = plugins.network(*BOTH)
    probes.make_netns("p1")
    add(config, "p1")
    with open("/proc/sys/net/ipv6/conf/pods0/accept_ra", encoding="ascii") as file:
        accepted = file.read().strip()
    assert accepted == "0", f"net.ipv6.conf.pods0.accept_ra is {accepted}"


def ipv6_addresses_can_be_used_at_once():
    """No IPv6 address waits for duplicate address detection: the first connect succeeds"""
    config = plugins.network(*BOTH)
    probes.make_netns("p1")
    addresses = add(config, "p1").addresses
    for netns, name in ((None, "pods0"), ("p1", "eth0")):
        tentative = [each["local"] for link in probes.ip("-6", "address", "show", "dev", name, "tentative", netns=netns)
                     for each in link.get("addr_info", []) if each.get("scope") == "global"]
        assert not tentative, f"{tentative[0]} of {name} is tentative after ADD"
    with probes.server("p1"):
        for address in addresses:
            assert probes.ask(address, 8080) == "here\n"


def parallel_adds_share_a_bridge():
    """32 ADDs at once, the first of their bridge, all succeed, and 32 DELs leave nothing"""
    config = plugins.network(*BOTH, ipMasq=True)
    pods = [f"p{number}" for number in range(32)]
    probes.make_netns(*pods)
    answers = plugins.call_at_once("ADD", config, pods)
    failed = [str(answer) for answer in answers if answer.status != 0]
    assert not failed, f"{len(failed)} of 32 ADDs fail: {failed[0]}"
    addresses = [address for answer in answers for address in answer.addresses]
    assert len(set(addresses)) == 64, "an address was given twice"
    failed = [str(answer) for answer in plugins.call_at_once("DEL", config, pods) if answer.status != 0]
    assert not failed, f"{len(failed)} of 32 DELs fail: {failed[0]}"
    assert not probes.leases() and not probes.pod_links() and not probes.rules_for(*addresses), "something stays after 32 DELs"


def assert_error(answer, code, what):
    assert answer.status != 0 and answer.output.get("code") == code, f"{what}: {answer} (code {answer.output.get('code')})"
    assert answer.output.get("cniVersion") and answer.output.get("msg"), f"{what}: no cniVersion or msg in the error object"


def errors_have_the_shape_of_the_specification():
    """VERSION names 1.1.0, and an error is an object on stdout with cniVersion, code and msg"""
    config = plugins.network(BOTH[0])
    version = plugins.call("VERSION", config).output
    assert version.get("cniVersion") == "1.0.0", f"VERSION answers {version.get('cniVersion')} to 1.0.0"
    missing = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} - set(version["supportedVersions"])
    assert not missing, f"VERSION does not name {sorted(missing)}"
    assert_error(plugins.call("ADD", {**config, "cniVersion": "9.9.9"}, "p1", "p1"), 1, "unknown version")
    assert_error(plugins.call("FLY", config), 4, "unknown CNI_COMMAND")
    assert_error(plugins.call("ADD", config, "p1"), 4, "ADD without CNI_NETNS")
    assert_error(plugins.call("ADD", config, "../p1", "p1"), 4, "bad container ID")
    prepared = plugins.prepare("ADD", config, "p1", "p1")
    assert_error(plugins.run_with(prepared, json.dumps(config)[:-1]), 6, "bad JSON")


def own_namespace_is_refused_before_anything_is_made():
    """ADD into the plugin's own network namespace is refused, and nothing is made"""
    config = plugins.network(BOTH[0])
    prepared = plugins.prepare("ADD", config, "p1", "p1")
    prepared["env"]["CNI_NETNS"] = "/proc/self/ns/net"
    answer = plugins.run(prepared, config)
    assert answer.status != 0, "ADD succeeds"
    assert not probes.pod_links() and "pods0" not in probes.links(), f"{sorted(probes.links())} are there after: {answer}"
    assert not probes.leases(), "a lease is there"
