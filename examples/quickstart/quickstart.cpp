// The main job: a node with five pods, a service, socket redirection, and nothing left at the end.
#include <patu/patu.hpp>

#include "report.hpp"
#include "stage.hpp"

using namespace patu;
using namespace quickstart;

namespace {

constexpr std::uint16_t kHttp = 80;
constexpr std::uint16_t kEcho = 7;          // redirected, because both pods chose it
constexpr std::uint16_t kEchoPlain = 7007;  // excluded below: the same pods over the fast path

void run(Stage& stage, Report& report) {
  // Programs and maps: loaded once, shared by all processes that open the same instance, and there when they end.
  DatapathOptions options{
      .instance = "quickstart", .bpffs = stage.bpffs(), .cgroup = stage.cgroup(), .socket_redirect = true};
  auto opened = Datapath::open(options);
  if (!opened && opened.error().code() == Errc::unsupported) {  // this kernel cannot redirect sockets
    options.socket_redirect = false;
    opened = Datapath::open(options);
  }
  Datapath datapath = take(std::move(opened));
  report.loaded(datapath);

  // A bridge with its addresses, in a namespace that plays the node; without `netns` it would be the caller's own.
  Network network =
      take(Network::open(datapath, {.bridge = *IfName::parse("patux"),
                                    .subnets = {{*Prefix::parse("10.200.0.0/24")}, {*Prefix::parse("fd00:200::/64")}},
                                    .socket_redirect = options.socket_redirect,
                                    .redirect_excluded_ports = {kEchoPlain},
                                    .netns = &stage.node()}));

  // A pod is a namespace; attached, it has an interface with addresses and routes that can be used at once.
  Pods pods;
  for (const char* name : {"web-1", "web-2", "web-3", "client", "shell"}) {
    Netns netns = take(Netns::create());
    Attachment attachment = take(network.attach({.id = *AttachmentId::parse(name), .netns = &netns}));
    pods.push_back({name, std::move(netns), std::move(attachment)});
  }
  report.attached(pods);
  for (const char* name : {"web-1", "web-2", "web-3"}) stage.serve(pods[name], kHttp, {kEcho, kEchoPlain});

  // A service: from now on connect(2) to one of its addresses goes to one of its backends.
  ServiceTable services = take(ServiceTable::open(datapath));
  Service web{.name = "default/web",
              .frontends = {{*Endpoint::parse("10.96.0.10:80")}, {*Endpoint::parse("[fd00:96::10]:80")}},
              .backends = pods.backends({"web-1", "web-2", "web-3"}, kHttp)};
  take(services.upsert(web));
  report.service(web, stage.fetch(pods["client"], web.frontends, 300));

  // A backend is taken out while the client asks as fast as it can.
  Asking asking = stage.ask(pods["client"], web.frontends);
  web.backends = pods.backends({"web-1", "web-2"}, kHttp);
  take(services.upsert(web));
  const Answers after = stage.fetch(pods["shell"], web.frontends, 300);
  report.removal("web-3", asking.stop(), after);

  report.round_trips(stage.round_trips(pods["client"], pods["web-1"], kEchoPlain, kEcho));
  report.attach_and_detach(network);
  report.resources(datapath);
  stage.keep(pods, options);

  // And away with everything.
  stage.end_servers();
  take(network.detach(pods.ids()));
  take(network.remove());
  take(services.remove(web.name));
  take(Datapath::unload(options));
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = Arguments::parse(argc, argv);
  Report report(arguments.json);
  try {
    Stage stage(arguments);
    run(stage, report);
    report.leftovers(stage.leftovers());
  } catch (const std::exception& error) {
    return report.failed(error.what());
  }
  return report.finish();
}
