// patu's CNI plugin as a library (libpatu_cni.so.0): what the program does, in the caller's own process.
//
// A host that drives CNI calls patu_cni_exec() where it would have executed the plugin, with the same role, environment and
// input, and gets the same output. Nothing is executed (but an IPAM plugin that the configuration names), nothing is printed,
// and the caller's namespaces, environment and descriptors stay as they are. The environment is the one that is passed, not
// the process's.
#ifndef PATU_CNI_H
#define PATU_CNI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PATU_CNI_API __attribute__((visibility("default")))

// role         the plugin's name, or a path that ends with it: "patu", "bridge", "host-local", "loopback"
// environment  "KEY=value", and NULL at the end: CNI_COMMAND and so on, and what a delegated plugin needs, such as PATH
// input        the configuration, JSON; NULL if input_len is 0
// output       gets what the plugin prints on standard output: a result, an error object, or nothing. Ends with a zero byte that
//              output_len does not count. For patu_cni_free(). Always written, NULL if the return value is negative.
// Returns the plugin's exit status: 0, or 1 with an error object as the output. Negative if there is no answer at all: -1 for a
// NULL where none is allowed, -11 for want of memory.
// Thread: any, any number at once. Since 0.1.
PATU_CNI_API int32_t patu_cni_exec(const char* role, const char* const* environment, const char* input,
                                   size_t input_len, char** output, size_t* output_len);

// NULL is fine. Since 0.1.
PATU_CNI_API void patu_cni_free(char* output);

#ifdef __cplusplus
}
#endif

#endif
