#!/usr/bin/env python3
# Compares size, alignment and every field's place of each public struct with a table that is checked in.
"""usage: layout.py HEADER TABLE COMPILER…        compares, with each compiler that is installed
       layout.py --update HEADER TABLE COMPILER  writes the table anew

A change of a line that is there breaks every program that was built before; only new lines, behind the others of their
struct or for a new struct, are compatible.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def structs(header):
    """Names of structs with their fields, in the header's order."""
    text = re.sub(r"//[^\n]*", "", header)
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, re.DOTALL):
        fields = [re.search(r"(\w+)(?:\[\d+\])?$", field.strip()).group(1) for field in body.split(";") if field.strip()]
        yield name, fields


def program(header_path):
    lines = [f'#include "{header_path}"', "#include <stdio.h>", "int main(void) {"]
    for name, fields in structs(Path(header_path).read_text(encoding="utf-8")):
        lines.append(f'  printf("{name} size %zu alignment %zu\\n", sizeof({name}), _Alignof({name}));')
        for field in fields:
            size = f"sizeof((({name} *)0)->{field})"
            lines.append(f'  printf("{name}.{field} at %zu size %zu\\n", offsetof({name}, {field}), {size});')
    return "\n".join([*lines, "  return 0;", "}", ""])


def table_of(header_path, compiler):
    with tempfile.TemporaryDirectory() as directory:
        source, binary = Path(directory, "layout.c"), Path(directory, "layout")
        source.write_text(program(Path(header_path).resolve()), encoding="utf-8")
        subprocess.run([compiler, "-std=c11", str(source), "-o", str(binary)], check=True)
        return subprocess.run([str(binary)], stdout=subprocess.PIPE, text=True, check=True).stdout


def main(arguments):
    update = arguments[:1] == ["--update"]
    if len(arguments) < 3 + update:
        sys.exit(__doc__)
    header, table, *compilers = arguments[update:]
    if update:
        Path(table).write_text(table_of(header, compilers[0]), encoding="utf-8")
        return 0
    wanted = Path(table).read_text(encoding="utf-8").splitlines()
    faults = 0
    for compiler in filter(shutil.which, compilers):
        found = table_of(header, compiler).splitlines()
        for line in sorted(set(wanted) - set(found)):
            print(f"{compiler}: no longer so: {line}")
            faults += 1
        for line in sorted(set(found) - set(wanted)):
            print(f"{compiler}: not in {table}: {line}")
            faults += 1
        print(f"{compiler}: {len(found)} lines")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
