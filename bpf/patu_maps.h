/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every byte that patu's programs and patu's library share, declared once for both sides.
 *
 * Addresses are 16 bytes in network order, IPv4 mapped into IPv6. Integers are the machine's own unless they are __be.
 * Keys have no padding: the kernel compares every byte.
 */
#pragma once

#include <linux/bpf.h> /* struct bpf_spin_lock */
#include <linux/types.h>

#ifdef __cplusplus
#define PATU_LAYOUT(type, bytes) static_assert(sizeof(type) == (bytes))
/* The C ABI has structs of the same names at global scope, in the same library. */
namespace patu
{
inline namespace kernel
{
#else
#define PATU_LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#endif

/* Of the shapes below; part of the pins' path. What has another number is never touched. */
#define PATU_MAPS_VERSION 1
#define PATU_MAGIC 0x55544150u /* "PATU" */

struct patu_addr {
	__u8 bytes[16];
};
PATU_LAYOUT(struct patu_addr, 16);

/* ---- the instance ---------------------------------------------------------------------------------------------- */

#define PATU_COMPONENTS 3
#define PATU_COMPONENT_POD 0
#define PATU_COMPONENT_SERVICE 1
#define PATU_COMPONENT_REDIRECT 2

/* meta[0]: written by the library only. */
struct patu_meta {
	__u32 magic;
	__u32 version;
	__u64 build[PATU_COMPONENTS]; /* fingerprint of each object whose programs are pinned; 0: not loaded */
	__u64 ports_build;            /* of the pod program that every port runs; set when all do */
	__u64 netns_cookie;           /* of the namespace that the bridges live in; 0: not known */
	__u64 reserved;
	__u32 reserved2;
	__u32 features; /* PATU_FEATURE_*, found when the instance was loaded */
};
PATU_LAYOUT(struct patu_meta, 64);

#define PATU_FEATURE_SET_RETVAL 1u   /* 6.1: bpf_set_retval in connect hooks */
#define PATU_FEATURE_NETNS_COOKIE 2u /* 5.14: SO_NETNS_COOKIE */
#define PATU_FEATURE_REDIRECT 4u     /* the probes of socket redirection passed */
#define PATU_FEATURE_FIONREAD_OK 8u  /* FIONREAD counts TCP's bytes on a socket in the map */

/* settings[0]: read by the programs on every run. */
struct patu_settings {
	__u32 redirect_enabled;
	__u32 redirect_limit_bytes; /* that may wait at a receiver before the sender goes on through TCP */
	__u32 reserved[2];
};
PATU_LAYOUT(struct patu_settings, 16);

/* ---- pods and addresses ---------------------------------------------------------------------------------------- */

#define PATU_POD_REDIRECT 1u    /* chose socket redirection */
#define PATU_POD_NO_SERVICES 2u /* its namespace is in `exempt` */
#define PATU_POD_ISOLATED 4u    /* its port reaches no other isolated port of the bridge */
#define PATU_POD_HAIRPIN 8u     /* its port sends back what is for itself; for the library alone */

/* pods[address]: the address is a pod's of this node. */
struct patu_pod {
	__u64 netns_cookie; /* 0: not known, never redirected */
	__u32 ifindex;      /* of the host's end */
	__u32 bridge_ifindex;
	__u8 mac[6]; /* of the pod's end */
	__u16 flags; /* PATU_POD_* */
};
PATU_LAYOUT(struct patu_pod, 24);

/* pods[patu_link_local(ifindex, mac)]: the same record under the address that IPv6 gives the pod by itself, so that
 * link-local traffic and duplicate address detection can be checked. Every pod with an IPv6 address has it, with
 * netns_cookie 0. It is fe80::<EUI-64 of the MAC> (RFC 4291) with the ifindex of the host's end in bytes 4 to 7, which
 * are zero on the wire: pods of two bridges may have the same MAC. With ifindex 0 it is the address itself. */
static inline struct patu_addr patu_link_local(__u32 ifindex, const __u8 *mac)
{
	struct patu_addr addr = {
		{0xfe, 0x80, 0, 0, 0, 0, 0, 0, (__u8)(mac[0] ^ 2), mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}};
	__builtin_memcpy(addr.bytes + 4, &ifindex, sizeof(ifindex));
	return addr;
}

#define PATU_ID_BYTES 128
#define PATU_IFNAME_BYTES 16

/* leases[address]: whose it is. The insert that must not exist is what decides. */
struct patu_lease {
	__u8 container_id[PATU_ID_BYTES]; /* zero padded; 128 bytes have no zero */
	__u8 ifname[PATU_IFNAME_BYTES];
	__u64 acquired_ns; /* CLOCK_BOOTTIME */
};
PATU_LAYOUT(struct patu_lease, 152);

/* attachments[host interface name]: its addresses. An index for speed: links and leases are the truth. */
struct patu_ifname {
	__u8 bytes[PATU_IFNAME_BYTES];
};
PATU_LAYOUT(struct patu_ifname, 16);

struct patu_attachment {
	struct patu_addr v4; /* all zero: none */
	struct patu_addr v6;
};
PATU_LAYOUT(struct patu_attachment, 32);

/* cursors[range]: where the next process goes on. A hint: `leases` decides. Added to version 1 later: it may be missing. */
struct patu_range {
	struct patu_addr first;
	struct patu_addr last;
};
PATU_LAYOUT(struct patu_range, 32);

/* ---- services -------------------------------------------------------------------------------------------------- */

#define PATU_SCOPE_ADDRESS 0 /* of the address in the key */
#define PATU_SCOPE_NODE 1    /* of every address of the node; the key's is 0.0.0.0 or :: */
#define PATU_SCOPE_OUTSIDE 2 /* not used yet: the same frontend as traffic from outside the node meets it */

struct patu_frontend_key {
	struct patu_addr addr;
	__be16 port;
	__u8 protocol;
	__u8 scope;
};
PATU_LAYOUT(struct patu_frontend_key, 20);

/* The word is one load: which slots, how many, their generation, and a tag that says which frontend it belongs to, because
 * the kernel recycles elements of a hash under its readers. From the low bit: base 22, count 13, generation 13, tag 16. */
#define PATU_WORD_BASE_BITS 22
#define PATU_WORD_COUNT_BITS 13
#define PATU_WORD_GENERATION_BITS 13
#define PATU_WORD_TAG_BITS 16

/* patu_frontend.flags */
#define PATU_FRONTEND_KIND 0x7u      /* FrontendKind */
#define PATU_FRONTEND_LOOPBACK 0x8u  /* also through the loopback addresses, for the node's own processes */
#define PATU_FRONTEND_RESERVED 0x10u /* nobody may bind to the port in the node's namespace */

#define PATU_KIND_CLUSTER 0u
#define PATU_KIND_LOAD_BALANCER 1u
#define PATU_KIND_EXTERNAL 2u
#define PATU_KIND_NODE_PORT 3u
#define PATU_KIND_HOST_PORT 4u

/* Of PATU_SCOPE_ADDRESS: translated only while the address is one of the node's own. */
static inline int patu_is_node_only(__u32 flags)
{
	__u32 kind = flags & PATU_FRONTEND_KIND;

	return kind == PATU_KIND_EXTERNAL || kind == PATU_KIND_HOST_PORT;
}

struct patu_frontend {
	__u64 word;
	__u32 service_id;
	__u32 flags;              /* PATU_FRONTEND_* */
	__u32 affinity_timeout_s; /* 0: none */
	struct bpf_spin_lock
		lock; /* never taken here: with it the library can change an element in place (BPF_F_LOCK). An
				    * ordinary update replaces the element, and a reader that walks the bucket then can miss both */
};
PATU_LAYOUT(struct patu_frontend, 24);

static inline __u64 patu_word(__u32 base, __u32 count, __u32 generation, __u32 tag)
{
	return (__u64)(base & 0x3fffff) | (__u64)(count & 0x1fff) << 22 | (__u64)(generation & 0x1fff) << 35 |
	       (__u64)(tag & 0xffff) << 48;
}
static inline __u32 patu_word_base(__u64 word)
{
	return word & 0x3fffff;
}
static inline __u32 patu_word_count(__u64 word)
{
	return (word >> 22) & 0x1fff;
}
static inline __u32 patu_word_generation(__u64 word)
{
	return (word >> 35) & 0x1fff;
}
static inline __u32 patu_word_tag(__u64 word)
{
	return word >> 48;
}

/* FNV-1a over the words of the key, folded to 16 bits. */
static inline __u32 patu_frontend_tag(const struct patu_frontend_key *key)
{
	__u32 words[sizeof(*key) / sizeof(__u32)];
	__u32 hash = 2166136261u;

	__builtin_memcpy(words, key, sizeof(words));
	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); ++i) {
		hash = (hash ^ words[i]) * 16777619u;
		hash ^= hash >> 15;
	}
	return (hash ^ hash >> 16) & 0xffff;
}

