// Prose on standard output, or JSON there and the prose nowhere.
#include "report.hpp"

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <fstream>

#include "process.hpp"

namespace quickstart {
namespace {

constexpr int kManyPods = 100;
constexpr int kDetachedSingly = 20;

using Clock = std::chrono::steady_clock;

double since(Clock::time_point before) {
  return std::chrono::duration<double, std::micro>(Clock::now() - before).count();
}

std::string join(const std::map<std::string, std::uint32_t>& counts) {
  std::string out;
  for (const auto& [name, count] : counts) out += (out.empty() ? "" : ", ") + name + " " + std::to_string(count);
  return out;
}

std::string json(const std::map<std::string, std::uint32_t>& counts) {
  std::string out;
  for (const auto& [name, count] : counts) out += (out.empty() ? "\"" : ",\"") + name + "\":" + std::to_string(count);
  return "{" + out + "}";
}

std::string json(const Times& times) {
  char text[64];
  std::snprintf(text, sizeof text, R"({"p50":%.2f,"p99":%.2f})", times.p50, times.p99);
  return text;
}

// Memory that only this process has: not the libraries' code that others share.
std::uint64_t private_kib() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::uint64_t sum = 0;
  for (std::string word; rollup >> word;) {
    std::uint64_t kib = 0;
    if ((word == "Private_Clean:" || word == "Private_Dirty:") && rollup >> kib) sum += kib;
  }
  return sum;
}

}  // namespace

void Report::say(const char* format, ...) {
  if (json_) return;
  va_list arguments;
  va_start(arguments, format);
  std::vprintf(format, arguments);
  va_end(arguments);
}

void Report::section(const char* title) { say("\n%s\n", title); }

void Report::expect(bool holds, const char* what) {
  if (holds) return;
  good_ = false;
  std::fprintf(stderr, "quickstart: %s\n", what);
}

void Report::loaded(const patu::Datapath& datapath) {
  const patu::DatapathStatus status = take(datapath.status());
  redirects_ = status.socket_redirect_loaded;
  section("1. Data path");
  say("   loaded into %s, attached to the cgroup with inode %llu\n", status.directory.c_str(),
      static_cast<unsigned long long>(status.cgroup_id));
  for (const patu::Feature& feature : status.features)
    say("   %-32s %-3s  %s\n", feature.name.c_str(), feature.available ? "yes" : "no", feature.detail.c_str());
}

void Report::attached(const Pods& pods) {
  section("2. Network patux with five pods");
  for (const Pod& pod : pods) {
    std::string addresses;
    for (const auto& address : pod.attachment.addresses) addresses += "  " + address.to_string();
    say("   %-8s %s %s\n", pod.name.c_str(), pod.attachment.host_ifname.c_str(), addresses.c_str());
  }
}

void Report::service(const patu::Service& service, const Answers& answers) {
  service_ = answers;
  section("3. A service");
  say("   %s", service.name.c_str());
  for (const auto& frontend : service.frontends) say("  %s", frontend.endpoint.to_string().c_str());
  say("\n   %u requests, %u answered: %s\n", answers.sent, answers.answered, join(answers.per_backend).c_str());
  expect(answers.sent == answers.answered, "a request to the service was not answered");
}

void Report::removal(const std::string& backend, const Answers& during, const Answers& after) {
  removal_ = {during.sent + after.sent, during.answered + after.answered, {}};
  section("4. A backend is taken out under load");
  say("   while it happened: %u requests, %u answered\n", during.sent, during.answered);
  say("   after it:          %u requests, %u answered: %s\n", after.sent, after.answered,
      join(after.per_backend).c_str());
  expect(removal_.sent == removal_.answered, "a request was lost while a backend was taken out");
  expect(after.per_backend.count(backend) == 0, "a backend that was taken out got a request");
}

void Report::round_trips(const RoundTrips& times) {
  round_trips_ = times;
  section("5. Round trips of 64 bytes over TCP between two pods, both on one CPU");
  const auto line = [&](const char* way, const Times& t) {
    say("   %-34s p50 %6.2f us   p99 %6.2f us   %.2f x\n", way, t.p50, t.p99, t.p50 / times.bridge.p50);
  };
  line("ordinary bridge", times.bridge);
  line("fast path (every pod)", times.fastpath);
  if (redirects_)
    line("socket redirection (if chosen)", times.redirect);
  else
    say("   %-34s this kernel cannot\n", "socket redirection");
}

