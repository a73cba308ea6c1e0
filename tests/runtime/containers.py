"""What a container is made of: a root file system of busybox alone, as a directory and as an image."""

import hashlib
import io
import json
import os
import shutil
import tarfile

import probes

IMAGE = "patu.test/busybox:1"  # by that name only, never from a registry
APPLETS = ("sh", "ip", "nc", "cat", "echo", "sleep", "true", "nslookup")
# In a container: sends its argument on every connection to port 8080, in both families.
SERVER = "nc -ll -p 8080 -e /bin/echo"


def make_rootfs(path):
    os.makedirs(f"{path}/bin")
    for directory in ("dev", "etc", "proc", "run", "sys", "tmp"):
        os.mkdir(f"{path}/{directory}")
    shutil.copy(shutil.which("busybox"), f"{path}/bin/busybox")
    for applet in APPLETS:
        os.symlink("busybox", f"{path}/bin/{applet}")
    return path


def add_bytes(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_image(path, rootfs):
    """An archive as `docker save` writes it: https://github.com/moby/docker-image-spec, one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(rootfs, arcname=".")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {"architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
              "config": {"Cmd": ["/bin/sleep", "100000"], "Env": ["PATH=/bin"]},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    with tarfile.open(path, "w") as archive:
        add_bytes(archive, "layer.tar", layer.getvalue())
        add_bytes(archive, "config.json", json.dumps(config).encode())
        manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
        add_bytes(archive, "manifest.json", json.dumps(manifest).encode())


class Runc:
    """Containers of runc in namespaces that are there already, below patu's cgroup."""

    def __init__(self, rootfs):
        self.rootfs = rootfs

    def configuration(self, name, netns, command):
        namespaces = [{"type": each} for each in ("pid", "mount", "ipc", "uts")]
        return {
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": command, "cwd": "/", "env": ["PATH=/bin"],
                        "capabilities": {kind: ["CAP_NET_ADMIN"] for kind in ("bounding", "effective", "permitted")}},
            "root": {"path": self.rootfs, "readonly": True},
            "hostname": name,
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"cgroupsPath": f"/pods/{name}",
                      "namespaces": [*namespaces, {"type": "network", "path": f"/run/netns/{netns}"}]},
        }

    def run(self, *arguments):
        return probes.run("runc", "--root", "/run/runc", *arguments)

    def start(self, name, netns, *command):
        bundle = f"/run/bundles/{name}"
        os.makedirs(bundle)
        with open(f"{bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(self.configuration(name, netns, list(command)), file)
        # What a detached container inherits it keeps open: not our pipe.
        with open(os.devnull, "r+b") as null:
            probes.run("runc", "--root", "/run/runc", "run", "--detach", "--bundle", bundle, name, streams=null)

    def execute(self, name, *command):
        return self.run("exec", name, *command)

    def delete(self, name):
        self.run("delete", "--force", name)
        shutil.rmtree(f"/run/bundles/{name}")
