// Each contender is a process that serves a round for each byte it reads.
#include "contest.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "service_lab.hpp"

namespace patu::test {
namespace {

constexpr unsigned kMaxSamples = 40'000;
constexpr unsigned kSeconds = 3600;

struct Samples {
  std::array<std::array<Sample, kMaxSamples>, kMaxContenders> of;
};

struct Turn {
  std::array<int, 2> go{};
  std::array<int, 2> done{};
  pid_t pid = -1;
};

void stay_on_one_cpu() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  (void)::sched_setaffinity(0, sizeof one, &one);
}

pid_t start(const Contender& contender, const Turn& turn, Sample* samples, unsigned per_round) {
  return start_in(
      *contender.netns, contender.in_cgroup,
      [&contender, &turn, samples, per_round] {
        stay_on_one_cpu();
        ::close(turn.go[1]);
        const auto once = contender.prepare();
        Sample* at = samples;
        char byte = 0;
        while (::read(turn.go[0], &byte, 1) == 1 && byte != 0) {
          for (unsigned i = 0; i < per_round; ++i) *at++ = once();
          if (::write(turn.done[1], &byte, 1) != 1) return false;
        }
        return true;
      },
      kSeconds);
}

using Part = std::uint32_t Sample::*;

double percentile_us(const Sample* samples, std::size_t count, Part part, double share) {
  std::vector<std::uint32_t> ns(count);
  for (std::size_t i = 0; i < count; ++i) ns[i] = samples[i].*part;
  const auto at = ns.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(count - 1));
  std::nth_element(ns.begin(), at, ns.end());
  return *at / 1000.0;
}

Score score(const Sample* samples, const Sample* base, unsigned rounds, unsigned per_round, Part part) {
  std::vector<double> ratios;
  for (unsigned round = 0; round < rounds; ++round)
    ratios.push_back(percentile_us(samples + round * per_round, per_round, part, 0.5) /
                     percentile_us(base + round * per_round, per_round, part, 0.5));
  const std::size_t count = std::size_t{rounds} * per_round;
  return {percentile_us(samples, count, part, 0.5), percentile_us(samples, count, part, 0.99), median(ratios)};
}

// In another order each time: whoever comes after another finds the processor's caches as that one left them.
void hold_rounds(const std::vector<Turn>& turns, unsigned rounds) {
  std::vector<const Turn*> order;
  for (const Turn& turn : turns) order.push_back(&turn);
  std::minstd_rand random(1);
  for (unsigned round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const Turn* turn : order) {
      char byte = 1;
      if (::write(turn->go[1], &byte, 1) != 1 || ::read(turn->done[0], &byte, 1) != 1) give_up("a contender failed");
    }
  }
}

}  // namespace

std::vector<Scores> compete(const std::vector<Contender>& contenders, unsigned rounds, unsigned per_round) {
  if (contenders.size() > kMaxContenders || rounds * per_round > kMaxSamples) give_up("too many samples");
  const Shared<Samples> samples;
  std::vector<Turn> turns(contenders.size());
  for (std::size_t i = 0; i < turns.size(); ++i) {
    if (::pipe(turns[i].go.data()) != 0 || ::pipe(turns[i].done.data()) != 0) give_up("pipe");
    turns[i].pid = start(contenders[i], turns[i], samples->of[i].data(), per_round);
    ::close(turns[i].done[1]);
  }
  hold_rounds(turns, rounds);
  std::vector<Scores> scores;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const char end = 0;
    (void)!::write(turns[i].go[1], &end, 1);
    if (wait_for(turns[i].pid) != 0) give_up(contenders[i].name + " failed");
    for (const int fd : {turns[i].go[0], turns[i].go[1], turns[i].done[0]}) ::close(fd);
    const Sample* own = samples->of[i].data();
    const Sample* base = samples->of[contenders[i].base].data();
    scores.push_back({score(own, base, rounds, per_round, &Sample::call_ns),
                      score(own, base, rounds, per_round, &Sample::whole_ns)});
  }
  return scores;
}

void print_scores(std::string_view title, const std::vector<Contender>& contenders, const std::vector<Scores>& scores) {
  std::printf("%.*s\n  %-34s %9s %9s %7s   %s\n", static_cast<int>(title.size()), title.data(), "", "p50 us", "p99 us",
              "ratio", "socket to close: p50 us, ratio");
  for (std::size_t i = 0; i < scores.size(); ++i)
    std::printf("  %-34s %9.2f %9.2f %7.3f   %9.2f %7.3f\n", contenders[i].name.c_str(), scores[i].call.p50_us,
                scores[i].call.p99_us, scores[i].call.ratio, scores[i].whole.p50_us, scores[i].whole.ratio);
  std::fflush(stdout);
}

void give_up(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 != 0 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::uint64_t option(int argc, char** argv, std::string_view name, std::uint64_t otherwise) {
  const std::string wanted = std::string("--").append(name);
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (argument == wanted) return 1;
    if (!argument.starts_with(wanted + '=')) continue;
    std::uint64_t value = 0;
    const std::string_view digits = argument.substr(wanted.size() + 1);
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc{}) return value;
    give_up("a number is wanted: " + std::string(argument));
  }
  return otherwise;
}

}  // namespace patu::test
