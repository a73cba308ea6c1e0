#!/usr/bin/env bash
# The header, the symbol map and the library have the same functions, and the header has the library's version.
set -euo pipefail
[ $# -eq 4 ] || { echo "usage: symbols.sh HEADER MAP LIBRARY VERSION" >&2; exit 2; }
header=$1 map=$2 library=$3 version=$4

# Comments out first: the example calls functions too.
declared() { sed 's,//.*,,' "$header" | tr '\n' ' ' | grep -oE 'PATU_C_API [^;(]*' | grep -oE 'patu_[a-z0-9_]+ *$' | tr -d ' ' | sort; }
mapped() { sed 's,#.*,,' "$map" | grep -oE 'patu_[a-z0-9_]+;' | tr -d ';' | sort; }
exported() { nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort; }

same() {
  diff -u --label "$1" --label "$2" "$3" "$4" || { echo "$1 and $2 differ"; return 1; }
}

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
declared >"$directory/header"
mapped >"$directory/map"
exported >"$directory/library"
[ -s "$directory/header" ] || { echo "no function found in $header"; exit 1; }
status=0
same patu.h patu.map "$directory/header" "$directory/map" || status=1
same patu.map "nm -D" "$directory/map" "$directory/library" || status=1
in_header=$(awk '/define PATU_VERSION_(MAJOR|MINOR|PATCH)/ { v = v (v ? "." : "") $3 } END { print v }' "$header")
[ "$in_header" = "$version" ] || { echo "patu.h says version $in_header, meson.build $version"; status=1; }
soname=$(readelf -d "$library" | sed -nE 's/.*SONAME.*\[(.*)\]/\1/p')
[ "$soname" = libpatu_c.so.0 ] || { echo "the soname is $soname"; status=1; }
echo "$(wc -l <"$directory/header") functions"
exit "$status"