/* One backend of one extent. Two to a cache line, so that none straddles one. A frontend's word leads to a view: slots of one
 * family that can be chosen, sorted by address and port, so that a program finds a backend in it by bisection. A choice is
 * one random number: its high part is a slot of the view; that slot is the choice if the low part, as a fraction of 2^32,
 * is not above `threshold`, and `alias` is otherwise (Walker's method: any weights, two loads). */
struct patu_slot {
	struct patu_addr addr;
	__be16 port;
	__u16 generation; /* as in the word of the frontend that owns the extent; 0: never written */
	__u32 threshold;  /* 0xffffffff: always this one */
	__u16 alias;      /* counted from the view's first slot */
	__u16 weight;
	__u8 state; /* BackendState */
	__u8 local;
	__u16 reserved;
};
PATU_LAYOUT(struct patu_slot, 32);

#define PATU_CHUNK_SLOTS 1024 /* slots of one inner array of `slots`: 32 KiB, added when they are needed */
#define PATU_CHUNKS 4096      /* 2^22 slots */
#define PATU_MAX_BACKENDS 1024

/* services[name, part]: the library's own record, so that a change needs no scan. Part 0 has the extent. */
#define PATU_SERVICE_NAME_BYTES 188
#define PATU_SERVICE_FRONTENDS 4
#define PATU_SERVICE_BANK 65536 /* a changed list goes into the other bank, and part 0 switches over */

