// Options may stand before and after the command; every option knows which commands it is for.
#include "arguments.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <string_view>
#include <utility>

namespace kube {
namespace {

constexpr std::array<std::pair<std::string_view, Command>, 4> kCommands = {
    {{"apply", Command::apply}, {"list", Command::list}, {"explain", Command::explain}, {"delete", Command::remove}}};

std::uint32_t number_of(const std::string& option, const std::string& text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number == 0)
    throw Misuse(option + " '" + text + "' is not a number above 0");
  return number;
}

class Parser final {
 public:
  explicit Parser(std::span<const char* const> words) : words_(words.begin(), words.end()) {}

  Arguments run();

 private:
  void option(std::string word);
  bool option_of_all(const std::string& name);
  bool option_of_command(const std::string& name);
  std::string value_of(const std::string& name);
  void check();
  void check_target();
  void wants(bool holds, const std::string& what) const {
    if (!holds) throw Misuse(what);
  }

  std::deque<std::string> words_;
  std::vector<std::string> rest_;
  std::optional<std::string> attached_;  // the value in --name=value
  std::optional<Command> command_;
  bool help_ = false;
  Arguments out_;
};

Arguments Parser::run() {
  bool options_end = false;
  while (!words_.empty()) {
    std::string word = std::move(words_.front());
    words_.pop_front();
    if (!options_end && word == "--") {
      options_end = true;
    } else if (!options_end && word.size() > 1 && word.front() == '-') {
      option(std::move(word));
    } else if (!command_) {
      const auto has_name = [&](const auto& command) { return command.first == word; };
      const auto* found = std::find_if(kCommands.begin(), kCommands.end(), has_name);
      wants(found != kCommands.end(), "there is no command '" + word + "'");
      command_ = found->second;
    } else {
      rest_.push_back(std::move(word));
    }
  }
  if (help_) return {};
  wants(command_.has_value(), "no command is given");
  out_.command = *command_;
  check();
  return std::move(out_);
}

void Parser::option(std::string word) {
  const std::size_t equals = word.find('=');
  attached_.reset();
  if (word.rfind("--", 0) == 0 && equals != std::string::npos) {
    attached_ = word.substr(equals + 1);
    word.resize(equals);
  }
  wants(option_of_all(word) || option_of_command(word), "there is no option " + word + " here");
  wants(!attached_, word + " has no value");
}

bool Parser::option_of_all(const std::string& name) {
  if (name == "--help" || name == "-h")
    help_ = true;
  else if (name == "--instance")
    out_.datapath.instance = value_of(name);
  else if (name == "--bpffs")
    out_.datapath.bpffs = value_of(name);
  else if (name == "--cgroup")
    out_.datapath.cgroup = value_of(name);
  else if (name == "--max-services")
    out_.datapath.max_services = number_of(name, value_of(name));
  else if (name == "-o" || name == "--output")
    wants(value_of(name) == "json", name + " is json, or left out");
  else
    return false;
  out_.json |= name == "-o" || name == "--output";
  return true;
}

bool Parser::option_of_command(const std::string& name) {
  const bool applies = command_ == Command::apply;
  const bool removes = command_ == Command::remove;
  if (applies && (name == "-f" || name == "--filename"))
    out_.file = value_of(name);
  else if (applies && name == "--node")
    out_.node = value_of(name);
  else if (applies && name == "--allow-empty")
    out_.allow_empty = true;
  else if (applies && name == "--loopback")
    out_.node_ports_on_loopback = true;
  else if (applies && name == "--reserve")
    out_.reserve_node_ports = true;
  else if ((applies || removes) && name == "--dry-run")
    out_.dry_run = true;
  else if (removes && name == "--all")
    out_.all = true;
  else if (command_ == Command::explain && name == "--netns")
    out_.netns = value_of(name);
  else
    return false;
  return true;
}

std::string Parser::value_of(const std::string& name) {
  if (attached_) return *std::exchange(attached_, std::nullopt);
  wants(!words_.empty(), name + " needs a value");
  std::string value = std::move(words_.front());
  words_.pop_front();
  return value;
}

void Parser::check() {
  switch (out_.command) {
    case Command::apply:
      wants(!out_.file.empty(), "apply needs -f FILE, or -f - for standard input");
      return wants(rest_.empty(), "apply takes one file, by -f");
    case Command::explain: return check_target();
    case Command::remove: wants(out_.all == rest_.empty(), "delete needs names, or --all"); [[fallthrough]];
    case Command::list:
      for (const std::string& name : rest_) wants(!name.empty(), "a name is empty");
      out_.names = std::move(rest_);
      return;
    case Command::help: return;
  }
}

// ADDRESS PORT [PROTOCOL] or ADDRESS:PORT[/PROTOCOL].
void Parser::check_target() {
  std::string protocol = "tcp";
  std::string endpoint = rest_.empty() ? std::string{} : rest_.front();
  if (rest_.size() == 1) {
    const std::size_t slash = endpoint.find('/');
    if (slash != std::string::npos) protocol = endpoint.substr(slash + 1);
    endpoint.resize(std::min(slash, endpoint.size()));
  } else {
    wants(rest_.size() == 2 || rest_.size() == 3, "explain needs ADDRESS PORT [PROTOCOL] or ADDRESS:PORT[/PROTOCOL]");
    const auto address = patu::IpAddress::parse(endpoint);
    wants(address.has_value(), "'" + endpoint + "' is not an IP address");
    endpoint = (address->is_v4() ? address->to_string() : "[" + address->to_string() + "]") + ":" + rest_[1];
    if (rest_.size() == 3) protocol = rest_[2];
  }
  const auto to = patu::Endpoint::parse(endpoint);
  wants(to.has_value(), "'" + endpoint + "' is not an address and a port");
  for (char& c : protocol) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  wants(protocol == "tcp" || protocol == "udp", "the protocol is TCP or UDP, not '" + protocol + "'");
  out_.to = *to;
  out_.protocol = protocol == "tcp" ? patu::Protocol::tcp : patu::Protocol::udp;
}

}  // namespace

Arguments parse_arguments(std::span<const char* const> words) { return Parser(words).run(); }

}  // namespace kube
