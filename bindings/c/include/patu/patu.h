// The C ABI of patu: container networking for edge devices, as a library that any language can load (libpatu_c.so.0).
//
// WHAT IT DOES. A process that starts containers opens a data path (BPF programs and maps, kept in the kernel), a network
// (a bridge), and a service table; attaches pods, which are network namespaces, to the network; and writes services, whose
// addresses the kernel then resolves when a pod calls connect(2). All state is in the kernel. A process that ends, or is
// killed, leaves everything running; the next one opens the same names and goes on. What is to be gone, is removed by a verb:
// patu_network_detach, patu_network_remove, patu_service_table_remove, patu_datapath_unload.
//
// EXAMPLE. A pod and a service, from nothing; bindings/c/README.md has the long version.
//
//   #include <patu/patu.h>
//   #include <stdio.h>
//
//   int main(void) {
//     patu_error *err = NULL;
//     patu_datapath *datapath = NULL;
//     patu_network *network = NULL;
//     patu_netns *netns = NULL;
//     patu_service_table *services = NULL;
//     patu_subnet subnet = PATU_SUBNET_INIT;
//     patu_network_options options = {.struct_size = sizeof options, .bridge = "pods0", .subnets = &subnet, .subnet_count = 1};
//     patu_pod_spec pod = {.struct_size = sizeof pod, .id = {"web-1", "eth0"}};
//     patu_frontend at = {.protocol = PATU_TCP};
//     patu_backend to = {.weight = 1};
//     patu_service web = {.struct_size = sizeof web, .name = "default/web", .frontends = &at, .frontend_count = 1,
//                         .backends = &to, .backend_count = 1};
//     if (patu_prefix_parse("10.200.0.0/24", &subnet.prefix, &err) == PATU_OK &&
//         patu_datapath_open(NULL, &datapath, &err) == PATU_OK &&
//         patu_network_open(datapath, &options, &network, &err) == PATU_OK &&
//         patu_netns_open_path("/run/netns/web-1", &netns, &err) == PATU_OK &&
//         (pod.netns = netns, patu_network_attach(network, &pod, 1, NULL, &err)) == PATU_OK &&
//         patu_endpoint_parse("10.96.0.10:80", &at.endpoint, &err) == PATU_OK &&
//         patu_endpoint_parse("10.200.0.2:8080", &to.endpoint, &err) == PATU_OK &&
//         patu_service_table_open(datapath, NULL, &services, &err) == PATU_OK &&
//         patu_service_table_upsert(services, &web, &err) == PATU_OK)
//       puts("10.96.0.10:80 leads to web-1");
//     else
//       fprintf(stderr, "%s\n", patu_error_text(err));
//     patu_error_free(err), patu_service_table_close(services), patu_netns_close(netns);
//     patu_network_close(network), patu_datapath_close(datapath);
//   }
//
// BUILD with `cc x.c $(pkg-config --cflags --libs patu_c)`; bindings/c/README.md says how to link libpatu_c.a instead.
//
// ERRORS. Every call that can fail returns a patu_status: PATU_OK (0), or a negative PATU_E_*. The numbers never change; later
// versions may add some, so treat every negative number as a failure. The last argument takes details: pass the address of a
// `patu_error *`, or NULL to go without. It is written only on failure (what it pointed to before is not freed) and then is
// yours to free: a text that names the object and the step, and the kernel's errno. Every call may also fail with
// PATU_E_INVALID_ARGUMENT (a NULL where none is allowed, an argument that breaks its rules), PATU_E_OUT_OF_MEMORY and
// PATU_E_INTERNAL (a fault in patu); these three are not named again below. Out of memory may also mean that the verb has done
// its work and cannot describe it: the same call again tells. After an unload, calls on handles of that instance fail with
// PATU_E_NOT_FOUND, or tell what was there before. Nothing is ever printed, and errno is no result.
//
// OUTPUTS are written on success only. An output said to be optional may be NULL.
//
// VERBS are idempotent: the same again is a success. What makes something (open, attach, acquire, upsert) is all or nothing;
// what takes away (detach, abandon, reconcile, remove, unload) or writes a whole table (sync) may fail half-way, and the same
// call again finishes it. A call that is killed half-way is mended by the next one.
//
// OWNERSHIP. Handles (patu_datapath, patu_network, …) come from an `open` and go with `close`; that ends the handle, and
// nothing in the kernel. A handle may be closed before or after the one it was opened with. Results (patu_attachments, …) go
// with `free`; whatever is reached through a result lives as long as it does, and does not depend on the handle. To close or
// free NULL does nothing. What was closed or freed must not be used again, nor closed twice: patu cannot tell, and promises
// nothing then. What you pass in, strings and arrays, is borrowed for the call only.
//
// STRUCTS THAT GROW start with `struct_size`, which the PATU_*_INIT macros set; every other field may be 0 or NULL, and then
// has its default; a name, namespace or prefix has none and is needed. Fields are only ever appended. A caller with a shorter
// struct gets the defaults; one with a longer struct gets PATU_E_UNSUPPORTED if what this library does not know is not zero. An
// array of such structs has elements of one size, its first element's struct_size. Of a struct that the library gives out,
// fields of a later version than 0.1 exist if struct_size covers them. Structs without `struct_size` (patu_address,
// patu_endpoint, patu_frontend, …) are values, and never change their size. Fields named `reserved`, and bits of `flags` that
// have no name, must be 0: PATU_E_UNSUPPORTED otherwise.
//
// LISTS are opaque. patu_X_count() says how many, patu_X_at() gives one, or NULL beyond the end.
//
// THREADS. A handle may be used by one thread at a time, and by another one later; different handles, also of one instance,
// bridge or pool, by any number of threads and processes at once. Results and errors are constant: read them from anywhere.
// Functions without a handle may be called from any thread. A call may start threads; they have ended, with all signals blocked
// in them, when it returns. The calling thread is never moved to another namespace. No callbacks; no global state but a lock,
// under which libbpf's messages are silenced while programs are loaded or events are opened: fork(2) is safe between calls, and
// every descriptor is closed by exec (O_CLOEXEC). Never cancel a thread inside a call.
//
// UNITS are in the names: _bytes, _seconds, _ns. Ports are in host byte order. Strings are UTF-8, ended by a zero byte.
//
// KERNEL. Linux 5.10 or later for everything where nothing else is said. Capabilities: CAP_NET_ADMIN and CAP_BPF; CAP_SYS_ADMIN
// to enter pods' namespaces. Functions that parse, format, read a result or free something need neither.
#ifndef PATU_PATU_H
#define PATU_PATU_H

