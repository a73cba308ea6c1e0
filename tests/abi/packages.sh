#!/bin/sh
# Builds on patu as those do who do not install it: as a meson subproject, and from the tarball that meson dist makes.
set -eu
[ $# -eq 3 ] || { echo "usage: packages.sh subproject|tarball SOURCE BUILD" >&2; exit 2; }
what=$1 source=$2 build=$3
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
die() { echo "packages.sh: $*" >&2; exit 1; }
logged() { "$@" >"$place/log" 2>&1 || { cat "$place/log" >&2; die "failed: $*"; }; }
# Nothing is optimised: what is looked for are files and flags that are missing. Nothing is fetched.
setup() { logged meson setup --wrap-mode=nodownload -Dbuildtype=plain "$@"; }

subproject() {
  mkdir -p "$place/user/subprojects"
  ln -s "$source" "$place/user/subprojects/patu"
  cat >"$place/user/meson.build" <<'END'
project('user', 'c', 'cpp', default_options: ['c_std=c11', 'cpp_std=c++20'])
subproject('patu')
executable('by_cxx', 'cxx.cpp', dependencies: dependency('patu'))
executable('by_c', 'c.c', dependencies: dependency('patu_c'))
END
  cat >"$place/user/cxx.cpp" <<'END'
#include <patu/patu.hpp>
#include <cstdio>
int main() { return !patu::Prefix::parse("10.0.0.0/8") || std::puts("subproject") < 0; }
END
  cat >"$place/user/c.c" <<'END'
#include <patu/patu.h>
int main(void) { return patu_version() != PATU_VERSION; }
END
  setup "$place/made" "$place/user"
  # The C library is the other test's.
  logged ninja -C "$place/made" by_cxx by_c.p/c.c.o
  [ "$("$place/made/by_cxx")" = subproject ] || die "the program said something else"
  [ ! -e "$place/made/subprojects/patu/tests" ] || die "a subproject brings its tests along"
  echo "ok: a meson subproject, with dependency('patu') and dependency('patu_c')"
}

tarball() {
  git -C "$source" rev-parse --verify --quiet HEAD >"$place/log" 2>&1 && [ -e "$source/.git" ] ||
    { echo "SKIP: meson dist packs what git tracks, and $source is no git checkout"; exit 77; }
  logged meson dist -C "$build" --no-tests --allow-dirty --formats gztar
  packed=$(ls "$build"/meson-dist/patu-*.tar.gz)
  tar -xzf "$packed" -C "$place"
  setup "$place/made" "$place"/patu-*/
  logged meson compile -C "$place/made" patu_c:shared_library
  cat >"$place/c.c" <<'END'
#include <patu/patu.h>
int main(void) { return patu_version() != PATU_VERSION; }
END
  # shellcheck disable=SC2046 # flags are words
  logged cc "$place/c.c" $(PKG_CONFIG_PATH=$place/made/meson-uninstalled pkg-config --cflags --libs patu_c) -o "$place/c"
  LD_LIBRARY_PATH=$place/made/bindings/c logged "$place/c"
  echo "ok: $(basename "$packed"), $(tar -tzf "$packed" | wc -l) files, builds libpatu_c offline"
}

case $what in
  subproject | tarball) "$what" ;;
  *) die "no such package: $what" ;;
esac
