#!/usr/bin/env bash
# Takes the first C program out of a page of documentation, or what the page says that it prints.
set -euo pipefail
case ${1:-} in
  program) awk '/^```c$/ { inside = 1; next } /^```$/ { if (inside) exit } inside' "$2" ;;
  output) awk '/^It prints$/ { inside = 1; next } inside && /^[^ ]/ { exit } inside && NF { sub(/^    /, ""); print }' "$2" ;;
  *) echo "usage: readme_program.sh program|output README" >&2; exit 2 ;;
esac
