#!/usr/bin/python3
# runc for containers without CPU shares: containerd always asks for some, and a host whose cgroup2 tree has no cpu controller
# (it is a cgroup v1's, or not enabled) cannot give them.
import json
import os
import sys

RUNC = "/usr/sbin/runc"
arguments = sys.argv[1:]
if "create" in arguments and "--bundle" in arguments:
    path = f"{arguments[arguments.index('--bundle') + 1]}/config.json"
    with open(path, encoding="utf-8") as file:
        configuration = json.load(file)
    configuration["linux"].get("resources", {}).pop("cpu", None)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(configuration, file)
os.execv(RUNC, ["runc", *arguments])
