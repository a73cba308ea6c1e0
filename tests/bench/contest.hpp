// Several ways to do the same, timed in turns on one CPU: what disturbs the machine disturbs all of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "patu/netns.hpp"

namespace patu::test {

using Clock = std::chrono::steady_clock;

struct Sample {
  std::uint32_t call_ns = 0;   // the system call in question
  std::uint32_t whole_ns = 0;  // with making the socket before and closing it after
};

struct Contender {
  std::string name;
  const Netns* netns;
  bool in_cgroup;
  // Called once in a process of its own, in the namespace (and the cgroup); what it returns is called for each sample.
  std::function<std::function<Sample()>()> prepare;
  std::size_t base = 0;  // number of the contender that it is compared with
};

struct Score {
  double p50_us = 0;
  double p99_us = 0;
  double ratio = 0;  // median over rounds: the round's median by that of the contender that it is compared with
};

struct Scores {
  Score call;
  Score whole;
};

inline constexpr unsigned kMaxContenders = 12;

// Each contender takes `per_round` samples in each round.
std::vector<Scores> compete(const std::vector<Contender>& contenders, unsigned rounds, unsigned per_round = 100);
void print_scores(std::string_view title, const std::vector<Contender>& contenders, const std::vector<Scores>& results);

[[noreturn]] void give_up(const std::string& what);
template <class R>
void must(const R& result) {
  if (!result) give_up(result.error().to_string());
}
template <class R>
auto take(R&& result) {
  if (!result) give_up(result.error().to_string());
  return std::move(*result);
}

double ms_since(Clock::time_point begin);
double median(std::vector<double> values);
// The value of `--name=value` in the arguments, or `otherwise`; `--name` alone is 1.
std::uint64_t option(int argc, char** argv, std::string_view name, std::uint64_t otherwise);

}  // namespace patu::test