void Report::attach_and_detach(patu::Network& network) {
  std::vector<patu::Netns> namespaces;
  std::vector<patu::AttachmentId> ids;
  std::vector<double> attach;
  std::vector<double> detach;
  for (int i = 0; i < kManyPods; ++i) {
    namespaces.push_back(take(patu::Netns::create()));
    ids.push_back(take(patu::AttachmentId::parse("many-" + std::to_string(i))));
    const auto before = Clock::now();
    take(network.attach({.id = ids.back(), .netns = &namespaces.back()}));
    attach.push_back(since(before));
  }
  for (int i = 0; i < kDetachedSingly; ++i) {
    const auto before = Clock::now();
    take(network.detach(ids[static_cast<std::size_t>(i)]));
    detach.push_back(since(before));
  }
  const auto before = Clock::now();
  take(network.detach(std::span(ids).subspan(kDetachedSingly)));
  batch_detach_us_ = since(before) / (kManyPods - kDetachedSingly);
  attach_ = summarise(attach);
  detach_ = summarise(detach);
  section("6. Attaching and detaching, IPv4 and IPv6");
  say("   attach %d pods                     p50 %6.0f us   p99 %6.0f us\n", kManyPods, attach_.p50, attach_.p99);
  say("   detach %d of them, one by one       p50 %6.0f us   p99 %6.0f us\n", kDetachedSingly, detach_.p50,
      detach_.p99);
  say("   detach the rest as a batch               %6.0f us a pod\n", batch_detach_us_);
}

void Report::resources(const patu::Datapath& datapath) {
  const patu::DatapathStatus status = take(datapath.status());
  std::uint64_t bytes = 0;
  for (const patu::MapStatus& map : status.maps) bytes += map.memory_bytes;
  for (const patu::MapStatus& map : status.maps) bpf_objects_.push_back("BPF map " + std::to_string(map.id));
  for (const patu::ProgramStatus& program : status.programs)
    bpf_objects_.push_back("BPF program " + std::to_string(program.id));
  private_kib_ = private_kib();
  maps_kib_ = bytes / 1024;
  section("7. What it takes");
  say("   this process, private memory %llu KiB; maps in the kernel %llu KiB\n",
      static_cast<unsigned long long>(private_kib_), static_cast<unsigned long long>(maps_kib_));
  say("   bpftool prog list shows:\n");
  if (json_) return;
  std::fflush(stdout);
  for (const patu::ProgramStatus& program : status.programs)
    if (std::system(("bpftool prog list id " + std::to_string(program.id) + " | sed 's/^/     /'").c_str()) != 0)
      say("     %u: name %s, %u instructions\n", program.id, program.name.c_str(), program.instructions);
}

void Report::leftovers(std::vector<std::string> names) {
  for (const std::string& name : still_there(bpf_objects_)) names.push_back(name);
  leftovers_ = names.size();
  section("8. Everything is removed");
  say("   left over: %zu\n", names.size());
  for (const std::string& name : names) std::fprintf(stderr, "quickstart: left over: %s\n", name.c_str());
  expect(names.empty(), "something is left over");
}

int Report::failed(const char* why) {
  std::fprintf(stderr, "quickstart: %s\n", why);
  return 1;
}

int Report::finish() {
  if (json_)
    std::printf(R"({"service":{"sent":%u,"answered":%u,"per_backend":%s},"removal":{"sent":%u,"answered":%u},)"
                R"("roundtrip_us":{"bridge":%s,"fastpath":%s,"redirect":%s},)"
                R"("attach_us":%s,"detach_us":%s,"batch_detach_us_per_pod":%.1f,)"
                R"("memory_kib":{"process_private":%llu,"maps":%llu},"leftovers":%zu})"
                "\n",
                service_.sent, service_.answered, json(service_.per_backend).c_str(), removal_.sent, removal_.answered,
                json(round_trips_.bridge).c_str(), json(round_trips_.fastpath).c_str(),
                redirects_ ? json(round_trips_.redirect).c_str() : "null", json(attach_).c_str(), json(detach_).c_str(),
                batch_detach_us_, static_cast<unsigned long long>(private_kib_),
                static_cast<unsigned long long>(maps_kib_), leftovers_);
  return good_ ? 0 : 1;
}

}  // namespace quickstart