#include <stddef.h>
#include <stdint.h>

#define PATU_VERSION_MAJOR 0
#define PATU_VERSION_MINOR 1
#define PATU_VERSION_PATCH 0
#define PATU_VERSION (PATU_VERSION_MAJOR << 16 | PATU_VERSION_MINOR << 8 | PATU_VERSION_PATCH)

#define PATU_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

// ---- Status and error

typedef int32_t patu_status;

#define PATU_OK 0
#define PATU_E_INVALID_ARGUMENT (-1)   // the caller's input is wrong; nothing was changed
#define PATU_E_NOT_FOUND (-2)          // the object named does not exist
#define PATU_E_ALREADY_EXISTS (-3)     // an object of that name exists and differs from what was asked for
#define PATU_E_PERMISSION_DENIED (-4)  // a capability is missing, or a file is not safely the caller's own
#define PATU_E_UNSUPPORTED (-5)        // this kernel lacks a feature, or this library a field; the text names it
#define PATU_E_EXHAUSTED (-6)          // a pool, a map or a table is full
#define PATU_E_BUSY (-7)               // the object is in use
#define PATU_E_TIMED_OUT (-8)          // a lock or the kernel did not answer in time
#define PATU_E_PROTOCOL (-9)           // the kernel answered something that cannot be right
#define PATU_E_IO (-10)                // any other failure that the kernel reports
#define PATU_E_OUT_OF_MEMORY (-11)
#define PATU_E_VERSION_MISMATCH (-12)  // what is pinned was written by another layout version
#define PATU_E_INTERNAL (-13)          // a fault in patu itself

typedef struct patu_error patu_error;

// The version of the library that is loaded, as PATU_VERSION is that of this header. Since 0.1.
PATU_C_API uint32_t patu_version(void);

// "ok", "not_found" and so on; "unknown" for a number that this library does not know. Never NULL, never freed. Since 0.1.
PATU_C_API const char *patu_status_name(patu_status status);

// The status that the call returned; PATU_OK for NULL. Since 0.1.
PATU_C_API patu_status patu_error_code(const patu_error *error);
// The kernel's errno, positive; 0 where no system call was involved, and for NULL. Since 0.1.
PATU_C_API int32_t patu_error_errno(const patu_error *error);
// "attach web-1/eth0: create vethabc: the pod has an interface eth0: File exists (EEXIST)"; "" for NULL. It lives as long as
// the error. Since 0.1.
PATU_C_API const char *patu_error_text(const patu_error *error);
// Since 0.1.
PATU_C_API void patu_error_free(patu_error *error);

// ---- Values: never change their size

// An IPv4 or IPv6 address in network byte order. IPv4 is held as the mapped form ::ffff:a.b.c.d. All zero: none, where that is
// allowed.
typedef struct patu_address {
  uint8_t bytes[16];
} patu_address;

// A network: its host bits are zero.
typedef struct patu_prefix {
  patu_address network;
  uint32_t length;  // 0 to 32 for IPv4, 0 to 128 for IPv6
} patu_prefix;

// An address as an interface has it: with the length of the prefix that is on link.
typedef struct patu_interface_address {
  patu_address address;
  uint32_t prefix_length;  // as above
} patu_interface_address;

typedef struct patu_endpoint {
  patu_address address;
  uint16_t port;  // host byte order
} patu_endpoint;

typedef struct patu_mac {
  uint8_t bytes[6];
} patu_mac;

// Names one interface of one container, as in CNI.
typedef struct patu_attachment_id {
  const char *container_id;  // 1 to 128 bytes that match ^[A-Za-z0-9][A-Za-z0-9_.-]*$
  const char *ifname;        // in the pod; 1 to 15 bytes; NULL: "eth0"
} patu_attachment_id;

// What the longest text and its zero byte take.
#define PATU_ADDRESS_TEXT_SIZE 46
#define PATU_PREFIX_TEXT_SIZE 50
#define PATU_ENDPOINT_TEXT_SIZE 54
#define PATU_MAC_TEXT_SIZE 18

// Dotted decimal of four parts without leading zeros, or any form of RFC 4291 section 2.2. No zone, no port.
// Errors: invalid_argument. Since 0.1.
PATU_C_API patu_status patu_address_parse(const char *text, patu_address *address, patu_error **err);
// Dotted decimal, or the form of RFC 5952. Errors: invalid_argument (`size` bytes do not suffice). Since 0.1.
PATU_C_API patu_status patu_address_format(const patu_address *address, char *text, size_t size, patu_error **err);
// 1 for IPv4, 0 for IPv6 and NULL. Since 0.1.
PATU_C_API int32_t patu_address_is_v4(const patu_address *address);

// "10.200.0.0/24" or "fd00:200::/64". Errors: invalid_argument, also for host bits that are set. Since 0.1.
PATU_C_API patu_status patu_prefix_parse(const char *text, patu_prefix *prefix, patu_error **err);
// Errors: invalid_argument (no prefix, or `size` bytes do not suffice). Since 0.1.
PATU_C_API patu_status patu_prefix_format(const patu_prefix *prefix, char *text, size_t size, patu_error **err);

// "10.96.0.1:80" or "[fd00::1]:80", port 1 to 65535. Errors: invalid_argument. Since 0.1.
PATU_C_API patu_status patu_endpoint_parse(const char *text, patu_endpoint *endpoint, patu_error **err);
// Errors: invalid_argument (`size` bytes do not suffice). Since 0.1.
PATU_C_API patu_status patu_endpoint_format(const patu_endpoint *endpoint, char *text, size_t size, patu_error **err);

// "0a:58:0a:c8:00:02". Errors: invalid_argument. Since 0.1.
PATU_C_API patu_status patu_mac_parse(const char *text, patu_mac *mac, patu_error **err);
// Lower case. Errors: invalid_argument (`size` bytes do not suffice). Since 0.1.
PATU_C_API patu_status patu_mac_format(const patu_mac *mac, char *text, size_t size, patu_error **err);

// ---- Lists of values that several calls give out

typedef struct patu_names patu_names;
// Since 0.1, as all that count, give out and free.
PATU_C_API size_t patu_names_count(const patu_names *names);
PATU_C_API const char *patu_names_at(const patu_names *names, size_t index);
PATU_C_API void patu_names_free(patu_names *names);

