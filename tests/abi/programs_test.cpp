// Programs in C that use the installed interface alone: the documentation's, and a small one whose memory is measured.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "sandbox.hpp"

namespace patu::test {
namespace {

std::string places() { return " " + bpffs_path() + " " + cgroup_path(); }

TEST_CASE("a C program that opens everything stays within its limit of memory") {
  std::fflush(stdout);
  CHECK(std::system((PATU_MEMORY_PROGRAM + places() + " " PATU_MEMORY_LIMIT).c_str()) == 0);
}

// connect(2) to the service has to come from the cgroup that it is for.
TEST_CASE("the documentation's program prints what the documentation says") {
  const std::string wanted = output_of(PATU_README_OUTPUT);
  CHECK(!wanted.empty());
  const std::string in_cgroup = "sh -c 'echo $$ >" + cgroup_path() + "/cgroup.procs && exec " PATU_README_PROGRAM;
  CHECK(output_of(in_cgroup + places() + "' 2>&1") == wanted);
}

}  // namespace
}  // namespace patu::test
