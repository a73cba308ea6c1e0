"""What the kernel and the file system say about pods, by other ways than the plugins'."""

import contextlib
import glob
import json
import os
import socket
import subprocess
import time

import sandbox

SUBNETS = ("10.244.0.0/24", "fd00:244::/64")  # of the runtimes' pods


def run(*command, streams=None):
    """Standard output of a program that must succeed. One that leaves a daemon behind needs streams of its own: ours would not
    end before the daemon."""
    capture = subprocess.PIPE if streams is None else streams
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=capture, stderr=capture, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}: {done.stderr or ''} {done.stdout or ''}")
    return done.stdout


def ip(*arguments, netns=None):
    """Parsed output of `ip -json`."""
    inside = ["-netns", netns] if netns else []
    return json.loads(run("ip", "-json", *inside, *arguments) or "[]")


def make_netns(*names):
    for name in names:
        run("ip", "netns", "add", name)


def delete_netns(*names):
    for name in names:
        run("ip", "netns", "delete", name)


def links(netns=None):
    return {link["ifname"] for link in ip("link", netns=netns)}


def pod_links():
    """Host-side ends of pods: the veths here."""
    return {link["ifname"] for link in ip("link", "show", "type", "veth")}


def leases(network="pods"):
    """Addresses that are taken, wherever the plugin writes that down: in a pinned map, or in files."""
    taken = []
    for instance in glob.glob(f"{sandbox.BPFFS}/patu/*/v*"):
        entries = json.loads(run("bpftool", "-j", "map", "dump", "pinned", f"{instance}/maps/leases"))
        taken += [" ".join(entry["key"]) for entry in entries]
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(f"/var/lib/cni/networks/{network}")
        taken += [name for name in names if name != "lock" and not name.startswith("last_reserved_ip")]
    return taken


def rules():
    """Lines of the whole nftables ruleset, in which iptables' rules are too."""
    return run("nft", "list", "ruleset").splitlines()


def rules_for(*addresses):
    return [line.strip() for line in rules() for address in addresses if address in line]


def assert_released():
    """Nothing is left of any pod: no lease, no veth, no rule that names an address of theirs, and nothing that masquerades."""
    assert leases() == [], f"leases stay: {leases()}"
    assert pod_links() == set(), f"veths stay: {pod_links()}"
    left = rules_for("10.244.0.", "fd00:244:", "table inet patu")
    assert not left, f"rules stay: {left}"


def make_outside():
    """A host beyond the node, in both families, that knows no way to the pods; its addresses."""
    make_netns("outside")
    run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", "outside")
    for netns, link, end in (("/proc/self/ns/net", "uplink", 1), ("/run/netns/outside", "eth0", 2)):
        inside = ("nsenter", f"--net={netns}", "ip")
        run(*inside, "address", "add", f"192.0.2.{end}/24", "dev", link)
        run(*inside, "address", "add", f"2001:db8::{end}/64", "dev", link, "nodad")
        run(*inside, "link", "set", link, "up")
    return "192.0.2.2", "2001:db8::2"


def await_true(condition, what, seconds=30):
    """Polls; the bound is there to end a hang, not to measure."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not after {seconds} s")
        time.sleep(0.02)


def ask(address, port, seconds=5):
    """What a server sends on one connection before it closes."""
    with socket.create_connection((address, port), seconds) as connection:
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


@contextlib.contextmanager
def server(netns, port=8080, text="here"):
    """A program in the pod's namespace that sends `text` on every connection to the port, in both families."""
    command = ["ip", "netns", "exec", netns, "busybox", "nc", "-ll", "-p", str(port), "-e", "/bin/echo", text]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        try:
            await_true(lambda: f":{port} " in run("ip", "netns", "exec", netns, "ss", "-ltn"), f"server in {netns}")
            yield
        finally:
            program.kill()