struct patu_service_key {
	__u8 name[PATU_SERVICE_NAME_BYTES]; /* zero padded */
	__u32 part;
};
PATU_LAYOUT(struct patu_service_key, 192);

/* A frontend as a record has it. */
struct patu_listed_frontend {
	struct patu_frontend_key key;
	__u32 flags; /* PATU_FRONTEND_* */
};
PATU_LAYOUT(struct patu_listed_frontend, 24);

#define PATU_SERVICE_LOCAL 1u     /* TrafficPolicy::local */
#define PATU_SERVICE_CLOSE_TCP 2u /* with the backend go its connections */

/* The extent: all IPv4 backends, those of the view first; all IPv6 backends likewise; with PATU_SERVICE_LOCAL, copies of the
 * node's own IPv4 and then IPv6 backends, as views of their own. */
struct patu_service {
	__u64 changed; /* sequence of the table at the last change: of two records with one frontend the later is right */
	__u32 id;
	__u32 flags; /* PATU_SERVICE_* */
	__u32 base;  /* first slot of the extent */
	__u32 generation;
	__u16 v4_count; /* all backends of the family, and those of them in its view */
	__u16 v4_view;
	__u16 v6_count;
	__u16 v6_view;
	__u16 v4_local; /* of the copies */
	__u16 v6_local;
	__u16 frontend_count; /* of all parts */
	__u16 bank;           /* 0 or 1: further parts are numbered from bank * PATU_SERVICE_BANK + 1 */
	__u32 affinity_timeout_s;
	__u32 reserved;
	struct patu_listed_frontend frontends[PATU_SERVICE_FRONTENDS]; /* of this part */
};
PATU_LAYOUT(struct patu_service, 144);

/* service_table[0]: apart from meta, because whoever writes it holds another lock. Programs read `node_cookie` and
 * what follows it. */
