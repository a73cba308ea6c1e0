# Finds and installs what building and running need. To be sourced; the caller has say() and die().

has_header() { echo "#include <$1>" | "${CXX:-c++}" -x c++ -std=c++20 -fsyntax-only - 2>/dev/null; }

# Names the Debian packages of what this machine lacks.
missing_packages() {
  local command
  for command in meson:meson ninja:ninja-build pkg-config:pkg-config g++:g++ clang++:clang bpftool:bpftool ip:iproute2 \
      abidiff:abigail-tools; do
    command -v "${command%%:*}" >/dev/null || echo "${command#*:}"
  done
  local library
  for library in 'libbpf >= 1.0:libbpf-dev' libmnl:libmnl-dev libelf:libelf-dev zlib:zlib1g-dev; do
    pkg-config --exists "${library%%:*}" 2>/dev/null || echo "${library#*:}"
  done
  local header
  for header in linux/bpf.h:linux-libc-dev tl/expected.hpp:libexpected-dev doctest/doctest.h:doctest-dev \
      nlohmann/json.hpp:nlohmann-json3-dev; do
    has_header "${header%%:*}" || echo "${header#*:}"
  done
  if [ "${compiler:-gcc}-${sanitize:-no}" = clang-yes ] && command -v clang++ >/dev/null; then
    [ -e "$(clang++ -print-file-name=libclang_rt.asan-"$(uname -m)".a)" ] ||
      echo "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
  fi
}

install_missing() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || die "not installed: ${missing[*]}. Run as root to have them installed, or install these packages"
  command -v apt-get >/dev/null || die "not installed: ${missing[*]} (Debian's names), and there is no apt-get to do it"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || say "apt-get update failed; going on with the package lists that are there"
  # A package manager at work elsewhere holds the lock for a while.
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null ||
    die "apt-get could not install ${missing[*]}"
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] || die "still not found after installing: ${missing[*]}"
}
