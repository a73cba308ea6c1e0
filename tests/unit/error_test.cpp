// Errors: what they hold, how they read, and that they survive when there is no memory left.
#include "patu/error.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <map>
#include <new>
#include <set>
#include <type_traits>

#include "base/try.hpp"

using patu::Errc;
using patu::Error;

namespace {

// The allocations of this program that still succeed; negative: all of them.
thread_local int allocations_left = -1;
thread_local bool allocation_failed = false;

// Runs `work` with the allocation number `n` (from 0) and all later ones failing; says whether one did fail.
template <class Work>
bool starve(int n, const Work& work) {
  allocation_failed = false;
  allocations_left = n;
  work();
  allocations_left = -1;
  return allocation_failed;
}

// Calls `attempt(n)` until it says that no allocation failed; returns how many calls met a failure.
template <class Attempt>
int starve_step_by_step(const Attempt& attempt) {
  constexpr int kBound = 32;
  for (int n = 0; n < kBound; ++n)
    if (!attempt(n)) return n;
  return kBound;
}

const std::string kLong(200, 'x');  // too long for a string without memory of its own
const std::string kFront(300, 'y');

constexpr std::array kAllCodes = {
    Errc::invalid_argument, Errc::not_found, Errc::already_exists, Errc::permission_denied,
    Errc::unsupported,      Errc::exhausted, Errc::busy,           Errc::timed_out,
    Errc::protocol,         Errc::io,        Errc::out_of_memory,  Errc::version_mismatch,
    Errc::internal};

}  // namespace

