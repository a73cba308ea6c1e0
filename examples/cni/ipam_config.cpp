// One or more sets of ranges: a set has one family, and a pod gets one address out of each set.
#include "ipam_config.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "descriptor.hpp"

namespace cni {
namespace {

constexpr char kDefaultDataDir[] = "/var/lib/cni/networks";
constexpr std::size_t kMaxResolvConfBytes = 65536;

std::optional<patu::Subnet> read_range(Fields& range) {
  const auto prefix = range.value<patu::Prefix>("subnet");
  patu::Subnet subnet{.prefix = prefix.value_or(*patu::Prefix::parse("0.0.0.0/0")),
                      .gateway = range.value<patu::IpAddress>("gateway"),
                      .first = range.value<patu::IpAddress>("rangeStart"),
                      .last = range.value<patu::IpAddress>("rangeEnd")};
  if (prefix) return subnet;
  range.complain("subnet", "is missing");
  return std::nullopt;
}

// The sets of one list, appended; a family may have one set in all.
class Sets final {
 public:
  explicit Sets(std::vector<patu::Subnet>& out) : out_(out) {}

  void add(const Fields& from, std::string_view key, const patu::Subnet& first, std::vector<patu::Subnet> others = {}) {
    const bool v4 = first.prefix.is_v4();
    for (const patu::Subnet& other : others)
      if (other.prefix.is_v4() != v4) from.complain(key, "a set has ranges of both families");
    if (std::exchange(v4 ? has_v4_ : has_v6_, true))
      from.complain(key,
                    "a second set of IPv" + std::string(v4 ? "4" : "6") + " ranges (" + first.prefix.to_string() +
                        ") is not supported: a pod has one address of each family",
                    Code::unsupported_field);
    out_.push_back(first);
    out_.insert(out_.end(), others.begin(), others.end());
  }

  // "ranges" or "ipRanges": [[{"subnet": …}, …], …].
  void add_all(Fields& from, std::string_view key) {
    const Json* sets = from.take(key);
    if (sets == nullptr) return;
    if (!sets->is_array()) return from.complain(key, "is no list");
    for (const Json& set : *sets) {
      if (!set.is_array() || set.empty()) {
        from.complain(key, "has a set that is no list of ranges");
        continue;
      }
      std::vector<patu::Subnet> ranges;
      for (const Json& element : set) {
        Fields range(&element, from.path_of(key) + "[]", from.reading());
        if (auto subnet = read_range(range)) ranges.push_back(*subnet);
        range.finish();
      }
      if (!ranges.empty()) add(from, key, ranges.front(), {ranges.begin() + 1, ranges.end()});
    }
  }

 private:
  std::vector<patu::Subnet>& out_;
  bool has_v4_ = false;
  bool has_v6_ = false;
};

void read_ranges(Fields& ipam, Fields& runtime, Ipam& out) {
  Sets sets(out.subnets);
  sets.add_all(runtime, "ipRanges");
  // The old way, with one range: host-local puts it in front of the others.
  if (ipam.take("subnet") != nullptr) {
    if (auto subnet = read_range(ipam)) sets.add(ipam, "subnet", *subnet);
  } else {
    for (const char* key : {"rangeStart", "rangeEnd", "gateway"})
      if (ipam.take(key) != nullptr) ipam.complain(key, "needs a subnet beside it");
  }
  sets.add_all(ipam, "ranges");
  if (out.subnets.empty()) ipam.complain("ranges", "no IP ranges are specified");
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find_first_of(" \t\r"), line.size());
    if (end != 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(line.size(), end + 1));
  }
  return words;
}

std::string read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) throw Failure(Code::io, patu::Error::from_errno(errno, "ipam.resolvConf: open " + path).to_string());
  std::string text(kMaxResolvConfBytes + 1, '\0');
  const ssize_t got = ::read(file.get(), text.data(), text.size());
  if (got < 0) throw Failure(Code::io, patu::Error::from_errno(errno, "ipam.resolvConf: read " + path).to_string());
  text.resize(static_cast<std::size_t>(got));
  if (text.size() > kMaxResolvConfBytes) throw Failure(Code::io, "ipam.resolvConf: " + path + " is longer than 64 KiB");
  return text;
}

}  // namespace

Ipam read_own_ipam(Fields& config, Fields& runtime) {
  Fields ipam = config.object("ipam");
  Ipam out{.kind = IpamKind::own, .type = ipam.text("type")};
  read_ranges(ipam, runtime, out);
  for (Fields& route : ipam.objects("routes")) {
    out.routes.push_back(read_route(route));
    route.finish();
  }
  const std::string data_dir = ipam.text("dataDir");
  if (out.type != "patu") out.data_dir = data_dir.empty() ? kDefaultDataDir : data_dir;
  out.resolv_conf = ipam.text("resolvConf");
  ipam.pass("name");  // host-local overwrites it with the network's
  ipam.finish();
  return out;
}

Ipam read_ipam(Fields& config, Fields& runtime) {
  Fields ipam = config.object("ipam");
  std::string type = ipam.text("type");
  const bool has_ranges = ipam.take("subnet") != nullptr || ipam.take("ranges") != nullptr;
  if (type == "host-local" || type == "patu" || (type.empty() && has_ranges)) return read_own_ipam(config, runtime);
  runtime.pass("ipRanges");  // another plugin's, or nobody's
  if (type.empty()) {
    ipam.finish();
    return {};
  }
  if (type.find('/') != std::string::npos || type == "." || type == "..") {
    ipam.complain("type", "'" + type + "' is no name of a plugin");
    return {};  // nobody was asked for an address
  }
  return {.kind = IpamKind::delegated, .type = std::move(type)};
}

Dns read_resolv_conf(const std::string& path) {
  const std::string text = read_file(path);
  Dns dns;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 2 || words.front().front() == '#' || words.front().front() == ';') continue;
    if (words[0] == "nameserver") dns.nameservers.push_back(words[1]);
    if (words[0] == "domain") dns.domain = words[1];
    if (words[0] == "search") dns.search.insert(dns.search.end(), words.begin() + 1, words.end());
    if (words[0] == "options") dns.options.insert(dns.options.end(), words.begin() + 1, words.end());
  }
  return dns;
}

}  // namespace cni
