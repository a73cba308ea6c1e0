"""The CNI plugins under test: where they stand, what they are told, and what they answer."""

import json
import os
import subprocess
from dataclasses import dataclass, field

import sandbox

REFERENCE = "/usr/lib/cni"
DIRECTORY = "/opt/cni/bin"  # where runtimes look; in the sandbox only
SERVED = ("bridge", "host-local", "loopback", "patu")  # the names that patu-cni answers to
SECONDS = 60


def install(own):
    """Fills the plugin directory: Debian's plugins, and in place of some of them patu-cni, if `own` is its path."""
    os.makedirs(DIRECTORY)
    for name in os.listdir(REFERENCE):
        if own is None or name not in SERVED:
            os.symlink(f"{REFERENCE}/{name}", f"{DIRECTORY}/{name}")
    for name in SERVED if own else ():
        os.symlink(own, f"{DIRECTORY}/{name}")


def subject(arguments):
    """Path of patu-cni by the command line, or None for the reference; ends the program if the plugins are not there."""
    if not os.path.exists(f"{REFERENCE}/bridge"):
        sandbox.skip(f"needs {REFERENCE}/bridge: the package containernetworking-plugins")
    own = None if arguments[0] == "reference" else os.path.abspath(arguments[0])
    if own and not os.access(own, os.X_OK):
        sandbox.skip(f"there is no {own}", required=True)
    return own


def network(*subnets, ipam=None, **options):
    """A network configuration. The reference plugins ignore patu's own keys in it."""
    both = {"0.0.0.0/0": any("." in subnet for subnet in subnets), "::/0": any(":" in subnet for subnet in subnets)}
    return {
        "cniVersion": "1.0.0", "name": "pods", "type": "bridge", "bridge": "pods0", "isGateway": True,
        "bpffs": sandbox.BPFFS, "cgroup": sandbox.PODS_CGROUP,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}] for subnet in subnets],
                 "routes": [{"dst": dst} for dst, wanted in both.items() if wanted], **(ipam or {})},
        **options,
    }


def conflist(plugin, *chained, version="1.0.0"):
    """The list of a network: the plugin's own configuration, and those of the plugins that come after it."""
    own = {key: value for key, value in plugin.items() if key not in ("cniVersion", "name")}
    # A runtime that knows this key takes the newest version of these; one that does not takes cniVersion.
    newer = {"cniVersions": ["0.4.0", "1.0.0", "1.1.0"]} if version == "1.0.0" else {}
    return {"cniVersion": version, **newer, "name": plugin["name"], "plugins": [own, *chained]}


@dataclass
class Answer:
    """What a plugin said. Its output is JSON, or nothing."""

    status: int
    output: dict = field(default_factory=dict)
    text: str = ""

    @property
    def addresses(self):
        return [each["address"].split("/")[0] for each in self.output["ips"]]

    def __str__(self):
        return f"status {self.status}: {self.output.get('msg', self.text)}"


def prepare(command, config, container="", netns="", ifname="eth0", arguments=""):
    """What subprocess needs to run the plugin that the configuration names, but its standard input."""
    environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns and f"/run/netns/{netns}",
                   "CNI_IFNAME": ifname, "CNI_ARGS": arguments, "CNI_PATH": DIRECTORY,
                   **{key: os.environ.get(key, "") for key in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS")}}
    return {"args": [f"{DIRECTORY}/{config['type']}"], "env": {key: value for key, value in environment.items() if value},
            "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def answer_of(status, out, err):
    try:
        return Answer(status, json.loads(out) if out.strip() else {}, err)
    except json.JSONDecodeError:
        return Answer(status, {"msg": f"not JSON: {out!r}"}, err)


def run_with(prepared, text):
    done = subprocess.run(**prepared, input=text, timeout=SECONDS, check=False)
    return answer_of(done.returncode, done.stdout, done.stderr)


def run(prepared, config):
    return run_with(prepared, json.dumps(config))


def call(command, config, *arguments, **more):
    """Runs a plugin as a runtime does."""
    return run(prepare(command, config, *arguments, **more), config)


def call_at_once(command, config, containers):
    """Runs a plugin for all containers at the same time; each one's namespace has its name."""
    running = [subprocess.Popen(**prepare(command, config, each, each), stdin=subprocess.PIPE) for each in containers]
    for each in running:
        each.stdin.write(json.dumps(config))
        each.stdin.close()
        each.stdin = None
    outputs = [each.communicate(timeout=SECONDS) for each in running]
    return [answer_of(each.returncode, *output) for each, output in zip(running, outputs)]
