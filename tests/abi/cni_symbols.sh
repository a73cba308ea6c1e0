#!/usr/bin/env bash
# The header of libpatu_cni compiles alone as C11 and as C++, and its functions are the map's and the library's, and no others.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: cni_symbols.sh HEADER MAP LIBRARY" >&2; exit 2; }
header=$1 map=$2 library=$3

declared=$(sed 's,//.*,,' "$header" | tr '\n' ' ' | grep -oE 'PATU_CNI_API [^;(]*' | grep -oE 'patu_[a-z0-9_]+ *$' | tr -d ' ' | sort)
mapped=$(sed 's,#.*,,' "$map" | grep -oE 'patu_[a-z0-9_]+;' | tr -d ';' | sort)
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)
[ -n "$declared" ] || { echo "no function found in $header"; exit 1; }
[ "$declared" = "$mapped" ] || { echo "$header has $declared, $map $mapped"; exit 1; }
[ "$declared" = "$exported" ] || { echo "$header has $declared, $library $exported"; exit 1; }
soname=$(readelf -d "$library" | sed -nE 's/.*SONAME.*\[(.*)\]/\1/p')
[ "$soname" = libpatu_cni.so.0 ] || { echo "the soname is $soname"; exit 1; }
gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c "$header"
g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ "$header"
echo "$declared"