typedef struct patu_addresses patu_addresses;
PATU_C_API size_t patu_addresses_count(const patu_addresses *addresses);
PATU_C_API const patu_address *patu_addresses_at(const patu_addresses *addresses, size_t index);
PATU_C_API void patu_addresses_free(patu_addresses *addresses);

// Part of a report, with which it is freed.
typedef struct patu_ids patu_ids;
PATU_C_API size_t patu_ids_count(const patu_ids *ids);
PATU_C_API const patu_attachment_id *patu_ids_at(const patu_ids *ids, size_t index);

// ---- Network namespaces

// An open network namespace. Holding one keeps the namespace alive; close it when the verb that needs it is done.
// Threads: constant once it is open; any number at once, but for close.
typedef struct patu_netns patu_netns;

// From a descriptor of the caller's, who keeps it. Errors: invalid_argument (not a network namespace), io. Since 0.1.
PATU_C_API patu_status patu_netns_open_fd(int32_t netns_fd, patu_netns **netns, patu_error **err);
// A path such as /run/netns/NAME or /proc/PID/ns/net. Errors: not_found, permission_denied, invalid_argument (not a network
// namespace), io. Since 0.1.
PATU_C_API patu_status patu_netns_open_path(const char *path, patu_netns **netns, patu_error **err);
// Of a process. Errors: not_found, permission_denied, invalid_argument (not positive), io. Since 0.1.
PATU_C_API patu_status patu_netns_open_pid(int32_t pid, patu_netns **netns, patu_error **err);
// Of the calling thread. Errors: io. Since 0.1.
PATU_C_API patu_status patu_netns_open_current(patu_netns **netns, patu_error **err);
// A new, empty namespace that lives as long as something holds it; the caller's own stays as it is.
// Errors: permission_denied (needs CAP_SYS_ADMIN), exhausted, io (no descriptor, no thread). Since 0.1.
PATU_C_API patu_status patu_netns_create(patu_netns **netns, patu_error **err);
PATU_C_API void patu_netns_close(patu_netns *netns);

// Borrowed; good for setns(2) in a thread or process of the caller's own. -1 for NULL. Since 0.1.
PATU_C_API int32_t patu_netns_fd(const patu_netns *netns);
// 1 if both are the same namespace, else 0. Since 0.1.
PATU_C_API int32_t patu_netns_same(const patu_netns *a, const patu_netns *b);
// The number that the kernel gives each namespace once and never again (SO_NETNS_COOKIE).
// Errors: unsupported (Linux < 5.14), permission_denied (needs CAP_SYS_ADMIN), io. Kernel: 5.14. Since 0.1.
PATU_C_API patu_status patu_netns_cookie(const patu_netns *netns, uint64_t *cookie, patu_error **err);

// ---- Data path

#define PATU_DATAPATH_SOCKET_REDIRECT 1u  // loads the programs that let pods choose socket redirection

typedef struct patu_datapath_options {
  size_t struct_size;
  // Names the instance's directory <bpffs>/patu/<instance>; 1 to 32 of a-z, 0-9 and '-'. NULL: "default". One instance serves
  // one node, that is one network namespace in which bridges live, and any number of bridges there.
  const char *instance;
  const char *bpffs;   // a mounted BPF file system; NULL: "/sys/fs/bpf"
  const char *cgroup;  // version 2; its processes see the services; NULL: the root of the cgroup2 hierarchy
  uint32_t flags;      // PATU_DATAPATH_*
  // Bytes that may wait unread at a redirected receiver before the sender goes on through TCP. 0: by the machine's memory.
  // Adopting what is loaded keeps its limit.
  uint32_t redirect_limit_bytes;
  // Upper bounds, used when the maps are made and ignored when they are adopted; at most 2^22. 0: 1024, 4096 and 8192. There is
  // room for twice as many frontends as services, and as many of their addresses.
  uint32_t max_pods;
  uint32_t max_services;
  uint32_t max_redirected_sockets;
  uint32_t reserved;
} patu_datapath_options;
#define PATU_DATAPATH_OPTIONS_INIT \
  { sizeof(patu_datapath_options), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0 }

typedef struct patu_datapath patu_datapath;

// Adopts what is pinned if it is this build's, upgrades the programs in place if they differ, loads everything if there is
// nothing. `options` NULL: all defaults.
// Errors: invalid_argument (not a bpffs, not a cgroup2, bad instance, instance attached to another cgroup), not_found (no such
//   path; no cgroup2 mounted), permission_denied (capabilities; a directory that others can write), unsupported (a feature, by
//   name), version_mismatch (pins of another layout), timed_out (another process holds the instance's lock), busy (it is
//   unloaded as often as it is loaded), exhausted, protocol, io.
// Kernel: 5.10; socket redirection 6.2 with CAP_PERFMON and CAP_SYS_ADMIN. Before 5.11 the process's RLIMIT_MEMLOCK is raised.
// Since 0.1.
PATU_C_API patu_status patu_datapath_open(const patu_datapath_options *options, patu_datapath **datapath,
                                          patu_error **err);
// Adopts what is pinned, programs of another build included, and loads, upgrades and writes nothing: for whoever looks, or
// takes away. Of the options (NULL: all defaults) only `instance` and `bpffs` count.
// Errors: invalid_argument, not_found (nothing is loaded), permission_denied, version_mismatch, protocol, io. Since 0.1.
PATU_C_API patu_status patu_datapath_adopt(const patu_datapath_options *options, patu_datapath **datapath,
                                           patu_error **err);
PATU_C_API void patu_datapath_close(patu_datapath *datapath);

typedef struct patu_program {
  size_t struct_size;
  const char *name;
  uint32_t id;            // as in `bpftool prog show id`
  uint32_t instructions;  // after translation
} patu_program;

typedef struct patu_map {
  size_t struct_size;
  const char *name;
  uint64_t memory_bytes;  // what the kernel accounts to the map
  uint32_t id;
  uint32_t max_entries;
} patu_map;

// One kernel feature that was looked for, and what its presence or absence means here.
typedef struct patu_feature {
  size_t struct_size;
  const char *name;    // "bpf_set_retval", "socket redirection", …
  const char *detail;  // what patu does with it, or what it does instead
  uint32_t available;  // 1 or 0
  uint32_t reserved;
} patu_feature;

typedef struct patu_programs patu_programs;
PATU_C_API size_t patu_programs_count(const patu_programs *programs);
PATU_C_API const patu_program *patu_programs_at(const patu_programs *programs, size_t index);

