// Every code of the library's has one of CNI's, and no error loses its text on the way.
#include <algorithm>

#include "cni_config.hpp"

using namespace patu;
using namespace patu::test;

TEST_CASE("each code of the library becomes the one that tells a runtime what to do") {
  const struct {
    Errc from;
    unsigned to;
  } table[] = {{Errc::invalid_argument, 7},
               {Errc::not_found, 5},
               {Errc::already_exists, 103},
               {Errc::permission_denied, 106},
               {Errc::unsupported, 104},
               {Errc::exhausted, 100},
               {Errc::busy, 11},
               {Errc::timed_out, 11},
               {Errc::protocol, 5},
               {Errc::io, 5},
               {Errc::out_of_memory, 11},
               {Errc::version_mismatch, 104},
               {Errc::internal, 999}};
  for (int code = -1; to_string(static_cast<Errc>(code)) != "unknown"; --code)
    CHECK_MESSAGE(std::any_of(std::begin(table), std::end(table),
                              [&](const auto& one) { return static_cast<int>(one.from) == code; }),
                  to_string(static_cast<Errc>(code)));
  for (const auto& one : table) {
    const cni::Failure failure(Error(one.from, "the step"), "the object");
    CHECK_MESSAGE(static_cast<unsigned>(failure.code()) == one.to, to_string(one.from));
    CHECK(failure.message().rfind("the object: the step", 0) == 0);
  }
}

TEST_CASE("expect gives the value, or throws what the error says") {
  CHECK(cni::expect(Result<int>(5)) == 5);
  const Refusal refusal = refusal_of([] {
    cni::expect(Result<>(tl::make_unexpected(Error::from_errno(Errc::timed_out, EAGAIN, "lock"))), "attach");
    return 0;
  });
  CHECK(refusal.code == 11);
  CHECK(refusal.says("attach: lock: Resource temporarily unavailable (EAGAIN)"));
}
