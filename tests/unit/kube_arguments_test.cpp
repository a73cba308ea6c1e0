// patu-kube's command line: what each spelling means, and what is refused.
#include <doctest/doctest.h>

#include "arguments.hpp"

using namespace patu;
using kube::Arguments;
using kube::Command;

namespace {

Arguments parse(std::vector<const char*> words) { return kube::parse_arguments(words); }

std::string misuse(std::vector<const char*> words) {
  try {
    (void)kube::parse_arguments(words);
  } catch (const kube::Misuse& why) {
    return why.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("options of the instance stand before the command or after it, with a space or =") {
  for (const auto& words : {std::vector<const char*>{"--instance", "edge", "--bpffs=/bpf", "--cgroup", "/cg", "list"},
                            std::vector<const char*>{"list", "--instance=edge", "--bpffs", "/bpf", "--cgroup=/cg"}}) {
    const Arguments arguments = parse(words);
    CHECK(arguments.command == Command::list);
    CHECK(arguments.datapath.instance == "edge");
    CHECK(arguments.datapath.bpffs == "/bpf");
    CHECK(arguments.datapath.cgroup == "/cg");
  }
}

TEST_CASE("apply takes a file or standard input, and its own options") {
  const Arguments arguments =
      parse({"apply", "-f", "-", "--node=n1", "--dry-run", "--allow-empty", "--loopback", "--reserve", "-o", "json"});
  CHECK(arguments.command == Command::apply);
  CHECK(arguments.file == "-");
  CHECK(arguments.node == "n1");
  CHECK(arguments.dry_run);
  CHECK(arguments.allow_empty);
  CHECK(arguments.node_ports_on_loopback);
  CHECK(arguments.reserve_node_ports);
  CHECK(arguments.json);
  const Arguments plain = parse({"apply", "--filename", "list.json"});
  CHECK(plain.file == "list.json");
  CHECK_FALSE(plain.dry_run);
  CHECK_FALSE(plain.json);
}

TEST_CASE("explain takes an address and a port in two words or one, and a protocol in any case") {
  const Endpoint v4 = *Endpoint::parse("10.96.0.10:53");
  const Endpoint v6 = *Endpoint::parse("[fd00:96::10]:53");
  CHECK(parse({"explain", "10.96.0.10", "53"}).to == v4);
  CHECK(parse({"explain", "10.96.0.10", "53"}).protocol == Protocol::tcp);
  CHECK(parse({"explain", "10.96.0.10", "53", "UDP"}).protocol == Protocol::udp);
  CHECK(parse({"explain", "10.96.0.10:53"}).to == v4);
  CHECK(parse({"explain", "10.96.0.10:53/udp"}).protocol == Protocol::udp);
  CHECK(parse({"explain", "fd00:96::10", "53"}).to == v6);
  CHECK(parse({"explain", "[fd00:96::10]:53/Tcp", "--netns", "/proc/1/ns/net"}).to == v6);
}

TEST_CASE("explain refuses what is no address, port or protocol") {
  CHECK(misuse({"explain"}).find("explain needs") == 0);
  CHECK(misuse({"explain", "10.96.0.10"}) == "'10.96.0.10' is not an address and a port");
  CHECK(misuse({"explain", "10.96.0.256", "80"}) == "'10.96.0.256' is not an IP address");
  CHECK(misuse({"explain", "10.96.0.10", "65536"}) == "'10.96.0.10:65536' is not an address and a port");
  CHECK(misuse({"explain", "10.96.0.10", "80", "sctp"}) == "the protocol is TCP or UDP, not 'sctp'");
  CHECK(misuse({"explain", "10.96.0.10", "80", "tcp", "more"}).find("explain needs") == 0);
}

TEST_CASE("delete wants names or --all, not both and not neither") {
  CHECK(parse({"delete", "default/web", "default/dns:dns"}).names.size() == 2);
  CHECK(parse({"delete", "--all"}).all);
  CHECK(misuse({"delete"}) == "delete needs names, or --all");
  CHECK(misuse({"delete", "--all", "default/web"}) == "delete needs names, or --all");
  CHECK(misuse({"delete", ""}) == "a name is empty");
}

TEST_CASE("what is unknown, missing or out of place is named") {
  CHECK(misuse({}) == "no command is given");
  CHECK(misuse({"get"}) == "there is no command 'get'");
  CHECK(misuse({"list", "--dry-run"}) == "there is no option --dry-run here");
  CHECK(misuse({"--dry-run", "apply", "-f", "x"}) == "there is no option --dry-run here");
  CHECK(misuse({"apply"}) == "apply needs -f FILE, or -f - for standard input");
  CHECK(misuse({"apply", "-f"}) == "-f needs a value");
  CHECK(misuse({"apply", "-f", "a", "b"}) == "apply takes one file, by -f");
  CHECK(misuse({"apply", "-f", "a", "--dry-run=yes"}) == "--dry-run has no value");
  CHECK(misuse({"list", "-o", "yaml"}) == "-o is json, or left out");
  CHECK(misuse({"list", "--max-services", "0"}) == "--max-services '0' is not a number above 0");
  CHECK(misuse({"list", "--max-services", "1x"}) == "--max-services '1x' is not a number above 0");
}

TEST_CASE("--help is there everywhere, and names every option") {
  CHECK(parse({"--help"}).command == Command::help);
  CHECK(parse({"apply", "--help"}).command == Command::help);
  const std::string help = kube::help_text();
  for (const char* word :
       {"--instance", "--bpffs", "--cgroup", "--max-services", "-o json", "--node", "--dry-run", "--allow-empty",
        "--loopback", "--reserve", "--netns", "--all", "apply", "list", "explain", "delete", "exit status"})
    CHECK_MESSAGE(help.find(word) != std::string::npos, word);
}