typedef struct patu_maps patu_maps;
PATU_C_API size_t patu_maps_count(const patu_maps *maps);
PATU_C_API const patu_map *patu_maps_at(const patu_maps *maps, size_t index);

typedef struct patu_features patu_features;
PATU_C_API size_t patu_features_count(const patu_features *features);
PATU_C_API const patu_feature *patu_features_at(const patu_features *features, size_t index);

typedef struct patu_datapath_state {
  size_t struct_size;
  const char *directory;  // the instance's pins
  const patu_programs *programs;
  const patu_maps *maps;
  const patu_features *features;
  uint64_t cgroup_id;                // inode number of the cgroup that the connect programs are attached to
  uint32_t socket_redirect_loaded;   // 1 or 0
  uint32_t socket_redirect_enabled;  // 1 or 0
  uint32_t redirect_limit_bytes;
  uint32_t reserved;
} patu_datapath_state;

// Reads the kernel's state; O(programs and maps). Errors: version_mismatch, protocol, io. Since 0.1.
PATU_C_API patu_status patu_datapath_status(const patu_datapath *datapath, patu_datapath_state **state,
                                            patu_error **err);
PATU_C_API void patu_datapath_state_free(patu_datapath_state *state);

// Turns socket redirection on (1) or off (0) for every pod that chose it. Off: new connections go through TCP, redirected ones
// change over to TCP at their next message, nothing is lost. Errors: unsupported (not loaded), timed_out, io.
// Kernel: 6.2. Since 0.1.
PATU_C_API patu_status patu_datapath_set_socket_redirect(patu_datapath *datapath, int32_t enabled, patu_error **err);

#define PATU_UNLOAD_FORCE 1u  // attached pods keep their interfaces and lose fast path, services and leases

// Removes programs, links, maps and pins of the instance that `options` (NULL: all defaults) names; open handles stay valid and
// serve nobody. Success where there is nothing. Pods' interfaces and bridges are the network's to remove. By force, call it in
// the node's network namespace: in another one the interfaces keep the program that guards them. `removed`, optional: paths of
// the pins that are gone.
// Errors: busy (pods are attached, and not by force; or it is made as often as it is removed), not_found (no such bpffs),
//   version_mismatch and protocol (not by force), permission_denied, timed_out, io. Since 0.1.
PATU_C_API patu_status patu_datapath_unload(const patu_datapath_options *options, uint32_t flags, patu_names **removed,
                                            patu_error **err);

// ---- Address pools

// What a pool hands out: the addresses from first to last of a prefix, without the gateway, the reserved ones, the prefix's own
// address and, in IPv4, its broadcast address.
typedef struct patu_subnet {
  size_t struct_size;
  const patu_address *reserved_addresses;  // never handed out unless requested
  size_t reserved_address_count;
  patu_prefix prefix;
  patu_address gateway;  // all zero: the prefix's first address
  patu_address first;    // all zero: the first usable address
  patu_address last;     // all zero: the last usable address
  uint32_t reserved;
} patu_subnet;
#define PATU_SUBNET_INIT \
  { sizeof(patu_subnet), NULL, 0, {{{0}}, 0}, {{0}}, {{0}}, {{0}}, 0 }

typedef struct patu_lease {
  size_t struct_size;
  patu_attachment_id owner;
  uint64_t acquired_ns;  // CLOCK_BOOTTIME
  patu_address address;
} patu_lease;

typedef struct patu_leases patu_leases;
PATU_C_API size_t patu_leases_count(const patu_leases *leases);
PATU_C_API const patu_lease *patu_leases_at(const patu_leases *leases, size_t index);
PATU_C_API void patu_leases_free(patu_leases *leases);

// Leases live in a pinned map and are shared by all processes. A network has pools of its own for its subnets; open one only
// for addresses that are given out otherwise.
typedef struct patu_address_pool patu_address_pool;

// Writes nothing. Errors: invalid_argument (a range outside of the prefix, no usable address, …). Since 0.1.
PATU_C_API patu_status patu_address_pool_open(const patu_datapath *datapath, const patu_subnet *subnet,
                                              patu_address_pool **pool, patu_error **err);
PATU_C_API void patu_address_pool_close(patu_address_pool *pool);

// Leases `requested`, or, where that is NULL, a free address in turn: never one that was released less than 60 s ago while
// another is free (of twice as many as there may be pods; what was released before those counts as rested). An owner that
// already has a lease in this pool gets the same again. `address` is optional.
// Errors: exhausted (no free address, or the map of leases is full), already_exists (the owner has another address of this
//   family; or the one requested is somebody else's), invalid_argument (requested: outside of the prefix, or the gateway),
//   timed_out, io. Since 0.1.
PATU_C_API patu_status patu_address_pool_acquire(patu_address_pool *pool, const patu_attachment_id *owner,
                                                 const patu_address *requested, patu_address *address,
                                                 patu_error **err);
// Gives back what the owner has here; success where it has nothing. Errors: timed_out, io. Since 0.1.
PATU_C_API patu_status patu_address_pool_release(patu_address_pool *pool, const patu_attachment_id *owner,
                                                 patu_error **err);
// The owner's address in this pool. Errors: not_found, io. Since 0.1.
PATU_C_API patu_status patu_address_pool_find(const patu_address_pool *pool, const patu_attachment_id *owner,
                                              patu_address *address, patu_error **err);
// All leases of the pool, by address. O(leases). Errors: io, protocol. Since 0.1.
PATU_C_API patu_status patu_address_pool_list(const patu_address_pool *pool, patu_leases **leases, patu_error **err);
// A value: never changes its size.
typedef struct patu_pool_usage {
  uint64_t capacity;  // addresses that can be handed out; at most 2^64 - 1
  uint64_t leased;    // of these and of the reserved ones
  uint64_t free;      // of the former; 0: acquire is exhausted but for a requested address
} patu_pool_usage;

// O(leases). Errors: io. Since 0.1.
PATU_C_API patu_status patu_address_pool_usage(const patu_address_pool *pool, patu_pool_usage *usage, patu_error **err);
// With its defaults filled in; lives as long as the handle. NULL for NULL. Since 0.1.
PATU_C_API const patu_subnet *patu_address_pool_subnet(const patu_address_pool *pool);

// ---- Networks: a bridge and the pods on it

