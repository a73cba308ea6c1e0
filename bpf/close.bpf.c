// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Closes sockets that still talk to a backend which was taken out of its service (`stale`), Linux 6.5.
 *
 * Iterators, run by read(2): one finds such sockets in all network namespaces at once, through what the hooks remember of
 * sockets; the others close those of one namespace. A socket is such a one only while its destination is the backend that it
 * was translated to: it may have been connected elsewhere since.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "patu_maps.h"

/* ---- the kernel's own types, as far as they are read ----------------------------------------------------------- */

#define KERNEL __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} KERNEL;

struct net {
	struct ns_common ns;
} KERNEL;

typedef struct {
	struct net *net;
} KERNEL possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
} KERNEL;

struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
} KERNEL;

struct sock; /* these begin with a sock_common */
struct udp_sock;
struct tcp_sock;
struct seq_file;

/* Contexts as <linux/bpf.h> of the kernel lays them out for programs, whatever its configuration; and the verifier knows their
 * types. Each type that is looked up by name in the kernel's BTF costs milliseconds. */
struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	void *map;
	struct sock *sk;
	void *value;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

extern int bpf_sock_destroy(struct sock_common *sock) __ksym;

#define AF_INET 2
#define AF_INET6 10

/* States of <net/tcp_states.h>; a connected UDP socket is in the first. */
#define ESTABLISHED 1
#define TIME_WAIT 6
#define CLOSED 7
#define LISTEN 10

/* ---- maps: the instance's, which the library puts in ----------------------------------------------------------- */

#define SHARED(map, ...) SHARED_##map(map, __VA_ARGS__)
#define SHARED_stale(...) PATU_DEFINE_MAP(__VA_ARGS__)
#define SHARED_connected(...) PATU_DEFINE_MAP(__VA_ARGS__)
#define SHARED_frontends(...)
#define SHARED_services(...)
#define SHARED_service_table(...)
#define SHARED_addresses(...)
#define SHARED_counters(...)
#define SHARED_affinity(...)
#define SHARED_exempt(...)
#define SHARED_datagrams(...)
#define SHARED_more_datagrams(...)
PATU_SERVICE_MAPS(SHARED)

/* ---- programs -------------------------------------------------------------------------------------------------- */

static __always_inline bool talks_to(struct sock_common *sk, const struct patu_translation *peer)
{
	const __u32 *backend = (const __u32 *)&peer->backend;
	__u32 to[4] = {0, 0, bpf_htonl(0xffff), 0};

	if (sk->skc_family == AF_INET)
		to[3] = sk->skc_daddr;
	else if (sk->skc_family == AF_INET6)
		bpf_core_read(to, sizeof(to), &sk->skc_v6_daddr.in6_u);
	else
		return false;
	return sk->skc_dport == peer->backend_port && to[0] == backend[0] && to[1] == backend[1] &&
	       to[2] == backend[2] && to[3] == backend[3];
}

static __always_inline bool is_open(struct sock_common *sk, __u8 protocol)
{
	unsigned char state = sk->skc_state;

	/* kernel: a UDP socket that was closed keeps its state and storage, but not its port, until a grace period is over. */
	if (protocol == IPPROTO_UDP)
		return state == ESTABLISHED && sk->skc_num;
	return protocol == IPPROTO_TCP && state != TIME_WAIT && state != CLOSED && state != LISTEN;
}

static __always_inline bool is_stale(struct sock_common *sk, const struct patu_translation *peer)
{
	return is_open(sk, peer->protocol) && talks_to(sk, peer);
}

/* Inside connect(2), between the hook and the kernel's work: or disconnected, which looks the same. */
static __always_inline bool is_connecting(struct sock_common *sk)
{
	return sk->skc_state == CLOSED && !sk->skc_dport;
}

static __always_inline bool is_listed(const struct patu_translation *peer)
{
	struct patu_stale_key key = {
		.backend = peer->backend,
		.port = peer->backend_port,
		.protocol = peer->protocol,
		.service_id = peer->service_id,
	};

	return peer->is_current && bpf_map_lookup_elem(&stale, &key);
}

SEC("iter/bpf_sk_storage_map")
int find_stale(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->sk;
	struct patu_translation *value = ctx->value;

	if (!sk || !value)
		return 0;
	struct patu_translation peer = *value;
	struct patu_stale_socket found = {.protocol = peer.protocol};
	if (is_stale(sk, &peer))
		found.netns = sk->skc_net.net->ns.inum;
	else if (!is_connecting(sk))
		return 0;
	if (is_listed(&peer))
		bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

/* Tells a byte for each that was closed. */
static __always_inline void close_if_stale(struct seq_file *seq, struct sock_common *sk, void *socket)
{
	struct patu_translation *peer = bpf_sk_storage_get(&connected, socket, 0, 0);
	__u8 one = 1;

	if (!peer || !is_stale(sk, peer) || !is_listed(peer) || bpf_sock_destroy(sk) != 0)
		return;
	peer->is_current = 0;
	bpf_seq_write(seq, &one, sizeof(one));
}

SEC("iter/udp")
int close_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;

	if (sk)
		close_if_stale(ctx->meta->seq, (struct sock_common *)sk, sk);
	return 0;
}

SEC("iter/tcp")
int close_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	/* Null for the remains of connections, and for those that are only asked for: they have no storage. */
	struct tcp_sock *full = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	if (full)
		close_if_stale(ctx->meta->seq, sk, full);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
