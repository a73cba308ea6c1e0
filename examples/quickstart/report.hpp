// What the quick start says: prose for people, or one JSON object.
#pragma once

#include <string>
#include <vector>

#include "stage.hpp"

namespace quickstart {

class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void loaded(const patu::Datapath& datapath);
  void attached(const Pods& pods);
  void service(const patu::Service& service, const Answers& answers);
  void removal(const std::string& backend, const Answers& during, const Answers& after);
  void round_trips(const RoundTrips& times);
  // Attaches and detaches many more pods, one by one and as a batch, and times it.
  void attach_and_detach(patu::Network& network);
  void resources(const patu::Datapath& datapath);
  void leftovers(std::vector<std::string> names);

  int failed(const char* why);
  // Prints the object if JSON was asked for; returns the exit status.
  int finish();

 private:
  [[gnu::format(printf, 2, 3)]] void say(const char* format, ...);
  void section(const char* title);
  void expect(bool holds, const char* what);

  bool json_;
  bool good_ = true;
  bool redirects_ = false;
  std::vector<std::string> bpf_objects_;
  Answers service_;
  Answers removal_;
  RoundTrips round_trips_;
  Times attach_;
  Times detach_;
  double batch_detach_us_ = 0;
  std::uint64_t private_kib_ = 0;
  std::uint64_t maps_kib_ = 0;
  std::size_t leftovers_ = 0;
};

}  // namespace quickstart