#define PATU_NETWORK_NO_GATEWAY 1u        // the bridge gets no address; goes with PATU_NETWORK_NO_DEFAULT_ROUTE
#define PATU_NETWORK_NO_DEFAULT_ROUTE 2u  // pods get no default route through the gateway
#define PATU_NETWORK_SOCKET_REDIRECT 4u   // pods that do not say otherwise choose socket redirection
// Takes other addresses of the subnets' families off the bridge, instead of refusing it: in IPv6 those that overlap only.
#define PATU_NETWORK_FORCE_GATEWAY 8u
// These two count for the pods that are attached from now on; others keep what they have.
#define PATU_NETWORK_HAIRPIN 16u      // pods' ports send back what they receive where it is for themselves
#define PATU_NETWORK_ISOLATED 64u     // pods of the bridge do not reach each other, but the node and what is beyond it
#define PATU_NETWORK_PROMISCUOUS 32u  // the bridge receives every frame; not together with hairpin
// Pods' IPv6 addresses are probed for duplicates; attach then waits for that, 1 to 2 s, and fails with already_exists if
// somebody answers.
#define PATU_NETWORK_DUPLICATE_ADDRESS_DETECTION 128u

#define PATU_ROUTE_SCOPE 1u  // `scope` is given

// A route that the pods of a network get, through their interface.
typedef struct patu_route {
  size_t struct_size;
  patu_prefix destination;  // 0.0.0.0/0 or ::/0: a default route
  patu_address gateway;     // all zero: the gateway of the pod's subnet of that family
  uint32_t mtu;             // bytes; 0: the interface's
  uint32_t advmss;          // bytes; 0: what follows from the MTU
  uint32_t priority;        // the metric; 0: the kernel's default
  uint32_t table;           // 0: the main table
  uint32_t flags;           // PATU_ROUTE_*
  uint32_t scope;  // rtnetlink(7): 0 universe, 253 link, 254 host; without the flag universe, link without a gateway
  uint32_t reserved;
} patu_route;
#define PATU_ROUTE_INIT \
  { sizeof(patu_route), {{{0}}, 0}, {{0}}, 0, 0, 0, 0, 0, 0, 0 }

typedef struct patu_network_options {
  size_t struct_size;
  const char *bridge;  // 1 to 15 bytes
  // Pods get one address of each family that occurs, from the first subnet that has a free one. None: pods get no address, what
  // they send is not checked, and the fast path is not theirs; goes with PATU_NETWORK_NO_DEFAULT_ROUTE.
  const patu_subnet *subnets;
  size_t subnet_count;
  // A connection from or to one of these is never redirected; of several networks on a bridge the last open counts.
  const uint16_t *redirect_excluded_ports;
  size_t redirect_excluded_port_count;
  const patu_netns *netns;  // in which the bridge lives; NULL: the caller's
  uint32_t mtu;             // bytes; 1280 to 65535 with IPv6, 68 to 65535 without; 0: 1500
  uint32_t flags;           // PATU_NETWORK_*
  // Tells networks apart that share a bridge: an attachment belongs to the network of the name that it was made with, and every
  // verb but remove leaves those of another name alone. At most 255 bytes. NULL: the bridge's name.
  const char *name;
  const patu_route *routes;  // what pods get beside their default route; a default route among them stands in for it
  size_t route_count;
} patu_network_options;
#define PATU_NETWORK_OPTIONS_INIT \
  { sizeof(patu_network_options), NULL, NULL, 0, NULL, 0, NULL, 0, 0, NULL, NULL, 0 }

#define PATU_POD_SOCKET_REDIRECT 1u  // this or the next; neither: as the network has it
#define PATU_POD_NO_SOCKET_REDIRECT 2u
// What the pod connects or sends to is never resolved: for pods with a service mesh's proxy or a virtual machine in them. Holds
// for the whole namespace, as long as one of its attachments says so. Kernel: 5.14.
#define PATU_POD_NO_SERVICES 4u

typedef struct patu_pod_spec {
  size_t struct_size;
  patu_attachment_id id;
  const patu_netns *netns;        // the pod's namespace; never NULL
  const patu_address *addresses;  // at most one of each family; a family without is served from the pool
  size_t address_count;
  uint32_t flags;  // PATU_POD_*
  patu_mac mac;    // all zero: derived from the address
  uint16_t reserved[3];
} patu_pod_spec;
#define PATU_POD_SPEC_INIT                                              \
  {                                                                     \
    sizeof(patu_pod_spec), {NULL, NULL}, NULL, NULL, 0, 0, {{0}}, { 0 } \
  }

typedef struct patu_attachment {
  size_t struct_size;
  patu_attachment_id id;
  const char *host_ifname;                  // derived from the id
  const patu_interface_address *addresses;  // of the pod's interface, IPv4 first
  size_t address_count;
  const patu_address *gateways;  // of each address's subnet
  size_t gateway_count;
  uint32_t host_ifindex;
  uint32_t mtu;    // bytes
  uint32_t flags;  // PATU_POD_*; one of the two about socket redirection is set
  patu_mac mac;    // of the pod's interface
  patu_mac host_mac;
} patu_attachment;

typedef struct patu_attachments patu_attachments;
PATU_C_API size_t patu_attachments_count(const patu_attachments *attachments);
PATU_C_API const patu_attachment *patu_attachments_at(const patu_attachments *attachments, size_t index);
PATU_C_API void patu_attachments_free(patu_attachments *attachments);

// patu_deviation.kind
#define PATU_DEVIATION_ATTACHMENT 0      // attach or detach was not completed, or the interface is gone
#define PATU_DEVIATION_BRIDGE 1          // gone
#define PATU_DEVIATION_HOST_INTERFACE 2  // the host's end: down, on another bridge, in other modes, of another MTU
#define PATU_DEVIATION_PROGRAM 3         // not attached to the host's end
#define PATU_DEVIATION_LEASE 4           // of an address, missing or somebody else's
#define PATU_DEVIATION_MAP_ENTRY 5
#define PATU_DEVIATION_POD_INTERFACE 6  // the pod's end: of somebody else, down, with another MAC; or lo is down
#define PATU_DEVIATION_POD_MTU 7
#define PATU_DEVIATION_POD_ADDRESS 8
#define PATU_DEVIATION_POD_ROUTE 9

// One thing about an attachment that is not as attach left it.
typedef struct patu_deviation {
  size_t struct_size;
  patu_attachment_id id;
  const char *what;                // a sentence
  const patu_prefix *destination;  // of the route; NULL for any other kind
  uint32_t kind;                   // PATU_DEVIATION_*; later versions may know more
  uint32_t reserved;
} patu_deviation;

