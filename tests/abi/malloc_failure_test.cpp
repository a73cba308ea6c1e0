// As memory_failure_test, but malloc itself fails, so that libbpf, libelf, zlib and the C library have none either; nothing leaks.
#include <atomic>
#include <cstddef>
#include <string>

#include "calls.hpp"

namespace {

std::atomic<bool> counting{false};  // on every thread, because calls start some
std::atomic<long> allocations{0};
std::atomic<long> fails_at{-1};

std::atomic<long> alive{0};

bool fails() noexcept { return counting && ++allocations == fails_at; }

void* counted(void* memory) noexcept {
  if (memory != nullptr) ++alive;
  return memory;
}

}  // namespace

// The program's own malloc is everybody's.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void __libc_free(void* memory);
void* malloc(std::size_t size) { return fails() ? nullptr : counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) { return fails() ? nullptr : counted(__libc_calloc(count, size)); }
void* realloc(void* memory, std::size_t size) {
  if (fails()) return nullptr;
  return memory == nullptr ? counted(__libc_malloc(size)) : __libc_realloc(memory, size);
}
void free(void* memory) {
  if (memory != nullptr) --alive;
  __libc_free(memory);
}
}

namespace patu::test {
namespace {

constexpr long kMost = 100000;  // a call that allocates more does not end

// Every allocation of a call that is quick; of one that loads programs, which makes thousands, each later one less often.
enum class Which : bool { all, fewer };

// Whether a handle may keep something for the next call, such as the descriptor of a chunk of slots.
enum class Keeps : bool { no, yes };

// Whether the n-th allocation was reached. A call may succeed without it, as libbpf does here and there.
bool fail_once(const Call& call, World& world, long n, Keeps keeps) {
  CAPTURE(std::string(call.name));
  CAPTURE(n);
  const std::size_t descriptors = open_descriptors();
  const long before = alive;
  patu_error* error = nullptr;
  allocations = 0;
  fails_at = n;
  counting = true;
  const patu_status status = call.run(world, &error);
  counting = false;
  const bool told = (status == PATU_OK) == (error == nullptr) && (error == nullptr || patu_error_code(error) == status);
  patu_error_free(error);
  // Again, in the state that it began in.
  const patu_status again = call.run(world, nullptr);
  const long after = alive;
  CHECK(told);
  CHECK(again == PATU_OK);
  if (keeps == Keeps::no) {
    CHECK(after == before);
    CHECK(open_descriptors() == descriptors);
  }
  return allocations >= n;
}

// How many allocations it makes, or a little more.
long exhaust(const Call& call, World& world, Which which = Which::all, Keeps keeps = Keeps::no) {
  Failure failure;
  INFO(failure.text());
  REQUIRE(call.run(world, failure.out()) == PATU_OK);
  long n = 1;
  while (n < kMost && fail_once(call, world, n, keeps)) n += which == Which::all ? 1 : 1 + n / 16;
  CHECK(n < kMost);
  return n;
}

TEST_CASE("a data path is loaded and unloaded") {
  World world;
  const Inputs inputs("other");
  const Call load{"patu_datapath_open and unload", [&](World&, patu_error** err) {
                    patu_datapath* out = nullptr;
                    patu_status status = patu_datapath_open(&inputs.options, &out, err);
                    patu_datapath_close(out);
                    if (status == PATU_OK) status = patu_datapath_unload(&inputs.options, 0, nullptr, err);
                    return status;
                  }};
  CHECK(exhaust(load, world, Which::fewer) > 100);
}

TEST_CASE("handles are opened, networks and services are read") {
  World world;
  for (const Call& call : handle_calls())
    if (std::string(call.name) != "patu_address_pool_find") exhaust(call, world);
}

void exhaust_changes() {
  World world;
  for (const Call& call : changing_calls()) CHECK(exhaust(call, world, Which::all, Keeps::yes) > 1);
}

TEST_CASE("pods and services are changed, and no descriptor is left when the handles are closed") {
  exhaust_changes();
  const std::size_t descriptors = open_descriptors();
  exhaust_changes();
  CHECK(open_descriptors() == descriptors);
}

}  // namespace
}  // namespace patu::test
