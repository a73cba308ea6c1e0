"""A client of the container runtime interface, v1, as far as the tests need it; protocol buffers are written by hand.

The field numbers are those of k8s.io/cri-api/pkg/apis/runtime/v1/api.proto.
"""

import grpc


def number(value):
    """A base 128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encode(message):
    """{field number: text, number, message, or a list of them} as bytes."""
    out = b""
    for field, value in message.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int):
                out += number(field << 3) + number(each)
            else:
                content = encode(each) if isinstance(each, dict) else each.encode()
                out += number(field << 3 | 2) + number(len(content)) + content
    return out


def take_number(content):
    value = shift = 0
    for index, byte in enumerate(content):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, content[index + 1:]
    raise ValueError("a number without an end")


def decode(content):
    """{field number: [number or bytes, …]}"""
    message = {}
    while content:
        key, content = take_number(content)
        value, content = take_number(content)
        if key & 7 == 2:
            value, content = content[:value], content[value:]
        elif key & 7 != 0:
            raise ValueError(f"wire type {key & 7}")
        message.setdefault(key >> 3, []).append(value)
    return message


def text(message, field):
    return message[field][0].decode() if field in message else ""


class Runtime:
    """One connection to a runtime's socket."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def call(self, method, message):
        unary = self.channel.unary_unary(f"/runtime.v1.RuntimeService/{method}", encode, decode)
        return unary(message, timeout=60)

    def run_pod(self, name, cgroup_parent, host_ports=()):
        """Starts a pod; returns what containers in it are created with."""
        ports = [{1: 0, 2: inside, 3: outside} for outside, inside in host_ports]
        config = {1: {1: name, 2: f"uid-{name}", 3: "default"}, 2: name, 5: ports, 8: {1: cgroup_parent}}
        return text(self.call("RunPodSandbox", {1: config}), 1), config

    def addresses(self, pod):
        """As the kubelet learns them: the first one, then the others."""
        network = decode(decode(self.call("PodSandboxStatus", {1: pod})[1][0])[5][0])
        return [text(network, 1), *(text(decode(each), 1) for each in network.get(2, []))]

    def run_container(self, pod, config, image, *command):
        created = self.call("CreateContainer", {1: pod, 2: {1: {1: "main"}, 2: {1: image}, 3: list(command)}, 3: config})
        self.call("StartContainer", {1: text(created, 1)})
        return text(created, 1)

    def execute(self, container, *command):
        """(exit status, standard output)"""
        done = self.call("ExecSync", {1: container, 2: list(command), 3: 30})
        return done.get(3, [0])[0], text(done, 1)

    def stop_pod(self, pod):
        self.call("StopPodSandbox", {1: pod})

    def remove_pod(self, pod):
        self.call("RemovePodSandbox", {1: pod})