struct patu_service_table {
	__u64 sequence;         /* + 2 a change; odd: under way, or its writer died and the next one puts it right */
	__u32 last_service_id;  /* ids are never used twice */
	__u32 frontend_entries; /* of the maps: a hash does not tell */
	__u32 service_entries;
	__u32 address_entries;
	__u32 stale_entries;
	__u32 has_node_addresses; /* they have been read at least once */
	__u64 node_cookie;        /* of the namespace whose addresses node ports are on; 0: not known */
	__u32 wildcards;          /* frontends of PATU_SCOPE_NODE: none, and nobody looks for them */
	__u32 reserved_ports;     /* frontends with PATU_FRONTEND_RESERVED */
	__u32 wants_events;       /* somebody reads `events` */
	__u32 reserved;
};
PATU_LAYOUT(struct patu_service_table, 56);

/* addresses[address] */
#define PATU_ADDRESS_NODE 1u /* the node's own: node ports and external addresses are served there */
struct patu_address {
	__u32 flags;    /* PATU_ADDRESS_* */
	__u32 clusters; /* frontends of kind cluster: what is none of them is refused */
	struct bpf_spin_lock
		lock; /* as in patu_frontend: nobody who looks an address up may miss it while it is counted */
};
PATU_LAYOUT(struct patu_address, 12);

/* counters[service id]: added to by the programs, made and removed by the library with the service. */
struct patu_counters {
	__u64 connects;
	__u64 refused;
	__u64 retries;
	__u64 affinity_hits;
	__u64 last_event_ns;
};
PATU_LAYOUT(struct patu_counters, 40);

/* A socket's backend and what its owner believes to talk to. `connected[socket]`; and of unconnected UDP sockets an array in
 * `datagrams[socket]`, and when that is full of services that are in use, in `more_datagrams[socket]`. */
struct patu_translation {
	struct patu_addr frontend;
	struct patu_addr backend;
	__be16 frontend_port; /* 0: unused */
	__be16 backend_port;
	__u32 service_id;
	__u32 slot; /* where the backend was last found */
	__u8 protocol;
	__u8 is_current; /* else kept for late answers alone */
	__u16 reserved;
};
PATU_LAYOUT(struct patu_translation, 48);

#define PATU_DATAGRAMS 4
#define PATU_MORE_DATAGRAMS 28
struct patu_datagrams {
	__u64 next; /* the one to be replaced, if all are current */
	struct patu_translation peers[PATU_DATAGRAMS];
};
PATU_LAYOUT(struct patu_datagrams, 200);
struct patu_more_datagrams {
	__u64 next;
	struct patu_translation peers[PATU_MORE_DATAGRAMS];
};
PATU_LAYOUT(struct patu_more_datagrams, 1352);

/* affinity[client, service]: entries that have timed out are removed by whoever changes the table. */
struct patu_affinity_key {
	__u64 netns_cookie;
	__u32 service_id;
	__u32 is_v6;
};
PATU_LAYOUT(struct patu_affinity_key, 16);
struct patu_affinity {
	struct bpf_spin_lock lock; /* first: without CAP_PERFMON the verifier allows no arithmetic that leads to it */
	__u32 slot;                /* where the backend was last found */
	__u64 last_ns;             /* CLOCK_BOOTTIME */
	struct patu_addr backend;
	__be16 port;
	__u16 reserved;
	__u32 timeout_s;
};
PATU_LAYOUT(struct patu_affinity, 40);

/* exempt[cookie of a network namespace]: nothing is resolved for its sockets. The value is the host's end of an interface whose
 * attachment says so (PATU_POD_NO_SERVICES); the entry goes with the last one of the namespace. */

/* stale[backend]: it was taken out of the service, and sockets that talk to it are still to be closed. */
struct patu_stale_key {
	struct patu_addr backend;
	__be16 port;
	__u8 protocol;
	__u8 reserved;
	__u32 service_id;
};
PATU_LAYOUT(struct patu_stale_key, 24);

