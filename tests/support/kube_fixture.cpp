// The program is run by a shell, as a person does.
#include "kube_fixture.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>

#include "sandbox.hpp"
#include "service_lab.hpp"

namespace patu::test {

using nlohmann::json;

Kube::Kube() {
  const char* path = std::getenv("PATU_KUBE");
  REQUIRE_MESSAGE(path != nullptr, "PATU_KUBE names no patu-kube");
  program_ = path;
}

Kube::~Kube() { (void)Datapath::unload(datapath_options(), UnloadMode::force); }

KubeRun Kube::run(const std::string& arguments, const std::string& before) const {
  const std::string options = " --instance test --bpffs " + bpffs_path() + " --cgroup " + cgroup_path() + " ";
  KubeRun run;
  run.out = output_of(before + program_ + options + arguments + " 2>/run/kube-errors; printf 'exit %d' $?");
  const std::size_t end = run.out.rfind("exit ");
  REQUIRE(end != std::string::npos);
  run.status = std::stoi(run.out.substr(end + 5));
  run.out.resize(end);
  run.err = output_of("cat /run/kube-errors");
  return run;
}

KubeRun Kube::apply(const std::string& list, const std::string& options) const {
  return run("apply --node n1 -f " + list + " " + options);
}

KubeRun Kube::apply_items(const std::vector<json>& items, const std::string& options) const {
  std::ofstream("/run/list.json") << json{{"apiVersion", "v1"}, {"kind", "List"}, {"items", items}};
  return apply("/run/list.json", options);
}

std::vector<Service> Kube::table() {
  auto datapath = Datapath::open(datapath_options());
  REQUIRE_MESSAGE(datapath, (datapath ? "" : datapath.error().to_string()));
  auto table = ServiceTable::open(*datapath);
  REQUIRE(table);
  auto services = table->list();
  REQUIRE_MESSAGE(services, (services ? "" : services.error().to_string()));
  return std::move(*services);
}

KubePods::KubePods() {
  CHECK(output_of("(ip route replace local 10.200.0.0/24 dev lo && ip -6 route replace local fd00:200::/64 dev lo && "
                  "ip address replace 10.199.0.1/32 dev lo) 2>&1")
            .empty());
  listener_ = UniqueFd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(80);
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  REQUIRE(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
  REQUIRE(::listen(listener_.get(), 64) == 0);
  thread_ = std::thread([this] { serve(); });
}

KubePods::~KubePods() {
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

void KubePods::serve() const {
  for (;;) {
    const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return;
    sockaddr_in6 self{};
    socklen_t size = sizeof self;
    ::getsockname(client.get(), reinterpret_cast<sockaddr*>(&self), &size);
    IpAddress::Bytes bytes{};
    std::memcpy(bytes.data(), &self.sin6_addr, bytes.size());
    const std::string text = IpAddress::from_bytes(bytes).to_string();
    (void)!::write(client.get(), text.data(), text.size());
  }
}

std::string reach(const std::string& to) {
  const Netns here = *Netns::current();
  Shared<std::array<char, 64>> answer;
  const int status = run_in(here, true, [&] {
    const Endpoint target = endpoint(to);
    const UniqueFd socket = new_socket(kind_for(target), SOCK_STREAM, 0);
    const int error = connect_socket(socket.get(), kind_for(target), target);
    if (error != 0) {
      std::snprintf(answer->data(), answer->size(), "%s", ::strerrorname_np(error));
      return true;
    }
    return ::read(socket.get(), answer->data(), answer->size() - 1) > 0;
  });
  return status == 0 ? answer->data() : "nothing";
}

std::string reached(const std::string& to) {
  std::set<std::string> pods;
  for (int i = 0; i < 60; ++i) pods.insert(reach(to));
  std::string text;
  for (const std::string& pod : pods) text += (text.empty() ? "" : " ") + pod;
  return text;
}

}  // namespace patu::test
