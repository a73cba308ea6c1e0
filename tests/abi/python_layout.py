#!/usr/bin/env python3
# Holds the structs of examples/python/patu.py against the table of the C ABI.
"""usage: python_layout.py TABLE, with patu.py in PYTHONPATH

Every struct of the module has the size, the alignment and the fields that the table has, in those places.
"""

import ctypes
import sys
from pathlib import Path

import patu


def layout():
    """What the module has, line by line as in the table."""
    for name, struct in vars(patu).items():
        if name.startswith("patu_") and issubclass(struct, ctypes.Structure):
            yield f"{name} size {ctypes.sizeof(struct)} alignment {ctypes.alignment(struct)}"
            for field, *_ in struct._fields_:
                yield f"{name}.{field} at {getattr(struct, field).offset} size {getattr(struct, field).size}"


def main():
    found = list(layout())
    structs = {line.split(" ")[0] for line in found if "." not in line.split(" ")[0]}
    wanted = [line for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
              if line.split(" ")[0].split(".")[0] in structs]
    for line in sorted(set(wanted) - set(found)):
        print(f"patu.py lacks: {line}")
    for line in sorted(set(found) - set(wanted)):
        print(f"patu.py alone has: {line}")
    print(f"{len(structs)} structs, {len(found)} lines")
    return 0 if structs and sorted(found) == sorted(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