typedef struct patu_deviations patu_deviations;
PATU_C_API size_t patu_deviations_count(const patu_deviations *deviations);
PATU_C_API const patu_deviation *patu_deviations_at(const patu_deviations *deviations, size_t index);
PATU_C_API void patu_deviations_free(patu_deviations *deviations);

typedef struct patu_reconcile_report {
  size_t struct_size;
  const patu_ids *detached;        // attachments that nobody claims any more, or whose peer is gone
  const patu_addresses *released;  // leases that belonged to no interface
  const patu_ids *repaired;        // attachments whose map entries or programs had been lost
} patu_reconcile_report;
PATU_C_API void patu_reconcile_report_free(patu_reconcile_report *report);

typedef struct patu_network patu_network;

// Creates the bridge, or adopts one that is as asked for; puts back into the maps what they have lost. A bridge that was not up
// takes no router advertisements (accept_ra); where /proc/sys is read-only a network without subnets is refused.
// Errors: invalid_argument, already_exists (an interface of that name that is no bridge, or a bridge with another MTU or with
//   addresses in the gateways' way: any other IPv4 one, or an IPv6 one that overlaps), busy (the instance serves another
//   namespace), unsupported, permission_denied, timed_out, io. Since 0.1.
PATU_C_API patu_status patu_network_open(const patu_datapath *datapath, const patu_network_options *options,
                                         patu_network **network, patu_error **err);
// Makes and changes nothing: for whoever only takes away, looks or repairs, also where the bridge is gone (then its index is 0)
// or was made with other options. attach needs the bridge, and then says what is wrong with the options. An address of an
// attachment that is in none of these subnets is told with length 32 or 128. Errors: invalid_argument, busy, permission_denied,
// io. Since 0.1.
PATU_C_API patu_status patu_network_adopt(const patu_datapath *datapath, const patu_network_options *options,
                                          patu_network **network, patu_error **err);
PATU_C_API void patu_network_close(patu_network *network);

// Makes the interface in each pod's namespace, complete: addresses, routes, loopback up, fast path. It can be used at once;
// there is no duplicate address detection to wait for, unless the options ask for it. All of them or none. The same again is a
// success and changes nothing; what a killed process left half made is made anew, and what was lost is put back. `attachments`,
// optional: in the order of the specs.
// Errors: invalid_argument, already_exists (the id is attached elsewhere, in another network or with other addresses, or the
//   pod has an interface of that name), exhausted (addresses, or a map; after a reconcile that found nothing to free),
//   not_found (the bridge is gone), unsupported (socket redirection is not loaded; PATU_POD_NO_SERVICES before Linux 5.14),
//   busy (the instance serves another namespace by now), permission_denied, timed_out, io. Since 0.1.
PATU_C_API patu_status patu_network_attach(patu_network *network, const patu_pod_spec *specs, size_t count,
                                           patu_attachments **attachments, patu_error **err);
// Removes interfaces, addresses (also those of subnets that are not the network's any more) and map entries, and returns when
// they are gone: the kernel takes 14 to 20 ms for one, and under 1 ms each for 50. Success where there is nothing.
// Errors: busy (as above), timed_out, io. Since 0.1.
PATU_C_API patu_status patu_network_detach(patu_network *network, const patu_attachment_id *ids, size_t count,
                                           patu_error **err);
// For a pod whose namespace is about to be destroyed, which takes the interface with it: gives back the addresses and map
// entries, cuts the interface off from the bridge, and does not wait for its removal. Errors: busy (as above), timed_out, io.
// Since 0.1.
PATU_C_API patu_status patu_network_abandon(patu_network *network, const patu_attachment_id *id, patu_error **err);
// Every deviation from what attach makes, none if all is well. `id` NULL: of all attachments, from the outside. `netns`, if not
// NULL, is the pod's, whose inside is looked at too; it needs an `id`. Errors: not_found (no such attachment), timed_out, io.
// Since 0.1.
PATU_C_API patu_status patu_network_check(const patu_network *network, const patu_attachment_id *id,
                                          const patu_netns *netns, patu_deviations **deviations, patu_error **err);
// All attachments of this network, by id. Errors: io, protocol. Since 0.1.
PATU_C_API patu_status patu_network_list(const patu_network *network, patu_attachments **attachments, patu_error **err);
// A list of this one. Errors: not_found, io, protocol. Since 0.1.
PATU_C_API patu_status patu_network_find(const patu_network *network, const patu_attachment_id *id,
                                         patu_attachments **attachments, patu_error **err);
// Repairs what a killed process or a lost map left: leases without an interface, interfaces without map entries.
// `report` is optional. Errors: busy (as above), timed_out, io. Since 0.1.
PATU_C_API patu_status patu_network_reconcile(patu_network *network, patu_reconcile_report **report, patu_error **err);
// The same, and detaches whatever is not in `keep`; with a count of 0, everything. Errors: busy (as above), timed_out, io.
// Since 0.1.
PATU_C_API patu_status patu_network_reconcile_keep(patu_network *network, const patu_attachment_id *keep, size_t count,
                                                   patu_reconcile_report **report, patu_error **err);
// Removes the bridge. Success where it is gone. Errors: busy (pods are attached, of whatever network, or something else is on
// the bridge; or as above), timed_out, io. Since 0.1.
PATU_C_API patu_status patu_network_remove(patu_network *network, patu_error **err);
// The bridge's name; lives as long as the handle. "" for NULL. Since 0.1.
PATU_C_API const char *patu_network_bridge(const patu_network *network);
// 0 for NULL. Since 0.1.
PATU_C_API uint32_t patu_network_bridge_ifindex(const patu_network *network);
// The bridge's own, set when it was made; all zero if there is no bridge. Since 0.1.
PATU_C_API patu_status patu_network_bridge_mac(const patu_network *network, patu_mac *mac, patu_error **err);

// ---- Services

#define PATU_TCP 6  // numbers of IANA's protocol registry
#define PATU_UDP 17

// patu_frontend.kind
#define PATU_FRONTEND_CLUSTER 0        // a virtual address of its own (ClusterIP): its other ports are refused
#define PATU_FRONTEND_LOAD_BALANCER 1  // an address that something outside announces; its other ports are ordinary
#define PATU_FRONTEND_EXTERNAL 2       // the same, translated only while it is one of the node's own (CVE-2020-8554)
#define PATU_FRONTEND_NODE_PORT 3      // a port of every address of the node; the address given is 0.0.0.0 or ::
#define PATU_FRONTEND_HOST_PORT 4      // the same, or of one address of the node

