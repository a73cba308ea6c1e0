"""Runs a function in namespaces of its own, and leaves nothing on the host however that ends.

In the sandbox there is an empty network, a tmpfs at /run, a bpffs at /sys/fs/bpf, changes to /etc, /opt and /var/lib that only
it sees, and a cgroup tree at /sys/fs/cgroup that looks like that of a machine with cgroup2 alone: it is one directory of the
host's, entered by a cgroup namespace, so that runtimes put containers where patu's programs are attached. Processes live in a
pid namespace: they are killed with its first process, and that one with the caller.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import traceback

SKIPPED = 77
BPFFS = "/sys/fs/bpf"
CGROUP_TREE = "/sys/fs/cgroup"
PODS_CGROUP = f"{CGROUP_TREE}/pods"  # patu's: runtimes are told to put containers below it
NEW = {"net": 0x40000000, "pid": 0x20000000, "mount": 0x00020000, "cgroup": 0x02000000, "ipc": 0x08000000, "uts": 0x04000000}
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)


def skip(reason, required=False):
    """Ends the program. What is required is no reason to skip where kernel tests have to run."""
    failed = required and os.environ.get("PATU_REQUIRE_KERNEL_TESTS") == "1"
    print(f"{'FAIL' if failed else 'SKIP'}: {reason}", flush=True)
    sys.exit(1 if failed else SKIPPED)


def check_call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def die_with_parent():
    check_call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def cgroup2_mount():
    """Where the whole cgroup2 hierarchy is mounted, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            left, right = line.split(" - ", 1)
            root, mount_point = left.split(" ")[3:5]
            if right.startswith("cgroup2 ") and root == "/":
                return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), mount_point)
    return None


def remove_cgroup(top):
    """A process that was killed leaves its cgroup a moment later."""
    deadline = time.monotonic() + 10
    while os.path.isdir(top) and time.monotonic() < deadline:
        with contextlib.suppress(OSError), open(f"{top}/cgroup.kill", "w", encoding="ascii") as file:
            file.write("1")
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        time.sleep(0.01)


def watch_cgroup(cgroup):
    """Starts a process that removes the cgroup when this one is gone, killed or not; returns what ends it earlier."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()  # what kills the test's process group spares it
        os.close(writing)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)  # nobody shall wait for our end of a pipe
        os.read(reading, 1)
        remove_cgroup(cgroup)
        os._exit(0)
    os.close(reading)

    def end():
        os.close(writing)
        os.waitpid(pid, 0)

    return writing, end


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def make_mounts():
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("-t", "bpf", "-o", "mode=0700", "bpf", BPFFS)
    mount("-t", "cgroup2", "cgroup2", CGROUP_TREE)
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    for top in ("/etc", "/opt", "/var/lib"):
        upper, work = f"/run/changes{top}", f"/run/work{top}"
        os.makedirs(upper)
        os.makedirs(work)
        mount("-t", "overlay", "-o", f"lowerdir={top},upperdir={upper},workdir={work}", "overlay", top)
    os.mkdir("/run/netns")
    mount("-t", "tmpfs", "tmpfs", "/run/netns")
    mount("--make-shared", "/run/netns")  # as `ip netns add` wants it


def furnish():
    """The first process's work in the new namespaces."""
    make_mounts()
    for leaf in ("node", "pods"):
        os.mkdir(f"{CGROUP_TREE}/{leaf}")
    with open(f"{CGROUP_TREE}/node/cgroup.procs", "w", encoding="ascii") as file:
        file.write("0")  # processes and cgroups with controllers may not share a directory
    check_call("sethostname", b"node", 4)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ.update({"HOME": "/run", "XDG_RUNTIME_DIR": "/run", "TMPDIR": "/run"})
    os.chdir("/run")


def status_of(wait_status):
    return os.waitstatus_to_exitcode(wait_status) if os.WIFEXITED(wait_status) else 128 + os.WTERMSIG(wait_status)


def leave(body):
    """Calls body() and ends this process with what it returns."""
    try:
        status = int(body() or 0)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # also a KeyboardInterrupt must not run on in the caller's code
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def first_process(body):
    """Process 1 of the sandbox: adopts what daemons leave behind, and ends everything by ending."""
    furnish()
    worker = os.fork()
    if worker == 0:
        leave(body)
    while True:
        pid, wait_status = os.wait()
        if pid == worker:
            return status_of(wait_status)


def enter(cgroup, to_close, body):
    die_with_parent()
    os.close(to_close)
    with open(f"{cgroup}/cgroup.procs", "w", encoding="ascii") as file:
        file.write("0")
    check_call("unshare", sum(NEW.values()))
    first = os.fork()
    if first == 0:
        die_with_parent()
        leave(lambda: first_process(body))
    return status_of(os.waitpid(first, 0)[1])


def tree_or_skip():
    """Where the host's cgroup2 hierarchy is mounted; ends the program where there can be no sandbox."""
    if os.geteuid() != 0:
        skip("needs root", required=True)
    return cgroup2_mount() or skip("no cgroup2 file system is mounted", required=True)


def run(body):
    """Exit status of body(), called in a new sandbox. The programs that it starts end with it."""
    tree = tree_or_skip()
    cgroup = f"{tree}/patu-test-{os.getpid()}-{time.monotonic_ns()}"
    os.mkdir(cgroup)
    to_close, end = watch_cgroup(cgroup)
    sys.stdout.flush()
    try:
        outer = os.fork()
        if outer == 0:
            leave(lambda: enter(cgroup, to_close, body))
        return status_of(os.waitpid(outer, 0)[1])
    finally:
        end()
