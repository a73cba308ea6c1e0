#!/usr/bin/env bash
# Compares the library with the interface that is checked in, types and symbols: fails on what would break a program.
set -uo pipefail
update=no
[ "${1:-}" != --update ] || { update=yes; shift; }
[ $# -eq 3 ] || { echo "usage: abidiff.sh [--update] LIBRARY INCLUDE_DIRECTORY BASELINE" >&2; exit 2; }
library=$1 headers=$2 baseline=$3
command -v abidiff >/dev/null || { echo "SKIP: abidiff is not installed (Debian's package abigail-tools)"; exit 77; }
grep -q '\.debug_info' <<<"$(readelf -SW "$library")" || { echo "SKIP: $library has no debugging information"; exit 77; }
lean=(--headers-dir "$headers" --exported-interfaces-only --drop-undefined-syms --drop-private-types --short-locs
  --no-corpus-path --no-comp-dir-path --type-id-style hash)
if [ "$update" = yes ]; then
  abidw "${lean[@]}" --out-file "$baseline" "$library"
  exit
fi
if [ "$(uname -m)" != x86_64 ]; then
  echo "SKIP: the baseline is x86-64's"
  exit 77
fi
compare() { abidiff --exported-interfaces-only --headers-dir2 "$headers" "$1" "$library"; }
compare "$baseline"
status=$?
# Bits: 1 an error, 2 wrong usage, 4 a change, 8 an incompatible one.
if [ $((status & 11)) -ne 0 ]; then
  echo "not compatible with $baseline"
elif [ "$status" -ne 0 ]; then
  echo "another interface than $baseline: if no program breaks by it, bindings/c/README.md says how to update that"
fi
[ "$status" -eq 0 ] || exit 1

# A comparison that leaves too much out would be content with everything.
doctored=$(mktemp)
trap 'rm -f "$doctored"' EXIT
sed "s/\(class-decl name='patu_backend' size-in-bits=\)'256'/\1'320'/" "$baseline" >"$doctored"
compare "$doctored" >/dev/null && { echo "a struct of another size was not noticed"; exit 1; }
exit 0