// patu_frontend.flags, both for node ports, and for host ports on the unspecified address
#define PATU_FRONTEND_LOOPBACK 1u      // also through 127.0.0.1 or ::1, for processes in the node's own namespace
#define PATU_FRONTEND_RESERVE_PORT 2u  // bind(2) to the port fails there, to 127.0.0.1 and ::1 only with both flags

typedef struct patu_frontend {
  patu_endpoint endpoint;
  uint8_t protocol;  // PATU_TCP or PATU_UDP; 0: TCP
  uint8_t kind;      // PATU_FRONTEND_*
  uint32_t flags;    // PATU_FRONTEND_LOOPBACK, PATU_FRONTEND_RESERVE_PORT
  uint32_t reserved[2];
} patu_frontend;

// patu_backend.state
#define PATU_BACKEND_ACTIVE 0
#define PATU_BACKEND_TERMINATING 1  // chosen only while no backend of the family is active; who talks to it, goes on
#define PATU_BACKEND_MAINTENANCE 2  // never chosen; who talks to it already, goes on

// patu_backend.flags
#define PATU_BACKEND_LOCAL 1u  // runs on this node; see PATU_SERVICE_INTERNAL_LOCAL

typedef struct patu_backend {
  patu_endpoint endpoint;
  uint16_t weight;  // 1 to 256: its share of new conversations, relative to the others'; 0: 1
  uint32_t flags;   // PATU_BACKEND_LOCAL
  uint8_t state;    // PATU_BACKEND_*
  uint8_t reserved[7];
} patu_backend;

// patu_service.flags
#define PATU_SERVICE_INTERNAL_LOCAL 1u  // frontends of kind cluster lead to backends of this node alone
#define PATU_SERVICE_CLOSE_TCP 2u       // also closes TCP connections to backends that are taken out

typedef struct patu_service {
  size_t struct_size;
  const char *name;                // 1 to 187 bytes without control characters, such as "namespace/name:port"
  const patu_frontend *frontends;  // 1 to 1024; two services never share one
  size_t frontend_count;
  const patu_backend *backends;  // at most 1024; a client meets those of its frontend's family
  size_t backend_count;
  // A pod stays with a backend while it can be chosen and until it has not asked for this long; at most one day. 0: it does
  // not.
  uint32_t affinity_seconds;
  uint32_t flags;  // PATU_SERVICE_*
} patu_service;
#define PATU_SERVICE_INIT \
  { sizeof(patu_service), NULL, NULL, 0, NULL, 0, 0, 0 }

typedef struct patu_services patu_services;
PATU_C_API size_t patu_services_count(const patu_services *services);
PATU_C_API const patu_service *patu_services_at(const patu_services *services, size_t index);
PATU_C_API void patu_services_free(patu_services *services);

// Sockets that were closed because the backend they talked to is gone.
typedef struct patu_closed_sockets {
  uint32_t closed;
  uint32_t namespaces;   // looked into
  uint32_t unreachable;  // that could not be looked into, for want of privileges; the sockets there stay
  uint32_t reserved;
} patu_closed_sockets;

#define PATU_SYNC_ALLOW_EMPTY 1u  // an empty list is a lost API server more often than a wish
#define PATU_SYNC_DRY_RUN 2u      // reports, and writes nothing

// A service that sync could not take; it is as it was before.
typedef struct patu_refusal {
  size_t struct_size;
  const char *name;
  const char *reason;
  patu_status code;
  uint32_t reserved;
} patu_refusal;

typedef struct patu_refusals patu_refusals;
PATU_C_API size_t patu_refusals_count(const patu_refusals *refusals);
PATU_C_API const patu_refusal *patu_refusals_at(const patu_refusals *refusals, size_t index);

typedef struct patu_sync_report {
  size_t struct_size;
  const patu_names *added;  // names of services, sorted, as in the next two
  const patu_names *changed;
  const patu_names *removed;
  const patu_refusals *refused;
  size_t unchanged;
  patu_closed_sockets closed;
} patu_sync_report;
PATU_C_API void patu_sync_report_free(patu_sync_report *report);

// Since the service was made; kept through changes of it.
typedef struct patu_service_stats {
  size_t struct_size;
  const char *name;
  uint64_t connects;       // times a socket was given a backend
  uint64_t refused;        // times there was none, or no memory to remember it
  uint64_t retries;        // times the choice was made again, because the service changed under it
  uint64_t affinity_hits;  // choices that affinity made
} patu_service_stats;

typedef struct patu_stats patu_stats;
PATU_C_API size_t patu_stats_count(const patu_stats *stats);
PATU_C_API const patu_service_stats *patu_stats_at(const patu_stats *stats, size_t index);
PATU_C_API void patu_stats_free(patu_stats *stats);

// How full a map is.
typedef struct patu_gauge {
  size_t struct_size;
  const char *name;
  uint64_t used;
  uint64_t limit;
} patu_gauge;

typedef struct patu_gauges patu_gauges;
PATU_C_API size_t patu_gauges_count(const patu_gauges *gauges);
PATU_C_API const patu_gauge *patu_gauges_at(const patu_gauges *gauges, size_t index);
PATU_C_API void patu_gauges_free(patu_gauges *gauges);

// patu_explanation.verdict
#define PATU_VERDICT_UNTOUCHED 0   // an ordinary address
#define PATU_VERDICT_TRANSLATED 1  // to one of `candidates`
#define PATU_VERDICT_REFUSED 2     // with ECONNREFUSED

typedef struct patu_explanation {
  size_t struct_size;
  const char *why;                 // one sentence
  const char *service;             // NULL if none is concerned
  const patu_frontend *frontend;   // that matched; NULL if none did
  const patu_backend *candidates;  // that would be chosen from; by weight, unless affinity decides
  size_t candidate_count;
  const patu_endpoint *preferred;  // affinity's choice for the namespace; NULL if there is none
  uint32_t verdict;                // PATU_VERDICT_*
  uint32_t reserved;
} patu_explanation;
PATU_C_API void patu_explanation_free(patu_explanation *explanation);

// The services of an instance. connect(2) and sendmsg(2) to a frontend, from a process in the data path's cgroup, go to a
// backend chosen at random by weight instead; they fail at once with ECONNREFUSED (EPERM before Linux 6.1) if there is none.
typedef struct patu_service_table patu_service_table;

