# Finds and installs what building and running need. To be sourced; the caller has say() and die().

# CXX may be several words, such as "ccache g++".
has_header() {
  local command
  read -ra command <<<"${CXX:-c++}"
  echo "#include <$1>" | "${command[@]}" -x c++ -std=c++20 -fsyntax-only - 2>/dev/null
}

# Names the Debian packages of what this machine lacks.
missing_packages() {
  local command
  for command in meson:meson ninja:ninja-build pkg-config:pkg-config g++:g++ clang++:clang bpftool:bpftool ip:iproute2 \
      nft:nftables jq:jq sysctl:procps abidiff:abigail-tools; do
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
  if [ "${compiler:-gcc}" = clang ] && [ "${sanitize:-no}" != no ] && command -v clang++ >/dev/null; then
    [ -e "$(clang++ -print-file-name=libclang_rt.asan-"$(uname -m)".a)" ] ||
      echo "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
  fi
}

# Names the Debian packages that suite `runtime` needs and this machine lacks.
missing_runtimes() {
  local command
  for command in containerd runc podman strace iptables go:golang-go; do
    command -v "${command%%:*}" >/dev/null || echo "${command#*:}"
  done
  # In the tests' containers there is this program and no library.
  { command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; } || echo busybox-static
  local file
  for file in /usr/lib/cni/bridge:containernetworking-plugins \
      /usr/share/gocode/src/github.com/containernetworking/cni/libcni/api.go:golang-github-appc-cni-dev; do
    [ -e "${file%%:*}" ] || echo "${file#*:}"
  done
  /usr/bin/python3 -c 'import grpc' 2>/dev/null || echo python3-grpcio
}

# Runs a command while no package may start a daemon: Debian asks this program first, and 101 is "forbidden by policy".
without_daemons() {
  local policy=/usr/sbin/policy-rc.d status
  [ ! -e "$policy" ] || { "$@"; return; }
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  "$@"
  status=$?
  rm -f "$policy"
  trap - EXIT
  return "$status"
}

install_packages() {
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || say "apt-get update failed; going on with the package lists that are there"
  # A package manager at work elsewhere holds the lock for a while.
  without_daemons apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

# What cannot be installed is no failure: the tests that need it are skipped, and say why.
install_runtimes() {
  local missing
  mapfile -t missing < <(missing_runtimes)
  [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 0
  install_packages "${missing[@]}" || say "apt-get could not install ${missing[*]}"
}

install_missing() {
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || die "not installed: ${missing[*]}. Run as root to have them installed, or install these packages"
  command -v apt-get >/dev/null || die "not installed: ${missing[*]} (Debian's names), and there is no apt-get to do it"
  install_packages "${missing[@]}" || die "apt-get could not install ${missing[*]}"
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] || die "still not found after installing: ${missing[*]}"
}