/* What the program find_stale tells of a socket that talks to such a backend. */
struct patu_stale_socket {
	__u32 netns; /* inode number of its namespace; 0: it is not to be closed yet */
	__u32 protocol;
};
PATU_LAYOUT(struct patu_stale_socket, 8);

/* events: a ring buffer of these. */
struct patu_event {
	__u64 ns; /* CLOCK_MONOTONIC */
	__u64 netns_cookie;
	struct patu_frontend_key frontend;
	__u32 service_id;
	__u32 kind; /* ServiceEvent::Kind */
	__u32 reserved;
};
PATU_LAYOUT(struct patu_event, 48);
#define PATU_EVENT_NO_BACKEND 1u
#define PATU_EVENT_RETRIES 2u
#define PATU_EVENT_AFFINITY_FULL 3u
#define PATU_EVENT_NO_MEMORY 4u
#define PATU_EVENT_PEERS_FULL 5u

/* ---- socket redirection ---------------------------------------------------------------------------------------- */

/* sockets[this]: a socket by its own view of the connection, and the namespace that it lives in. */
struct patu_socket_key {
	struct patu_addr local;
	struct patu_addr remote;
	__u64 netns_cookie;
	__be16 local_port;
	__be16 remote_port;
	__u32 reserved;
};
PATU_LAYOUT(struct patu_socket_key, 48);

/* streams[socket]: what it sends, while both it and its peer are in `sockets`: a redirected prefix, then TCP. */
struct patu_progress {
	__u64 bytes;
	__u64 messages;
};
PATU_LAYOUT(struct patu_progress, 16);

struct patu_stream {
	struct patu_socket_key self;
	struct patu_socket_key peer;
	__u32 state;               /* PATU_STREAM_*; it leaves REDIRECTED once and never comes back */
	__u32 write_seq;           /* of TCP, when the connection was established */
	struct patu_progress sent; /* redirected so far */
	struct patu_progress
		mark;        /* `sent` at some earlier message: the peer has not been seen to have read all of that */
	__u64 read_messages; /* the peer has read these for certain, unless the kernel refused it memory */
	__u64 drained_messages; /* `sent.messages` when the peer was last seen with nothing to read */
	__u64 connecting_task;  /* who is inside connect(2), and a hash of its registers there */
	__u64 connecting_registers;
	__u64 connecting_call;
	__u64 writer;  /* the one task that has sent redirected messages, or PATU_STREAM_SEVERAL */
	__u32 leaving; /* PATU_STREAM_*: why to go over to TCP as soon as no other task is handing a message over */
	__u32 postponed;
};
PATU_LAYOUT(struct patu_stream, 192);

#define PATU_STREAM_SEVERAL 1u

#define PATU_STREAM_CONNECTING 0
#define PATU_STREAM_REDIRECTED 1
/* All others: TCP for good, and why. */
#define PATU_STREAM_SWITCHED_OFF 2 /* settings */
#define PATU_STREAM_POD_CHANGED 3  /* an address is no longer that pod's, or the pod no longer wants it */
#define PATU_STREAM_BYPASSED 4     /* bytes went through TCP without the program being asked */
#define PATU_STREAM_PROTOCOL 5     /* an upper layer protocol, such as kTLS, was put on either socket */
#define PATU_STREAM_NO_PEER 6      /* not in `sockets`, dead, or another connection's */
#define PATU_STREAM_FULL_BYTES 7   /* too much waits at the peer */
#define PATU_STREAM_FULL_MESSAGES 8
#define PATU_STREAM_NO_MEMORY 9 /* the kernel's TCP is short of it */
#define PATU_STREAM_CROWDED 10  /* too many threads wait to hand messages over */

#define PATU_STREAM_MAX_MESSAGES \
	4096 /* that may wait at a peer; the kernel accounts their bytes, not their 1 KiB of record */
#define PATU_STREAM_MAX_POSTPONED 8192  /* messages that are redirected after there is a reason not to */
#define PATU_STREAM_MAX_UNDRAINED 65536 /* the same, even if the kernel lost messages for want of memory in between */

/* excluded[bridge, port] */
struct patu_port_key {
	__u32 bridge_ifindex;
	__be16 port;
	__u16 reserved;
};
PATU_LAYOUT(struct patu_port_key, 8);