// Writes nothing. `node` is the namespace whose addresses node ports are on, borrowed for the call; NULL: the caller's.
// Errors: permission_denied, io. Since 0.1.
PATU_C_API patu_status patu_service_table_open(const patu_datapath *datapath, const patu_netns *node,
                                               patu_service_table **table, patu_error **err);
PATU_C_API void patu_service_table_close(patu_service_table *table);

// Makes the service be exactly this; writes nothing if it is already. Every connect meets the old backends or the new ones, per
// frontend, never a mixture and never none. O(frontends and backends). Then closes sockets that talk to what was taken out.
// Errors: invalid_argument, unsupported, already_exists (a frontend is another service's; it is named), exhausted (a map is
//   full; which one is named), timed_out, io. Since 0.1.
PATU_C_API patu_status patu_service_table_upsert(patu_service_table *table, const patu_service *service,
                                                 patu_error **err);
// Connections that exist live on; the frontends' addresses are ordinary addresses again. Success where there is none.
// Errors: exhausted (sockets of so many backends are still to be closed that these cannot be noted), timed_out, io. Since 0.1.
PATU_C_API patu_status patu_service_table_remove(patu_service_table *table, const char *name, patu_error **err);
// Makes the table be exactly this: what differs is written, in batches, each frontend by itself. What is invalid, or does not
// fit, is refused by name in the report while the others go in. `flags`: PATU_SYNC_*. `report` is optional.
// O(services) to read, O(what differs) to write.
// Errors: invalid_argument (empty without PATU_SYNC_ALLOW_EMPTY; a name twice), exhausted (a map, for all services), timed_out,
//   io: part may be done. Since 0.1.
PATU_C_API patu_status patu_service_table_sync(patu_service_table *table, const patu_service *services, size_t count,
                                               uint32_t flags, patu_sync_report **report, patu_error **err);
// A list of this one, read from the kernel; frontends and backends are sorted, IPv4 first.
// Errors: not_found, timed_out, io, protocol. Since 0.1.
PATU_C_API patu_status patu_service_table_find(const patu_service_table *table, const char *name,
                                               patu_services **services, patu_error **err);
// All of them, sorted by name, as they were at one moment. Errors: timed_out, io, protocol. Since 0.1.
PATU_C_API patu_status patu_service_table_list(const patu_service_table *table, patu_services **services,
                                               patu_error **err);
// Of all services, sorted by name. Errors: timed_out, io. Since 0.1.
PATU_C_API patu_status patu_service_table_stats(const patu_service_table *table, patu_stats **stats, patu_error **err);
// How full each map of services is. Errors: timed_out, io. Since 0.1.
PATU_C_API patu_status patu_service_table_fill(const patu_service_table *table, patu_gauges **gauges, patu_error **err);
// What the kernel would do with a socket that connects to `to`, and why. `protocol`: PATU_TCP, PATU_UDP; 0: TCP. `from`: the
// namespace of the socket; NULL: one that is neither the node's nor an exempt pod's. Errors: unsupported and permission_denied
// (of `from`), timed_out, io, protocol.
// Kernel: 5.10, 5.14 with `from`. Since 0.1.
PATU_C_API patu_status patu_service_table_explain(const patu_service_table *table, const patu_endpoint *to,
                                                  uint32_t protocol, const patu_netns *from,
                                                  patu_explanation **explanation, patu_error **err);
// Reads the node's addresses again: after one of them has changed. `addresses`, optional: what it found, sorted; loopback and
// link-local ones are not among them. Errors: exhausted (more than the map holds), permission_denied, timed_out, io. Since 0.1.
PATU_C_API patu_status patu_service_table_refresh_node_addresses(patu_service_table *table, patu_addresses **addresses,
                                                                 patu_error **err);
// Closes sockets whose backend was taken out of its service: UDP sockets that are connected to it, and TCP connections if the
// service says so. recv(2) on such a socket says ECONNABORTED; send(2) too, or EDESTADDRREQ if it is a UDP socket. Upsert,
// remove and sync do it by themselves; call it after they were killed or lacked privileges. `closed` is optional.
// Errors: unsupported (neither bpf_sock_destroy nor CONFIG_INET_DIAG_DESTROY), timed_out, io.
// Kernel: 6.5, or one with CONFIG_INET_DIAG_DESTROY. Since 0.1.
PATU_C_API patu_status patu_service_table_close_stale_sockets(patu_service_table *table, patu_closed_sockets *closed,
                                                              patu_error **err);

// ---- Events of services

// patu_event.kind
#define PATU_EVENT_NO_BACKEND 1         // a socket was refused
#define PATU_EVENT_RETRIES_EXHAUSTED 2  // the same, because the service changed under every try
#define PATU_EVENT_AFFINITY_FULL 3      // the choice could not be remembered for the pod: map `affinity` is full
#define PATU_EVENT_OUT_OF_MEMORY 4      // a socket was refused, because the kernel had no memory to remember its choice
#define PATU_EVENT_PEERS_FULL 5  // an unconnected UDP socket talks to so many services that the oldest was forgotten

typedef struct patu_event {
  size_t struct_size;
  const char *service;     // NULL if it is gone
  uint64_t netns_cookie;   // of the socket
  uint64_t time_ns;        // CLOCK_MONOTONIC
  patu_frontend frontend;  // that the socket asked for: endpoint and protocol alone
  uint32_t kind;           // PATU_EVENT_*; later versions may add some
  uint32_t reserved;
} patu_event;

typedef struct patu_events patu_events;
PATU_C_API size_t patu_events_count(const patu_events *events);
PATU_C_API const patu_event *patu_events_at(const patu_events *events, size_t index);
PATU_C_API void patu_events_free(patu_events *events);

// What happens to services, at most one event a second for each; lost while nobody reads.
typedef struct patu_event_reader patu_event_reader;

// One reader of an instance at a time. Errors: busy (somebody reads them already), timed_out, io. Since 0.1.
PATU_C_API patu_status patu_event_reader_open(const patu_service_table *table, patu_event_reader **reader,
                                              patu_error **err);
PATU_C_API void patu_event_reader_close(patu_event_reader *reader);
// Borrowed; readable when there is an event: for poll(2), select(2) and epoll(7). -1 for NULL. Since 0.1.
PATU_C_API int32_t patu_event_reader_fd(const patu_event_reader *reader);
// What there is, perhaps nothing, without waiting. Errors: io. Since 0.1.
PATU_C_API patu_status patu_event_reader_read(patu_event_reader *reader, patu_events **events, patu_error **err);

#ifdef __cplusplus
}
#endif

#endif
