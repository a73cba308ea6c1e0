"""containerd in the sandbox: its configuration, its life, and its own command line."""

import contextlib
import json
import os
import shutil
import signal
import subprocess

import containers
import plugins
import probes

SOCKET = "/run/containerd/containerd.sock"
NETWORKS = "/etc/cni/net.d"
CONFIGURATION = f"""\
version = 2
root = "/run/containerd-root"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{containers.IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins.DIRECTORY}"
    conf_dir = "{NETWORKS}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""


def write_network(conflist):
    """Makes it the only network of the node; what a package put there is out of sight in the sandbox."""
    shutil.rmtree(NETWORKS, ignore_errors=True)
    os.makedirs(NETWORKS)
    with open(f"{NETWORKS}/10-pods.conflist", "w", encoding="utf-8") as file:
        json.dump(conflist, file)


@contextlib.contextmanager
def daemon():
    with open("/run/containerd.toml", "w", encoding="utf-8") as file:
        file.write(CONFIGURATION)
    os.makedirs("/run/bin", exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink(os.path.join(os.path.dirname(__file__), "runc_without_shares.py"), "/run/bin/runc")
    with open("/run/containerd.log", "wb") as log:
        program = subprocess.Popen(["containerd", "--config", "/run/containerd.toml"], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env={**os.environ, "PATH": f"/run/bin:{os.environ['PATH']}"})
    try:
        probes.await_true(is_ready, "containerd answers")
        yield
    finally:
        program.send_signal(signal.SIGTERM)
        program.wait(30)


def is_ready():
    return subprocess.run(ctr("version"), capture_output=True, check=False).returncode == 0


def ctr(*arguments):
    return ["ctr", "--address", SOCKET, *arguments]


def complaints():
    """What containerd's log says about networks, for the message of a test that fails."""
    with open("/run/containerd.log", encoding="utf-8") as file:
        return "".join(line for line in file if "level=error" in line or "level=warning" in line)[-4000:]
