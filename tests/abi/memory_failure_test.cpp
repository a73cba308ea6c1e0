// Every call, once for each allocation that it makes, which fails: an error, no leak, and the same call works afterwards.
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "calls.hpp"

namespace {

// Counted on every thread, because calls start some.
std::atomic<bool> counting{false};
std::atomic<long> allocations{0};
std::atomic<long> fails_at{-1};
std::atomic<long> alive{0};  // allocated while counting, and not freed

bool fails() noexcept { return counting && ++allocations == fails_at; }

void* allocate(std::size_t size) {
  if (fails()) return nullptr;
  void* out = std::malloc(size == 0 ? 1 : size);
  if (out != nullptr) ++alive;
  return out;
}

}  // namespace

// C++'s side of every allocation in the library, which is linked statically here.
void* operator new(std::size_t size) {
  void* out = allocate(size);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
void* operator new[](std::size_t size) { return ::operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* memory) noexcept {
  if (memory != nullptr) --alive;
  std::free(memory);
}
void operator delete[](void* memory) noexcept { ::operator delete(memory); }
void operator delete(void* memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { ::operator delete(memory); }

namespace patu::test {
namespace {

constexpr long kMost = 20000;  // a call that allocates more does not end

// The call's status with the n-th allocation failing; how many there were is in `allocations`.
patu_status run_failing(const Call& call, World& world, long n, patu_error** err) {
  allocations = 0;
  fails_at = n;
  counting = true;
  const patu_status status = call.run(world, err);
  counting = false;
  return status;
}

// What a failed call left undone, by the call itself.
void mend(const Call& call, World& world) {
  Failure failure;
  INFO(failure.text());
  CHECK(call.run(world, failure.out()) == PATU_OK);
}

// Whether handles remember more after the call than before it, such as which addresses were used: no leak, but no constant.
enum class Remembers : bool { no, yes };

long exhaust(const Call& call, World& world, Remembers remembers = Remembers::no) {
  CAPTURE(std::string(call.name));
  mend(call, world);
  long failed = 0;
  for (long n = 1; n < kMost; ++n) {
    CAPTURE(n);
    const long before = alive;
    const std::size_t descriptors = open_descriptors();
    patu_error* error = nullptr;
    const patu_status status = run_failing(call, world, n, &error);
    const bool reached = allocations >= n;
    if (status != PATU_OK) {
      ++failed;
      REQUIRE(error != nullptr);
      if (patu_error_code(error) != status || patu_error_text(error)[0] == '\0') FAIL("the error is not the status's");
    }
    patu_error_free(error);
    CAPTURE(status);
    // In the state that it began in: what a handle remembers is no leak.
    if (status != PATU_OK || world.reader == nullptr) mend(call, world);
    // Counted first: what a failed check keeps for its message is not the library's.
    if (remembers == Remembers::no) {
      if (const long now = alive; now != before) CHECK(now == before);
      if (open_descriptors() != descriptors) CHECK(open_descriptors() == descriptors);
    }
    if (!reached) return failed;
  }
  FAIL("no end of allocations");
  return failed;
}

TEST_CASE("values") {
  World world;
  for (const Call& call : value_calls()) {
    CAPTURE(std::string(call.name));
    CHECK(exhaust(call, world) >= 0);
  }
}

TEST_CASE("handles, networks, services") {
  World world;
  PATU_GOOD(patu_address_pool_acquire(world.addresses, &world.leased, nullptr, nullptr, err));
  for (const Call& call : handle_calls()) {
    if (std::string(call.name) == "patu_address_pool_find") {
      PATU_GOOD(patu_address_pool_acquire(world.addresses, &world.leased, nullptr, nullptr, err));
    }
    exhaust(call, world);
  }
}

void exhaust_changes() {
  World world;
  for (const Call& call : changing_calls()) exhaust(call, world, Remembers::yes);
}

TEST_CASE("what changes something, and nothing is left when the handles are closed") {
  exhaust_changes();
  const long before = alive;
  const std::size_t descriptors = open_descriptors();
  exhaust_changes();
  const long after = alive;
  CHECK(after == before);
  CHECK(open_descriptors() == descriptors);
}

}  // namespace
}  // namespace patu::test
