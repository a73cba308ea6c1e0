// The kernel's switches for forwarding. A node that learns its IPv6 routes from a router must not lose them by becoming one.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "descriptor.hpp"
#include "egress.hpp"
#include "failure.hpp"

namespace cni {
namespace {

constexpr char kRoot[] = "/proc/sys/";
constexpr char kForwardV4[] = "net/ipv4/ip_forward";
constexpr char kForwardV6[] = "net/ipv6/conf/all/forwarding";
constexpr char kInterfacesV6[] = "net/ipv6/conf";

std::string dotted(std::string name) {
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

Failure failed(const std::string& name, const char* step) {
  if (errno == ENOENT) return {Code::kernel_unsupported, "sysctl " + dotted(name) + ": this kernel does not have it"};
  return {patu::Error::from_errno(errno, step), "sysctl " + dotted(name)};
}

// Nothing if there is no such sysctl.
std::optional<char> read_digit(const std::string& name) {
  const Descriptor file(::open((kRoot + name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file && errno == ENOENT) return std::nullopt;
  char digit = 0;
  if (!file || ::read(file.get(), &digit, 1) != 1) throw failed(name, "read");
  return digit;
}

bool is_on(const std::string& name) {
  const auto digit = read_digit(name);
  errno = ENOENT;
  if (!digit) throw failed(name, "read");
  return *digit != '0';
}

void write_digit(const std::string& name, char digit) {
  const Descriptor file(::open((kRoot + name).c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) throw failed(name, "open");
  const std::array<char, 2> line{digit, '\n'};
  if (::write(file.get(), line.data(), line.size()) < 0) throw failed(name, "write");
}

std::vector<std::string> interfaces_v6() {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir((std::string(kRoot) + kInterfacesV6).c_str()),
                                                      ::closedir);
  if (!directory) throw failed(kInterfacesV6, "list");
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && name != "all" && name != "default" && name != "lo") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// accept_ra 1 is "unless forwarding is on" (Documentation/networking/ip-sysctl.rst): switching that on deletes the default
// route that a router advertised, and no further advertisement is heard. 2 is "even then".
std::vector<std::string> keep_routers() {
  std::vector<std::string> changed;
  for (const std::string& interface : interfaces_v6()) {
    const std::string own = std::string(kInterfacesV6) + "/" + interface;
    // An interface may go while it is looked at.
    if (read_digit(own + "/accept_ra") != '1' || read_digit(own + "/forwarding") != '0') continue;
    write_digit(own + "/accept_ra", '2');
    changed.push_back("net.ipv6.conf." + interface + ".accept_ra");
  }
  return changed;
}

}  // namespace

std::vector<std::string> forward(bool v4, bool v6) {
  std::vector<std::string> changed;
  if (v4 && !is_on(kForwardV4)) {
    write_digit(kForwardV4, '1');
    changed.push_back(dotted(kForwardV4));
  }
  if (v6 && !is_on(kForwardV6)) {
    const auto kept = keep_routers();
    changed.insert(changed.end(), kept.begin(), kept.end());
    write_digit(kForwardV6, '1');
    changed.push_back(dotted(kForwardV6));
  }
  return changed;
}

std::vector<std::string> forwarding_deviations(bool v4, bool v6) {
  std::vector<std::string> off;
  if (v4 && !is_on(kForwardV4)) off.push_back(dotted(kForwardV4));
  if (v6 && !is_on(kForwardV6)) off.push_back(dotted(kForwardV6));
  return off;
}

}  // namespace cni
