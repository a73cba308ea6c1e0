#!/usr/bin/env bash
# Prints what the library weighs when it is stripped, and fails above the limit.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: size.sh LIBRARY LIMIT_KIB" >&2; exit 2; }
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$1"
bytes=$(stat -c %s "$stripped")
echo "$(basename "$1"), stripped: $bytes bytes, $(((bytes + 1023) / 1024)) KiB of at most $2 KiB"
[ "$bytes" -le $(($2 * 1024)) ] || { echo "that is too much"; exit 1; }
