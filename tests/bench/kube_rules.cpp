// Chains KUBE-SERVICES, KUBE-SVC-* and KUBE-SEP-* for iptables; a verdict map of services and chains of endpoints for nft.
#include "kube_rules.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "contest.hpp"
#include "many_services.hpp"

namespace patu::test {
namespace {

constexpr unsigned kSeconds = 3000;
constexpr const char* kPods = "10.0.0.0/8";
constexpr const char* kIptablesStart =
    "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n";
constexpr const char* kIptablesRules =
    "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
    "-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
    "-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n"
    "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
    "-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000\n"
    "-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE "
    "--random-fully\n"
    "-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n";
constexpr const char* kNftStart =
    "table ip kube-proxy {\n"
    " chain mark-for-masquerade { meta mark set meta mark or 0x4000; }\n"
    " chain masquerading { meta mark and 0x4000 == 0 return; meta mark set meta mark xor 0x4000; masquerade "
    "fully-random; }\n";
constexpr const char* kNftEnd =
    " chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }\n"
    " chain nat-output { type nat hook output priority -100; jump services; }\n"
    " chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }\n"
    " chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }\n}\n";

std::string hashed(std::uint32_t n) {  // 16 characters, as kube-proxy's hash of the name
  std::array<char, 17> text{};
  (void)std::snprintf(text.data(), text.size(), "%016X", n * 2654435761u);
  return text.data();
}

std::string text(const IpAddress& address) { return address.to_string(); }
std::string plain(std::uint32_t n) { return "namespace/service-" + std::to_string(n); }
std::string svc(std::uint32_t n) { return "KUBE-SVC-" + hashed(n); }
std::string sep(std::uint32_t n, std::uint32_t i) { return "KUBE-SEP-" + hashed(n * kBackendsEach + i + 1'000'000); }
std::string comment(const std::string& what) { return " -m comment --comment \"" + what + "\""; }

std::string svc_rules(std::uint32_t n, std::uint32_t backends) {
  const std::string name = plain(n) + ":http";
  std::string out = "-A " + svc(n) + comment(name + " cluster IP") + " -m tcp -p tcp -d " +
                    text(frontend_of(n).address) + " --dport 80 ! -s " + kPods + " -j KUBE-MARK-MASQ\n";
  for (std::uint32_t i = 0; i < backends; ++i) {
    out += "-A " + svc(n) + comment(name + " -> " + backend_of(n, i).to_string());
    if (i + 1 < backends) out += " -m statistic --mode random --probability " + std::to_string(1.0 / (backends - i));
    out += " -j " + sep(n, i) + "\n";
  }
  return out;
}

std::string sep_rules(std::uint32_t n, std::uint32_t i) {
  const std::string start = "-A " + sep(n, i) + comment(plain(n) + ":http");
  return start + " -s " + text(backend_of(n, i).address) + " -j KUBE-MARK-MASQ\n" + start +
         " -m tcp -p tcp -j DNAT --to-destination " + backend_of(n, i).to_string() + "\n";
}

std::string iptables_rules(std::uint32_t count) {
  std::string chains = kIptablesStart;
  std::string portals = kIptablesRules;
  std::string rules;
  for (std::uint32_t n = 0; n < count; ++n) {
    chains += ":" + svc(n) + " - [0:0]\n";
    portals += "-A KUBE-SERVICES" + comment(plain(n) + ":http cluster IP") + " -m tcp -p tcp -d " +
               text(frontend_of(n).address) + " --dport 80 -j " + svc(n) + "\n";
    rules += svc_rules(n, kBackendsEach);
    for (std::uint32_t i = 0; i < kBackendsEach; ++i) {
      chains += ":" + sep(n, i) + " - [0:0]\n";
      rules += sep_rules(n, i);
    }
  }
  return chains + portals + rules + "COMMIT\n";
}

std::string iptables_change(std::uint32_t n) {
  const std::string gone = sep(n, kBackendsEach - 1);
  return "*nat\n:" + svc(n) + " - [0:0]\n:" + gone + " - [0:0]\n" + svc_rules(n, kBackendsEach - 1) + "-X " + gone +
         "\nCOMMIT\n";
}

std::string nft_service(std::uint32_t n) { return "service-" + hashed(n) + "-" + plain(n) + "/tcp/http"; }
std::string nft_endpoint(std::uint32_t n, std::uint32_t i) {
  const Endpoint at = backend_of(n, i);
  return "endpoint-" + hashed(n * kBackendsEach + i) + "-" + plain(n) + "/tcp/http__" + text(at.address) + "/" +
         std::to_string(at.port);
}

std::string nft_mark(std::uint32_t n) {
  return "ip daddr " + text(frontend_of(n).address) + " tcp dport 80 ip saddr != " + kPods +
         " jump mark-for-masquerade";
}

std::string nft_choice(std::uint32_t n, std::uint32_t backends) {
  std::string out = "numgen random mod " + std::to_string(backends) + " vmap { ";
  for (std::uint32_t i = 0; i < backends; ++i)
    out += (i != 0 ? ", " : "") + std::to_string(i) + " : goto " + nft_endpoint(n, i);
  return out + " }";
}

std::string nft_rules(std::uint32_t count) {
  std::string out = kNftStart;
  std::string elements;
  for (std::uint32_t n = 0; n < count; ++n) {
    for (std::uint32_t i = 0; i < kBackendsEach; ++i) {
      const Endpoint at = backend_of(n, i);
      out += " chain " + nft_endpoint(n, i) + " { ip saddr " + text(at.address) +
             " jump mark-for-masquerade; meta l4proto tcp dnat to " + at.to_string() + "; }\n";
    }
    out += " chain " + nft_service(n) + " { " + nft_mark(n) + "; " + nft_choice(n, kBackendsEach) + "; }\n";
    elements += (n != 0 ? ",\n  " : "") + text(frontend_of(n).address) + " . tcp . 80 : goto " + nft_service(n);
  }
  return out + " map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = {\n  " + elements +
         " } }\n" + kNftEnd;
}

std::string nft_change(std::uint32_t n) {
  const std::string start = "rule ip kube-proxy " + nft_service(n) + " ";
  const std::string gone = "chain ip kube-proxy " + nft_endpoint(n, kBackendsEach - 1) + "\n";
  return "flush chain ip kube-proxy " + nft_service(n) + "\nadd " + start + nft_mark(n) + "\nadd " + start +
         nft_choice(n, kBackendsEach - 1) + "\nflush " + gone + "delete " + gone;
}

std::vector<const char*> command(RuleTool tool) {
  switch (tool) {
    case RuleTool::iptables_legacy: return {"iptables-legacy-restore", "--noflush", "--counters", nullptr};
    case RuleTool::iptables_nft: return {"iptables-nft-restore", "--noflush", "--counters", nullptr};
    case RuleTool::nft: break;
  }
  return {"nft", "-f", "-", nullptr};
}

UniqueFd in_memory(const std::string& text) {
  UniqueFd fd(::memfd_create("rules", MFD_CLOEXEC));
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t wrote = ::write(fd.get(), rest.data(), rest.size());
    if (wrote <= 0) give_up("write rules");
    rest.remove_prefix(static_cast<std::size_t>(wrote));
  }
  (void)::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

}  // namespace

const char* name_of(RuleTool tool) {
  if (tool == RuleTool::nft) return "nft";
  return tool == RuleTool::iptables_nft ? "iptables-nft" : "iptables-legacy";
}

std::optional<std::string> missing(RuleTool tool) {
  const std::string program = command(tool)[0];
  if (output_of("command -v " + program).empty()) return "skipped: no " + program;
  return std::nullopt;
}

std::string rules_for(RuleTool tool, std::uint32_t count) {
  return tool == RuleTool::nft ? nft_rules(count) : iptables_rules(count);
}

std::string change_for(RuleTool tool, std::uint32_t n) {
  return tool == RuleTool::nft ? nft_change(n) : iptables_change(n);
}

Loaded load_rules(RuleTool tool, const Netns& netns, const std::string& rules) {
  const UniqueFd input = in_memory(rules);
  const auto begin = Clock::now();
  const pid_t pid = start_in(
      netns, false,
      [&] {
        const std::vector<const char*> words = command(tool);
        if (::dup2(input.get(), STDIN_FILENO) < 0) return false;
        ::execvp(words[0], const_cast<char* const*>(words.data()));
        return false;
      },
      kSeconds);
  int status = 0;
  rusage usage{};
  if (::wait4(pid, &status, 0, &usage) != pid || status != 0) give_up(std::string(name_of(tool)) + " failed");
  return {ms_since(begin), static_cast<std::uint64_t>(usage.ru_maxrss)};
}

Netns make_rules_netns() {
  Netns netns = take(Netns::create());
  const std::string said = output_in(
      netns,
      "(ip link set lo up && ip link add out type veth peer name away && ip link set out up && ip link set away up && "
      "ip address add 10.64.0.1/32 dev out && ip route add 10.96.0.0/11 dev out && "
      "ip route replace local 10.128.0.0/10 dev lo && sysctl -qw net.core.somaxconn=16384) 2>&1");
  if (!said.empty()) give_up(said);
  return netns;
}

}  // namespace patu::test
