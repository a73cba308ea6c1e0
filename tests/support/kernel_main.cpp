// Entry of every kernel test program: a network of its own first, then the tests.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "sandbox.hpp"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  if (const int refused = patu::test::enter_sandbox(); refused != 0) return refused;
  const int result = context.run();
  return patu::test::leave_sandbox() ? result : 1;
}
