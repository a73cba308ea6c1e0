// Loads the library, makes it fail, and unloads it, again and again, as a host of plugins does: that takes no memory.
#include <dlfcn.h>
#include <malloc.h>
#include <patu/patu.h>
#include <stdio.h>

enum { kWarm = 2, kRounds = 50, kLimitBytes = 64 * 1024 };

static int fail_once(const char* library) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) return fprintf(stderr, "%s\n", dlerror()), 1;
  patu_status (*parse)(const char*, patu_address*, patu_error**);
  void (*free_error)(patu_error*);
  *(void**)&parse = dlsym(handle, "patu_address_parse");
  *(void**)&free_error = dlsym(handle, "patu_error_free");
  patu_address address;
  patu_error* err = NULL;
  const patu_status status = parse("no address", &address, &err);
  free_error(err);
  return dlclose(handle) != 0 || status != PATU_E_INVALID_ARGUMENT;
}

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "usage: %s LIBRARY\n", argv[0]), 2;
  size_t before = 0;
  for (int round = 0; round < kWarm + kRounds; ++round) {
    if (round == kWarm) before = mallinfo2().uordblks;
    if (fail_once(argv[1]) != 0) return 1;
  }
  const size_t grown = mallinfo2().uordblks - before;
  printf("%zu bytes more after %d times\n", grown, kRounds);
  return grown > kLimitBytes;
}
