"""What the test programs of this folder have in common: their arguments, and their life in one sandbox."""

import shutil
import subprocess
import sys
import unittest

import plugins
import sandbox


def needs(**packages):
    """Ends the program if one of these commands is not installed; tests/run installs their packages, as root on Debian."""
    for command, package in packages.items():
        path = shutil.which(command)
        if path is None:
            sandbox.skip(f"needs {command}: the package {package}")
        # In a container there is nothing else; ldd refuses a program without libraries.
        if command == "busybox" and subprocess.run(["ldd", path], capture_output=True, check=False).returncode == 0:
            sandbox.skip("needs a busybox without shared libraries: the package busybox-static")


def main(usage, count, prepare=lambda own, *arguments: None):
    """Runs the tests of the main module in a sandbox where the plugins are installed; prepare() is called there first."""
    arguments = sys.argv[1:]
    if len(arguments) != count:
        sys.exit(usage)
    own = plugins.subject(arguments)

    def body():
        plugins.install(own)
        prepare(own, *arguments[1:])
        tests = unittest.main("__main__", argv=sys.argv[:1], verbosity=2, exit=False).result
        return 0 if tests.wasSuccessful() and tests.testsRun else 1

    sys.exit(sandbox.run(body))
