// The environment of a CNI call: what each command needs, and how what is wrong is named.
#include "cni_config.hpp"
#include "request.hpp"

using namespace patu;
using namespace patu::test;
using cni::Command;
using cni::Request;

namespace {

using Environment = std::vector<std::string>;

Environment full(const std::string& command, const Environment& more = {}) {
  Environment out = more;  // the first of a key counts
  for (const char* entry :
       {"CNI_CONTAINERID=web-1", "CNI_NETNS=/run/netns/web-1", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin"})
    out.emplace_back(entry);
  out.push_back("CNI_COMMAND=" + command);
  return out;
}

Refusal refused_environment(const Environment& environment) {
  return refusal_of([&] { return cni::parse_request(environment); });
}

}  // namespace

TEST_CASE("a full environment is taken apart, and handed on whole") {
  const Request request = cni::parse_request(full("ADD"));
  CHECK(request.command == Command::add);
  CHECK(request.id->to_string() == "web-1/eth0");
  CHECK(request.netns == "/run/netns/web-1");
  CHECK(request.path == "/opt/cni/bin");
  CHECK_FALSE(request.own_netns_allowed);
  CHECK(request.environment == full("ADD"));
  CHECK(cni::parse_request(full("ADD", {"CNI_NETNS_OVERRIDE=1"})).own_netns_allowed);
  CHECK(cni::parse_request(full("ADD", {"CNI_NETNS_OVERRIDE=TRUE"})).own_netns_allowed);
}

TEST_CASE("everything that a command needs and has not is named in one message, with code 4") {
  for (const char* command : {"ADD", "CHECK"}) {
    const Refusal all = refused_environment({"CNI_COMMAND=" + std::string(command)});
    CHECK(all.code == 4);
    CHECK(all.says("required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"));
  }
  CHECK(refused_environment({"CNI_COMMAND=DEL"}).says("[CNI_CONTAINERID,CNI_IFNAME] missing"));
  CHECK(refused_environment(full("ADD", {"CNI_NETNS="})).says("[CNI_NETNS] missing"));
  CHECK(cni::parse_request(full("DEL", {"CNI_NETNS="})).netns.empty());
  for (const char* command : {"GC", "STATUS", "VERSION"})
    CHECK_FALSE(cni::parse_request(Environment{"CNI_COMMAND=" + std::string(command)}).id);
}

TEST_CASE("a command that is not known, ids and names that cannot be, are refused with code 4") {
  CHECK(refused_environment(full("FOO")).text == "unknown CNI_COMMAND: FOO|");
  CHECK(refused_environment(full("FOO")).code == 4);
  CHECK(refused_environment(full("add")).code == 4);
  for (const char* container : {"-web", ".web", "we b", "web/1",
                                "w\xc3\xa9"
                                "b",
                                "../x"})
    CHECK_MESSAGE(refused_environment(full("ADD", {"CNI_CONTAINERID=" + std::string(container)})).code == 4, container);
  CHECK(refused_environment(full("ADD", {"CNI_CONTAINERID=" + std::string(129, 'a')})).says("longer than 128"));
  CHECK(cni::parse_request(full("ADD", {"CNI_CONTAINERID=" + std::string(128, 'a')})).id);
  for (const char* ifname : {".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters!"})
    CHECK_MESSAGE(refused_environment(full("ADD", {"CNI_IFNAME=" + std::string(ifname)})).says("CNI_IFNAME"), ifname);
}

TEST_CASE("CNI_ARGS asks for an address and a MAC, and what is not known is refused unless IgnoreUnknown says so") {
  const auto arguments = [](const std::string& text) {
    return cni::parse_request(full("ADD", {"CNI_ARGS=" + text})).arguments;
  };
  const auto refusal = [](const std::string& text) { return refused_environment(full("ADD", {"CNI_ARGS=" + text})); };
  CHECK(arguments("IP=10.200.0.7").ip->to_string() == "10.200.0.7");
  CHECK(arguments("IP=10.200.0.7/24").ip->to_string() == "10.200.0.7");  // host-local takes it, with or without
  CHECK(arguments("MAC=02:00:00:00:00:01;IP=fd00::7").mac->to_string() == "02:00:00:00:00:01");
  CHECK_FALSE(arguments("").ip);
  // Reference: MAC without IgnoreUnknown fails there, as host-local does not know it.
  CHECK(refusal("FOO=bar;IP=10.200.0.7;BAR=1").says("CNI_ARGS: unknown args [FOO=bar BAR=1]"));
  CHECK(arguments("FOO=bar;IgnoreUnknown=1;IP=10.200.0.7").ip);
  CHECK(arguments("IgnoreUnknown=True;FOO=bar").ip == std::nullopt);
  CHECK(refusal("IgnoreUnknown=0;FOO=bar").code == 4);
  CHECK(refusal("IgnoreUnknown=yes").says("neither true nor false"));
  // What Kubernetes' runtimes add.
  CHECK_FALSE(arguments("K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=1;K8S_POD_UID=2").ip);
  for (const char* wrong : {"IP", "IP=1=2", "IP=10.200.0", ";", "IP=10.200.0.7/", "IP=10.200.0.7/33",
                            "IP=10.200.0.7/2x", "IP=10.200.0.7/-1", "MAC=02:00", "=x"})
    CHECK_MESSAGE(refusal(wrong).code == 4, wrong);
  CHECK(refusal("MAC=zz").says("'MAC=zz'"));
}

TEST_CASE("a DEL does not care for CNI_ARGS") {
  CHECK_FALSE(cni::parse_request(full("DEL", {"CNI_ARGS=nonsense"})).arguments.ip);
}