void* operator new(std::size_t size) {
  if (allocations_left == 0) {
    allocation_failed = true;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST_CASE("an error is 16 bytes, moves without throwing and cannot be copied") {
  CHECK(sizeof(Error) == 16);
  CHECK(std::is_nothrow_move_constructible_v<Error>);
  CHECK(std::is_nothrow_move_assignable_v<Error>);
  CHECK_FALSE(std::is_copy_constructible_v<Error>);
  CHECK_FALSE(std::is_copy_assignable_v<Error>);
  CHECK(sizeof(patu::Result<>) <= 24);
}

TEST_CASE("the numbers of the codes are those of the C ABI, one name each") {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kAllCodes.size(); ++i) {
    CHECK(static_cast<std::int32_t>(kAllCodes[i]) == -static_cast<std::int32_t>(i) - 1);
    names.insert(to_string(kAllCodes[i]));
  }
  CHECK(names.size() == kAllCodes.size());
  CHECK(names.count("unknown") == 0);
  CHECK(to_string(Errc::already_exists) == "already_exists");
  CHECK(to_string(Errc::io) == "io");
}

TEST_CASE("a number that is no code is called unknown") {
  CHECK(to_string(static_cast<Errc>(0)) == "unknown");
  CHECK(to_string(static_cast<Errc>(1)) == "unknown");
  CHECK(to_string(static_cast<Errc>(-14)) == "unknown");
  CHECK(Error(static_cast<Errc>(-14)).to_string() == "unknown");
}

TEST_CASE("an error made from a code has that code, no errno, and its sentence") {
  const Error error(Errc::exhausted, "pool 10.0.0.0/30 is full");
  CHECK(error.code() == Errc::exhausted);
  CHECK(error.os_error() == 0);
  CHECK(error.to_string() == "pool 10.0.0.0/30 is full");
}

TEST_CASE("an error without a sentence reads as its code") {
  CHECK(Error(Errc::timed_out).to_string() == "timed_out");
  CHECK(Error(Errc::timed_out, "").to_string() == "timed_out");
}

TEST_CASE("every errno maps to its code, whatever its sign, and is kept as a positive number") {
  const std::map<int, Errc> table = {
      {EPERM, Errc::permission_denied}, {EACCES, Errc::permission_denied}, {ENOENT, Errc::not_found},
      {ENODEV, Errc::not_found},        {ESRCH, Errc::not_found},          {EEXIST, Errc::already_exists},
      {EINVAL, Errc::invalid_argument}, {ENOMEM, Errc::out_of_memory},     {EBUSY, Errc::busy},
      {EOPNOTSUPP, Errc::unsupported},  {ENOSYS, Errc::unsupported},       {ETIMEDOUT, Errc::timed_out},
      {E2BIG, Errc::exhausted},         {ENOSPC, Errc::exhausted}};
  for (int err = 1; err < 1000; ++err) {
    CAPTURE(err);
    const Errc expected = table.count(err) != 0 ? table.at(err) : Errc::io;
    for (const Error& error : {Error::from_errno(err), Error::from_errno(-err)}) {
      CHECK(error.code() == expected);
      CHECK(error.os_error() == err);
    }
  }
}

TEST_CASE("errno 0 is a fault of patu") {
  const Error bare = Error::from_errno(0);
  CHECK(bare.code() == Errc::internal);
  CHECK(bare.os_error() == 0);
  CHECK(bare.to_string() == "a call failed without an errno");
  CHECK(Error::from_errno(0, "read link").to_string() == "read link: a call failed without an errno");
}

TEST_CASE("the smallest integer, which has no positive counterpart, is taken as an errno all the same") {
  const Error error = Error::from_errno(std::numeric_limits<int>::min());
  CHECK(error.code() == Errc::io);
  CHECK(error.os_error() == std::numeric_limits<int>::max());
}

TEST_CASE("a caller's code wins over the table, and the errno stays") {
  const Error error = Error::from_errno(Errc::unsupported, -EINVAL, "attach tcx");
  CHECK(error.code() == Errc::unsupported);
  CHECK(error.os_error() == EINVAL);
  CHECK(error.to_string().starts_with("attach tcx: Invalid argument"));
}

#if __GLIBC__ > 2 || (__GLIBC__ == 2 && __GLIBC_MINOR__ >= 32)
TEST_CASE("the text ends with the meaning of the errno and its name") {
  CHECK(Error::from_errno(EINVAL).to_string() == "Invalid argument (EINVAL)");
  CHECK(Error::from_errno(-EEXIST, "create bridge br0").to_string() == "create bridge br0: File exists (EEXIST)");
  CHECK(Error::from_errno(EOPNOTSUPP).to_string() == "Operation not supported (EOPNOTSUPP)");
}

TEST_CASE("an errno without a name is given by its number") {
  CHECK(Error::from_errno(524, "load map").to_string() == "load map: errno 524");
}

TEST_CASE("a second failure stands behind the text of the first one's errno") {
  Error first = Error::from_errno(EBUSY, "delete link veth0");
  first = std::move(first).also(Error::from_errno(ENOENT, "release 10.0.0.5")).also(Error(Errc::io, "close pin"));
  first = std::move(first).context("detach web-1/eth0");
  CHECK(first.code() == Errc::busy);
  CHECK(first.os_error() == EBUSY);
  CHECK(first.to_string() ==
        "detach web-1/eth0: delete link veth0: Device or resource busy (EBUSY)"
        "; also release 10.0.0.5: No such file or directory (ENOENT); also close pin");
}
#endif

TEST_CASE("each context goes in front of what was there") {
  Error error(Errc::not_found, "no such link");
  error = std::move(error).context("bridge br0").context("attach pod web-1");
  CHECK(error.to_string() == "attach pod web-1: bridge br0: no such link");
  CHECK(error.code() == Errc::not_found);
}

TEST_CASE("an empty context changes nothing") {
  CHECK(Error(Errc::busy).context("").to_string() == "busy");
  CHECK(Error(Errc::busy, "locked").context("").to_string() == "locked");
}

TEST_CASE("a context does not hide the code of an error that had nothing else to tell") {
  CHECK(Error(Errc::not_found).context("pod web-1").to_string() == "pod web-1: not_found");
  CHECK(Error(Errc::not_found).context("pod web-1").context("detach").to_string() == "detach: pod web-1: not_found");
}

TEST_CASE("a context on a bare errno is followed by that errno once") {
  const std::string text = Error::from_errno(ENODEV).context("set link up").to_string();
  CHECK(text.starts_with("set link up: No such device"));
  CHECK(text.find("No such device", 20) == std::string::npos);
}

TEST_CASE("a failure can be added to an error without a text, and to itself") {
  CHECK(Error(Errc::busy).also(Error(Errc::io, "close")).to_string() == "busy; also close");
  CHECK(Error(Errc::busy).also(Error(Errc::io)).context("detach").to_string() == "detach: busy; also io");
  Error self(Errc::io, "a");
  self = std::move(self).also(self);
  CHECK(self.to_string() == "a; also a");
}

TEST_CASE("texts may hold any byte") {
  const std::string_view bytes("a\0b\xff", 4);
  CHECK(Error(Errc::io, bytes).context(bytes).to_string() == std::string("a\0b\xff: a\0b\xff", 10));
}

TEST_CASE("moving an error takes the text along") {
  Error from = Error::from_errno(EINVAL, kLong);
  Error to(Errc::io, "other");
  to = std::move(from);
  CHECK(to.code() == Errc::invalid_argument);
  CHECK(to.os_error() == EINVAL);
  CHECK(to.to_string().starts_with(kLong));
}

TEST_CASE("PATU_TRY hands the failure on with its sentence, and makes the sentence only then") {
  int sentences = 0;
  const auto run = [&](bool good) -> patu::Result<int> {
    const auto step = [&]() -> patu::Result<int> {
      if (good) return 7;
      return patu::fail_errno(-EBUSY, "step");
    };
    const auto sentence = [&] { return ++sentences, std::string("outer"); };
    PATU_TRY(step(), sentence());
    PATU_TRY_LET(value, step(), sentence());
    return value + 1;
  };
  REQUIRE(run(true));
  CHECK(*run(true) == 8);
  CHECK(sentences == 0);
  const auto failed = run(false);
  REQUIRE_FALSE(failed);
  CHECK(sentences == 1);
  CHECK(failed.error().code() == Errc::busy);
  CHECK(failed.error().to_string().starts_with("outer: step: Device or resource busy"));
}

TEST_CASE("without memory an error is made without its sentence") {
  const int failures = starve_step_by_step([](int n) {
    Error error(Errc::internal);
    const bool starved = starve(n, [&] { error = Error::from_errno(ENODEV, kLong); });
    CHECK(error.code() == Errc::not_found);
    CHECK(error.os_error() == ENODEV);
    CHECK(error.to_string().starts_with(starved ? "No such device" : kLong));
    return starved;
  });
  CHECK(failures == 2);  // the text's record and the string in it
}

TEST_CASE("without memory context() drops its sentence and keeps the error with all it said before") {
  const int failures = starve_step_by_step([](int n) {
    Error error = Error::from_errno(ENODEV, kLong);
    const std::string before = error.to_string();
    const bool starved = starve(n, [&] { error = std::move(error).context(kFront); });
    CHECK(error.code() == Errc::not_found);
    CHECK(error.os_error() == ENODEV);
    CHECK(error.to_string() == (starved ? before : kFront + ": " + before));
    return starved;
  });
  CHECK(failures == 1);
}

TEST_CASE("without memory context() on a bare error leaves it readable") {
  const int failures = starve_step_by_step([](int n) {
    Error error(Errc::exhausted);
    const bool starved = starve(n, [&] { error = std::move(error).context(kFront); });
    CHECK(error.code() == Errc::exhausted);
    CHECK(error.to_string() == (starved ? "exhausted" : kFront + ": exhausted"));
    return starved;
  });
  CHECK(failures == 2);
}

TEST_CASE("without memory also() drops the second failure and keeps the first") {
  const Error second(Errc::io, kLong);
  const int failures = starve_step_by_step([&](int n) {
    Error error(Errc::busy, "first");
    const bool starved = starve(n, [&] { error = std::move(error).also(second); });
    CHECK(error.code() == Errc::busy);
    CHECK(error.to_string() == (starved ? "first" : "first; also " + kLong));
    return starved;
  });
  CHECK(failures >= 2);
  CHECK(failures < 32);
}

TEST_CASE("without memory a whole chain of failing calls still ends in the right code") {
  const auto inner = []() -> patu::Result<> { return patu::fail_errno(ENOSPC, kLong); };
  const auto outer = [&]() -> patu::Result<> {
    PATU_TRY(inner(), std::string_view(kFront));
    return {};
  };
  const int failures = starve_step_by_step([&](int n) {
    patu::Result<> result;
    const bool starved = starve(n, [&] { result = outer(); });
    REQUIRE_FALSE(result);
    CHECK(result.error().code() == Errc::exhausted);
    CHECK(result.error().os_error() == ENOSPC);
    return starved;
  });
  CHECK(failures == 3);
}
