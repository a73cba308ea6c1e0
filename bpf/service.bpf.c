// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Services: connect(2) to a frontend becomes a connect to one of its backends, before there is a packet. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "patu_maps.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define ALLOW 1
#define REJECT 0 /* with EPERM, unless bpf_set_retval said otherwise */

/* A frontend is read again when its element or its extent was reused meanwhile. */
#define TRIES 3

/* Linux 6.1 and later; the loader knows. The verifier removes the call where this is 0, because the kernel may lack it. */
const volatile __u32 has_set_retval = 0;

#define DECLARE_MAP(map, map_type, key_type, value_type, entries, flags) \
	struct {                                                         \
		__uint(type, map_type);                                  \
		__uint(max_entries, entries);                            \
		__uint(map_flags, flags);                                \
		__type(key, key_type);                                   \
		__type(value, value_type);                               \
	} map SEC(".maps");
PATU_SERVICE_MAPS(DECLARE_MAP)

/* Sizes, not types: clang would leave the slot's BTF a forward declaration here. */
struct chunk {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PATU_CHUNK_SLOTS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct patu_slot));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PATU_CHUNKS);
	__type(key, __u32);
	__array(values, struct chunk);
} slots SEC(".maps");

enum verdict {
	NOT_A_FRONTEND,
	CHOSEN,
	REFUSED,
};

/* False if the extent is no longer the one that the word was written for. */
static __always_inline bool copy_slot(__u64 word, struct patu_slot *out)
{
	__u64 random = bpf_get_prandom_u32();
	__u32 index = patu_word_base(word) + (__u32)(random * patu_word_count(word) >> 32);
	__u32 chunk = index / PATU_CHUNK_SLOTS;
	__u32 place = index % PATU_CHUNK_SLOTS;

	void *inner = bpf_map_lookup_elem(&slots, &chunk);
	if (!inner)
		return false;
	struct patu_slot *slot = bpf_map_lookup_elem(inner, &place);
	if (!slot)
		return false;

	__u16 generation = patu_word_generation(word);
	if (*(volatile __u16 *)&slot->generation != generation)
		return false;
	barrier();
	*out = *slot;
	barrier();
	return *(volatile __u16 *)&slot->generation == generation;
}

static __always_inline enum verdict resolve(const struct patu_frontend_key *key, struct patu_slot *out)
{
	struct patu_frontend *frontend = bpf_map_lookup_elem(&frontends, key);
	if (!frontend)
		return NOT_A_FRONTEND;
	/* Once: without CAP_PERFMON the verifier also walks every branch that a processor may speculate about. */
	const __u32 tag = patu_frontend_tag(key);

	for (int i = 0; i < TRIES; ++i) {
		/* One load: base, count and generation belong together. */
		__u64 word = *(volatile __u64 *)&frontend->word;
		if (patu_word_tag(word) == tag) {
			if (patu_word_count(word) == 0)
				return REFUSED;
			if (copy_slot(word, out))
				return CHOSEN;
		}
		frontend = bpf_map_lookup_elem(&frontends, key);
		if (!frontend)
			return NOT_A_FRONTEND;
	}
	return REFUSED;
}

static __always_inline int refuse(void)
{
	if (has_set_retval)
		bpf_set_retval(-ECONNREFUSED);
	return REJECT;
}

static __always_inline bool is_tcp(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP;
}

/* The four words of an address, at offsets that the verifier and the compiler know to be aligned. */
union key {
	struct patu_frontend_key frontend;
	__u32 word[5];
	__u64 aligned;
};

SEC("cgroup/connect4")
int sock4_connect(struct bpf_sock_addr *ctx)
{
	if (!is_tcp(ctx))
		return ALLOW;

	union key key = {.word = {0, 0, bpf_htonl(0xffff), ctx->user_ip4}};
	key.frontend.port = ctx->user_port;
	key.frontend.protocol = IPPROTO_TCP;
	key.frontend.scope = PATU_SCOPE_CLUSTER;

	struct patu_slot slot;
	enum verdict verdict = resolve(&key.frontend, &slot);
	if (verdict == NOT_A_FRONTEND)
		return ALLOW;
	if (verdict == REFUSED)
		return refuse();
	ctx->user_ip4 = ((__u32 *)&slot.addr)[3];
	ctx->user_port = slot.port;
	return ALLOW;
}

/* A mapped destination, ::ffff:a.b.c.d, is IPv4's key already, and IPv4's backends are held mapped. */
SEC("cgroup/connect6")
int sock6_connect(struct bpf_sock_addr *ctx)
{
	if (!is_tcp(ctx))
		return ALLOW;

	union key key = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
	key.frontend.port = ctx->user_port;
	key.frontend.protocol = IPPROTO_TCP;
	key.frontend.scope = PATU_SCOPE_CLUSTER;

	struct patu_slot slot;
	enum verdict verdict = resolve(&key.frontend, &slot);
	if (verdict == NOT_A_FRONTEND)
		return ALLOW;
	if (verdict == REFUSED)
		return refuse();
	__u32 *address = (__u32 *)&slot.addr;
	ctx->user_ip6[0] = address[0];
	ctx->user_ip6[1] = address[1];
	ctx->user_ip6[2] = address[2];
	ctx->user_ip6[3] = address[3];
	ctx->user_port = slot.port;
	return ALLOW;
}

char _license[] SEC("license") = "Dual BSD/GPL";
