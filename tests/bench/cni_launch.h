// What cni_launch tells about a program that it ran.
#pragma once

#include <stdint.h>

#define LAUNCHED_FD 3

struct launched {
  uint64_t ns;        // from before vfork(2) to behind wait4(2)
  uint64_t peak_kib;  // of it or of the largest of its own children
  uint64_t status;    // as wait4(2) has it
};
