#!/usr/bin/python3
# Faults of the reference plugins that users reported, tried on patu-cni, which must be free of them, and on Debian's.
"""usage: regressions_test.py PATU_CNI|reference [NAME…]

Each is tried in a sandbox of its own. What Debian's plugins do is printed beside it and fails nothing.
"""

import subprocess
import sys
import tempfile
import traceback
import types

import plugins
import program
import regressions_network
import regressions_state
import sandbox


def regressions(names):
    found = [each for module in (regressions_state, regressions_network) for each in vars(module).values()
             if isinstance(each, types.FunctionType) and each.__module__ == module.__name__ and not each.__code__.co_argcount
             and each.__doc__]
    return [each for each in found if not names or each.__name__ in names]


def outcome(regression, own):
    """"ok", or what is wrong."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as report:

        def body():
            plugins.install(own)
            try:
                regression()
            except AssertionError as fault:
                report.write(f"fails: {fault}" if str(fault) else traceback.format_exc())
            except Exception:  # what a program that hangs or answers nonsense raises
                report.write(traceback.format_exc(limit=-3))
            else:
                report.write("ok")
            report.flush()

        sandbox.run(body)
        report.seek(0)
        return report.read() or "fails: it ended without a word"


def debian_version():
    query = ["dpkg-query", "--show", "--showformat", "${source:Upstream-Version}", "containernetworking-plugins"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.partition("+")[0] or "unknown"


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    own = plugins.subject(arguments)
    sandbox.tree_or_skip()
    program.needs(strace="strace", iptables="iptables", nft="nftables", busybox="busybox-static")
    reference = f"Debian's {debian_version()}"
    failed = []
    chosen = regressions(arguments[1:])
    for regression in chosen:
        print(regression.__doc__, flush=True)
        if own:
            said = outcome(regression, own)
            failed += [regression.__name__] if said != "ok" else []
            print(f"    {'patu-cni':16} {said}", flush=True)
        print(f"    {reference:16} {outcome(regression, None).splitlines()[0]}", flush=True)
    print(f"patu-cni fails: {', '.join(failed)}" if failed else f"{len(chosen)} regressions tried")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
