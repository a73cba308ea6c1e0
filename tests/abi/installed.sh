#!/bin/sh
# Builds small programs against an installed patu, as its users do: with pkg-config, statically, and with CMake.
set -eu
build=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
die() { echo "installed.sh: $*" >&2; exit 1; }

DESTDIR=$place/root meson install -C "$build" --no-rebuild --quiet
pc=$(dirname "$(find "$place/root" -name patu_c.pc)")
prefix=$(pkg-config --variable=prefix "$pc/patu_c.pc")
libdir=$place/root$(pkg-config --variable=libdir "$pc/patu_c.pc")
export PKG_CONFIG_PATH="$pc" PKG_CONFIG_SYSROOT_DIR="$place/root"
for file in "$libdir/libpatu.so" "$libdir/libpatu_c.so.0" "$libdir/libpatu_c.a" "$pc/patu.pc" \
  "$place/root$prefix/include/patu/patu.h" "$place/root$prefix/include/patu/patu.hpp"; do
  [ -e "$file" ] || die "$file was not installed"
done
for name in patu-cni 10-patu.conflist patu_cni.h libpatu_cni.so.0; do
  [ -n "$(find "$place/root" -name "$name")" ] || die "$name was not installed"
done
[ -L "$(dirname "$(find "$place/root" -name patu-cni)")/patu" ] || die "the CNI plugin is not there by the name patu"
cd "$place"

cat >c.c <<'END'
#include <patu/patu.h>
#include <stdio.h>
int main(void) {
  patu_endpoint endpoint;
  char text[PATU_ENDPOINT_TEXT_SIZE];
  if (patu_endpoint_parse("[fd00::1]:80", &endpoint, NULL) != PATU_OK) return 1;
  if (patu_endpoint_format(&endpoint, text, sizeof text, NULL) != PATU_OK) return 1;
  return puts(text) < 0 || patu_version() != PATU_VERSION;
}
END
cat >cxx.cpp <<'END'
#include <patu/patu.hpp>
#include <cstdio>
int main() {
  const auto endpoint = patu::Endpoint::parse("[fd00::1]:80");
  return !endpoint || std::puts(endpoint->to_string().c_str()) < 0;
}
END
says() {
  said=$(LD_LIBRARY_PATH=$libdir "$2") || die "$1: the program failed"
  [ "$said" = "[fd00::1]:80" ] || die "$1: the program said $said"
  echo "ok: $1"
}
# shellcheck disable=SC2046 # flags are words
{
  cc c.c $(pkg-config --cflags --libs patu_c) -o shared
  cc c.c $(pkg-config --cflags patu_c) "$libdir/libpatu_c.a" -lbpf -lmnl -lz -lstdc++ -pthread -o static
  c++ -std=c++20 cxx.cpp $(pkg-config --cflags --libs patu) -o cxx
}
says "C, pkg-config" ./shared
says "C, libpatu_c.a" ./static
says "C++, pkg-config" ./cxx

if ! command -v cmake >/dev/null; then
  echo "skipped: CMake is not installed"
  exit 0
fi
cat >CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.16)
project(user C CXX)
# Versions that are asked for: this one, and later ones, which there are not.
foreach(name patu_c patu)
  find_package(${name} 99 QUIET)
  if(${name}_FOUND)
    message(FATAL_ERROR "${name}: version 99 was found")
  endif()
endforeach()
find_package(patu_c @version@ REQUIRED)
find_package(patu @version@ EXACT REQUIRED)
add_executable(by_c c.c)
target_link_libraries(by_c patu_c::patu_c)
add_executable(by_static c.c)
target_link_libraries(by_static patu_c::static)
add_executable(by_cxx cxx.cpp)
target_link_libraries(by_cxx patu::patu)
END
sed -i "s/@version@/$(pkg-config --modversion "$pc/patu_c.pc")/" CMakeLists.txt
cmake -S . -B made -DCMAKE_PREFIX_PATH="$place/root$prefix" >made.log 2>&1 && cmake --build made >>made.log 2>&1 ||
  { cat made.log >&2; die "CMake failed"; }
says "C, CMake" made/by_c
says "C, CMake, static" made/by_static
says "C++, CMake" made/by_cxx
