#!/usr/bin/env bash
# The header compiles alone, as pedantic C11 and as C++20, without padding, and what it defines from C99 and C++98 on; and so do
# its example and the README's programs.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: header.sh INCLUDE_DIRECTORY README LIBRARY COMPILER…" >&2; exit 2; }
include=$1 readme=$2 library=$3
shift 3
# Without a library the programs are compiled, and not linked.
link=(-c)
[ -z "$library" ] || link=("$library")
warnings=(-Wall -Wextra -Wpedantic -Werror)
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
# As text of the comment; three characters stand before each line of it.
sed -n '/^\/\/   #include <patu\/patu.h>/,/^\/\/   }$/p' "$include/patu/patu.h" | sed -E 's,^// {0\,3},,' >"$directory/example.c"
awk -v base="$directory/readme" '/^```c$/ { inside = 1; n++; next } /^```$/ { inside = 0 } inside { print > (base n ".c") }' "$readme"
{
  printf '#include <patu/patu.h>\n'
  sed -n 's/^#define PATU_\([A-Z_]*\)_INIT .*/\1/p' "$include/patu/patu.h" | sort -u | while read -r name; do
    struct=patu_$(tr A-Z a-z <<<"$name")
    printf 'size_t size_of_%s(void);\nsize_t size_of_%s(void) {\n' "$struct" "$struct"
    printf '  const %s made = PATU_%s_INIT;\n  return made.struct_size;\n}\n' "$struct" "$name"
  done
} >"$directory/init"
status=0
for compiler in "$@"; do
  command -v "$compiler" >/dev/null || { echo "$compiler is not installed; left out"; continue; }
  case $compiler in
    *++) language=(-x c++ -std=c++20) standards=(c++98 c++11 c++20) ;;
    *) language=(-x c -std=c11) standards=(c99 c11) ;;
  esac
  printf '#include <patu/patu.h>\n#include <patu/patu.h>\nextern int used;\n' |
    "$compiler" "${language[@]}" "${warnings[@]}" -Wpadded -I"$include" -fsyntax-only - || status=1
  for standard in "${standards[@]}"; do
    "$compiler" -x "${language[1]}" -std="$standard" "${warnings[@]}" -I"$include" -fsyntax-only "$directory/init" ||
      { echo "PATU_*_INIT do not compile as $standard with $compiler"; status=1; }
  done
  [ "${language[1]}" = c ] || continue
  for program in "$directory"/*.c; do
    "$compiler" -std=c11 "${warnings[@]}" -I"$include" "$program" "${link[@]}" -o "$directory/program" ||
      { echo "$(basename "$program") does not compile with $compiler"; status=1; }
  done
done
echo "$(ls "$directory"/*.c | wc -l) programs of the documentation"
exit "$status"
