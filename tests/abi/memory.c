// A small C program that opens everything, linked statically: prints its private memory, and fails above the limit.
#include <patu/patu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char* what, patu_error* err) {
  fprintf(stderr, "%s: %s\n", what, patu_error_text(err));
  patu_error_free(err);
  return 1;
}

// In KiB: what no other process shares.
static long private_memory(void) {
  FILE* rollup = fopen("/proc/self/smaps_rollup", "re");
  char line[256];
  long sum = 0, kib;
  while (rollup != NULL && fgets(line, sizeof line, rollup) != NULL)
    if (sscanf(line, "Private_Clean: %ld", &kib) == 1 || sscanf(line, "Private_Dirty: %ld", &kib) == 1) sum += kib;
  if (rollup != NULL) fclose(rollup);
  return sum;
}

int main(int argc, char** argv) {
  patu_error* err = NULL;
  patu_datapath* datapath = NULL;
  patu_network* network = NULL;
  patu_service_table* services = NULL;
  patu_subnet subnet = PATU_SUBNET_INIT;
  patu_datapath_options options = PATU_DATAPATH_OPTIONS_INIT;
  patu_network_options bridge = PATU_NETWORK_OPTIONS_INIT;
  if (argc != 4) {
    fprintf(stderr, "usage: memory BPFFS CGROUP LIMIT_KIB\n");
    return 2;
  }
  options.bpffs = argv[1], options.cgroup = argv[2];
  bridge.bridge = "mem0", bridge.subnets = &subnet, bridge.subnet_count = 1;
  if (patu_prefix_parse("10.212.0.0/24", &subnet.prefix, &err) != PATU_OK) return failed("prefix", err);
  if (patu_datapath_open(&options, &datapath, &err) != PATU_OK) return failed("data path", err);
  if (patu_network_open(datapath, &bridge, &network, &err) != PATU_OK) return failed("network", err);
  if (patu_service_table_open(datapath, NULL, &services, &err) != PATU_OK) return failed("services", err);
  const long kib = private_memory();
  printf("private memory of a C program with data path, network and services: %ld KiB of at most %s KiB\n", kib,
         argv[3]);
  patu_service_table_close(services);
  if (patu_network_remove(network, &err) != PATU_OK) return failed("remove the network", err);
  patu_network_close(network);
  patu_datapath_close(datapath);
  if (patu_datapath_unload(&options, 0, NULL, &err) != PATU_OK) return failed("unload", err);
  return kib > 0 && kib <= strtol(argv[3], NULL, 10) ? 0 : 1;
}