#ifdef __bpf__
/* The X below that makes a program's maps of the lists. */
#define PATU_DEFINE_MAP(map, kind, key_type, value_type, entries, flags) \
	struct {                                                         \
		__uint(type, kind);                                      \
		__uint(max_entries, entries);                            \
		__uint(map_flags, flags);                                \
		__type(key, key_type);                                   \
		__type(value, value_type);                               \
	} map SEC(".maps");
#endif

/* ---- maps: X(name, type, key, value, entries, flags) ------------------------------------------------------------- */
/* Entries are the smallest; DatapathOptions scales them. */

#define PATU_POD_MAPS(X)                                                                                       \
	X(meta, BPF_MAP_TYPE_ARRAY, __u32, struct patu_meta, 1, 0)                                             \
	X(settings, BPF_MAP_TYPE_ARRAY, __u32, struct patu_settings, 1, 0)                                     \
	X(pods, BPF_MAP_TYPE_HASH, struct patu_addr, struct patu_pod, 3072, BPF_F_NO_PREALLOC)                 \
	X(leases, BPF_MAP_TYPE_HASH, struct patu_addr, struct patu_lease, 2048, BPF_F_NO_PREALLOC)             \
	X(released, BPF_MAP_TYPE_HASH, struct patu_addr, __u64, 2048, BPF_F_NO_PREALLOC)                       \
	X(attachments, BPF_MAP_TYPE_HASH, struct patu_ifname, struct patu_attachment, 1024, BPF_F_NO_PREALLOC) \
	X(cursors, BPF_MAP_TYPE_HASH, struct patu_range, struct patu_addr, 256, BPF_F_NO_PREALLOC)

#define PATU_SERVICE_MAPS(X)                                                                                     \
	X(frontends, BPF_MAP_TYPE_HASH, struct patu_frontend_key, struct patu_frontend, 4096, BPF_F_NO_PREALLOC) \
	X(services, BPF_MAP_TYPE_HASH, struct patu_service_key, struct patu_service, 4096, BPF_F_NO_PREALLOC)    \
	X(service_table, BPF_MAP_TYPE_ARRAY, __u32, struct patu_service_table, 1, 0)                             \
	X(addresses, BPF_MAP_TYPE_HASH, struct patu_addr, struct patu_address, 4096, BPF_F_NO_PREALLOC)          \
	X(counters, BPF_MAP_TYPE_HASH, __u32, struct patu_counters, 4096, BPF_F_NO_PREALLOC)                     \
	X(affinity, BPF_MAP_TYPE_HASH, struct patu_affinity_key, struct patu_affinity, 4096, BPF_F_NO_PREALLOC)  \
	X(exempt, BPF_MAP_TYPE_HASH, __u64, __u32, 1024, BPF_F_NO_PREALLOC)                                      \
	X(stale, BPF_MAP_TYPE_HASH, struct patu_stale_key, __u32, 4096, BPF_F_NO_PREALLOC)                       \
	X(connected, BPF_MAP_TYPE_SK_STORAGE, int, struct patu_translation, 0, BPF_F_NO_PREALLOC)                \
	X(datagrams, BPF_MAP_TYPE_SK_STORAGE, int, struct patu_datagrams, 0, BPF_F_NO_PREALLOC)                  \
	X(more_datagrams, BPF_MAP_TYPE_SK_STORAGE, int, struct patu_more_datagrams, 0, BPF_F_NO_PREALLOC)

#define PATU_REDIRECT_MAPS(X) X(excluded, BPF_MAP_TYPE_HASH, struct patu_port_key, __u32, 1024, BPF_F_NO_PREALLOC)

/* Declared by hand, because their definitions need more than the above: `slots` (array of arrays of struct patu_slot),
 * `events` (RINGBUF of struct patu_event), `sockets` (SOCKHASH, struct patu_socket_key), `streams` (SK_STORAGE, the redirect programs' own). */

#ifdef __cplusplus
} /* namespace kernel */
} /* namespace patu */
#endif
