// What the quick start asks and times: requests to the service, and round trips the three ways.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <sstream>

#include "process.hpp"
#include "stage.hpp"

namespace quickstart {
namespace {

constexpr int kRounds = 40;
constexpr int kTripsPerRound = 250;
constexpr int kWarmUp = 500;
constexpr std::uint32_t kBeforeRemoval = 100;

std::string write_answers(const Answers& answers) {
  std::ostringstream out;
  out << answers.sent << ' ' << answers.answered;
  for (const auto& [name, count] : answers.per_backend) out << ' ' << name << ' ' << count;
  return out.str();
}

Answers read_answers(const std::string& text) {
  Answers out;
  std::istringstream in(text);
  in >> out.sent >> out.answered;
  std::string name;
  for (std::uint32_t count = 0; in >> name >> count;) out.per_backend[name] = count;
  return out;
}

void ask_once(const std::vector<patu::Frontend>& frontends, Answers& answers) {
  const std::string name = http_get(frontends[answers.sent % frontends.size()].endpoint);
  ++answers.sent;
  if (name.empty()) return;
  ++answers.answered;
  ++answers.per_backend[name];
}

std::string write_times(const Times& times) {
  std::ostringstream out;
  out << times.p50 << ' ' << times.p99 << ' ';
  return out.str();
}

}  // namespace

Answers Stage::fetch(const Pod& pod, const std::vector<patu::Frontend>& frontends, std::uint32_t times) {
  return read_answers(call(pod.netns, cgroup_, [&] {
    Answers answers;
    while (answers.sent < times) ask_once(frontends, answers);
    return write_answers(answers);
  }));
}

Asking Stage::ask(const Pod& pod, const std::vector<patu::Frontend>& frontends) {
  std::array<int, 2> stop{};
  std::array<int, 2> result{};
  if (::pipe2(stop.data(), O_CLOEXEC) != 0 || ::pipe2(result.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  const pid_t pid = start_ready(pod.netns, cgroup_, [&](const Ready& ready) {
    ::close(stop[1]);
    ::close(result[0]);
    Answers answers;
    while (answers.sent < kBeforeRemoval) ask_once(frontends, answers);
    ready();
    // The writing end closes when the parent has had enough.
    pid_t parent = ::getppid();
    while (::getppid() == parent) {
      timeval now{};
      fd_set readable;
      FD_ZERO(&readable);
      FD_SET(stop[0], &readable);
      if (::select(stop[0] + 1, &readable, nullptr, nullptr, &now) > 0) break;
      ask_once(frontends, answers);
    }
    const std::string out = write_answers(answers);
    if (::write(result[1], out.data(), out.size()) < 0) throw std::runtime_error("write");
  });
  ::close(stop[0]);
  ::close(result[1]);
  return Asking(pid, stop[1], result[0]);
}

Answers Asking::stop() {
  ::close(stop_fd_);
  std::string text;
  std::array<char, 1024> buffer;
  for (ssize_t n; (n = ::read(answers_fd_, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  ::close(answers_fd_);
  ::waitpid(pid_, nullptr, 0);
  return read_answers(text);
}

RoundTrips Stage::round_trips(const Pod& client, const Pod& server, std::uint16_t fastpath_port,
                              std::uint16_t redirect_port) {
  constexpr std::uint16_t kPort = 7;
  const patu::Netns node = take(patu::Netns::create());
  const patu::Netns one = take(patu::Netns::create());
  const patu::Netns other = take(patu::Netns::create());
  make_ordinary_bridge(node, one, other);
  const pid_t echo = start_ready(other, "", [&](const Ready& ready) { serve_echo(kPort, ready); });
  const patu::IpAddress address = server.attachment.addresses.front().address;
  const std::string text = call(client.netns, cgroup_, [&] {
    pin_to_one_cpu();
    EchoClient fastpath({address, fastpath_port});
    EchoClient redirect({address, redirect_port});
    if (::setns(one.fd(), CLONE_NEWNET) != 0) throw std::runtime_error("enter network namespace");
    EchoClient bridge({patu::IpAddress::v4(10, 201, 0, 2), kPort});
    std::array<std::vector<double>, 3> times;
    std::array<EchoClient*, 3> clients{&bridge, &fastpath, &redirect};
    for (std::size_t way = 0; way < clients.size(); ++way)
      clients[way]->measure(kWarmUp, times[way]), times[way].clear();
    for (int round = 0; round < kRounds; ++round)
      for (std::size_t way = 0; way < clients.size(); ++way) clients[way]->measure(kTripsPerRound, times[way]);
    return write_times(summarise(times[0])) + write_times(summarise(times[1])) + write_times(summarise(times[2]));
  });
  ::kill(echo, SIGKILL);
  ::waitpid(echo, nullptr, 0);
  RoundTrips out;
  std::istringstream(text) >> out.bridge.p50 >> out.bridge.p99 >> out.fastpath.p50 >> out.fastpath.p99 >>
      out.redirect.p50 >> out.redirect.p99;
  return out;
}

}  // namespace quickstart
