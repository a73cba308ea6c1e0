#!/usr/bin/python3
# The sandbox of these tests leaves nothing on the host: not when a test ends, fails, is ended or is killed.
"""usage: sandbox_test.py"""

import glob
import os
import signal
import subprocess
import sys
import time
import unittest

import sandbox

# A daemon with children of its own, as far from the test as a daemon can get, in a cgroup of a container.
DAEMON = f"setsid sh -c 'mkdir -p {sandbox.PODS_CGROUP}/a/b; echo $$ >{sandbox.PODS_CGROUP}/a/b/cgroup.procs; sleep 1000 & wait' &"


def body():
    subprocess.run(["sh", "-c", DAEMON], stdin=subprocess.DEVNULL, check=True)
    subprocess.run(["ip", "netns", "add", "pod"], check=True)
    subprocess.run(["ip", "link", "add", "patu-sandbox", "type", "bridge"], check=True)
    for path in ("/etc/patu-sandbox", "/opt/patu-sandbox", "/var/lib/patu-sandbox", "/run/patu-sandbox"):
        os.mkdir(path)
    while not glob.glob(f"{sandbox.PODS_CGROUP}/a/b"):
        time.sleep(0.01)
    print("furnished", flush=True)


def hang():
    body()
    time.sleep(1000)


def fail():
    body()
    raise AssertionError("on purpose")


class SandboxTest(unittest.TestCase):
    def start(self, function):
        """A process that runs the function in a sandbox, once it has got to its end."""
        command = [sys.executable, "-B", __file__, function]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.assertEqual(program.stdout.readline(), "furnished\n")
        return program

    def ended(self, program):
        _, self.complaint = program.communicate(timeout=30)
        return program.returncode

    def assert_nothing_left(self, program):
        deadline = time.monotonic() + 30
        cgroups = f"{sandbox.cgroup2_mount()}/patu-test-{program.pid}-*"
        while glob.glob(cgroups) and time.monotonic() < deadline:  # of one that was killed: a moment later
            time.sleep(0.01)
        self.assertEqual(glob.glob(cgroups), [])
        self.assertEqual(glob.glob("/etc/patu-sandbox") + glob.glob("/opt/patu-sandbox") + glob.glob("/var/lib/patu-sandbox"), [])
        self.assertFalse(os.path.exists("/sys/class/net/patu-sandbox"))
        self.assertFalse(os.path.exists("/run/patu-sandbox"))

    def test_a_test_that_ends(self):
        program = self.start("body")
        self.assertEqual(self.ended(program), 0)
        self.assert_nothing_left(program)

    def test_a_test_that_fails(self):
        program = self.start("fail")
        self.assertEqual(self.ended(program), 1)
        self.assertIn("on purpose", self.complaint)
        self.assert_nothing_left(program)

    def test_a_test_whose_first_process_is_killed(self):
        for kill in (signal.SIGTERM, signal.SIGKILL):
            program = self.start("hang")
            program.send_signal(kill)
            self.assertEqual(self.ended(program), -kill)  # all that held its output are gone
            self.assert_nothing_left(program)

    def test_a_test_that_is_killed_with_its_process_group(self):
        program = self.start("hang")
        os.killpg(program.pid, signal.SIGKILL)
        self.assertEqual(self.ended(program), -signal.SIGKILL)
        self.assert_nothing_left(program)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        sys.exit(sandbox.run({"body": body, "hang": hang, "fail": fail}[sys.argv[1]]))
    sandbox.tree_or_skip()
    unittest.main(verbosity=2)
