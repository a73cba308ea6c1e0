/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which frontend an address and port are, and which of its backends a socket gets. */
#pragma once

/* The words of a frontend's key, at offsets that the verifier and the compiler know to be aligned. */
union key {
	struct patu_frontend_key frontend;
	__u32 word[6];
	__u64 half[3];
};

/* What a hook asks, and what it is told. */
struct request {
	union key asked;            /* as the caller gave it */
	struct patu_translation to; /* backend, port, slot, service: set if the verdict is CHOSEN */
	__u8 is_v6;
	__u8 has_former; /* `to` is what the socket was given before */
	__u8 is_new;     /* another choice than before */
	__u8 pad[5];
};

enum verdict {
	NOT_A_FRONTEND,
	CHOSEN,
	REFUSED,
};

/* A frontend is read again when its element or its extent was reused meanwhile, or another thread of the pod was first. */
#define TRIES 4

/* Without CAP_PERFMON the verifier also walks what a processor may speculate, such as a loop that does not end. */
#define UNROLLED _Pragma("clang loop unroll(full)")

static __always_inline struct patu_service_table *the_table(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&service_table, &zero);
}

static __always_inline bool is_loopback(const union key *key)
{
	if (key->half[0])
		return false;
	return key->word[2] == bpf_htonl(0xffff) ? (key->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000)
						 : !key->word[2] && key->word[3] == bpf_htonl(1);
}

/* 0.0.0.0 or ::, the key of what is served on every address of the node. */
static __always_inline void to_node_key(union key *key)
{
	if (key->half[0] || key->word[2] != bpf_htonl(0xffff))
		key->half[0] = key->word[2] = 0;
	key->word[3] = 0;
	key->frontend.scope = PATU_SCOPE_NODE;
}

/* Fields that belong together; the kernel recycles elements of a hash under their readers. */
struct frontend {
	__u64 word;
	__u32 service_id;
	__u32 flags;
	__u32 affinity_timeout_s;
};

static __always_inline bool read_frontend(const struct patu_frontend *from, __u32 tag, struct frontend *to)
{
	__u64 word = *(const volatile __u64 *)&from->word;

	if (patu_word_tag(word) != tag)
		return false;
	to->service_id = *(const volatile __u32 *)&from->service_id;
	to->flags = *(const volatile __u32 *)&from->flags;
	to->affinity_timeout_s = *(const volatile __u32 *)&from->affinity_timeout_s;
	to->word = word;
	return *(const volatile __u64 *)&from->word == word;
}

/* Null if the slot is not, or no longer, of the word's generation. */
static __always_inline struct patu_slot *slot_at(__u64 word, __u32 index)
{
	__u32 chunk = index / PATU_CHUNK_SLOTS;
	__u32 place = index % PATU_CHUNK_SLOTS;

	void *inner = bpf_map_lookup_elem(&slots, &chunk);
	if (!inner)
		return NULL;
	struct patu_slot *slot = bpf_map_lookup_elem(inner, &place);
	if (!slot || *(volatile __u16 *)&slot->generation != patu_word_generation(word))
		return NULL;
	return slot;
}

/* False if the slot is, or meanwhile became, another generation's. */
static __always_inline bool copy_backend(__u64 word, __u32 index, struct patu_translation *to)
{
	__u64 *out = (__u64 *)&to->backend;

	struct patu_slot *slot = slot_at(word, index);
	if (!slot)
		return false;
	const __u64 *from = (const __u64 *)&slot->addr;
	out[0] = *(const volatile __u64 *)&from[0];
	out[1] = *(const volatile __u64 *)&from[1];
	to->backend_port = *(const volatile __u16 *)&slot->port;
	to->slot = index;
	barrier();
	return *(const volatile __u16 *)&slot->generation == patu_word_generation(word);
}

/* The functions below take numbers alone and are not static: so Linux 5.10 verifies each by itself, and once. */
#define AGAIN (-1)

/* Walker's method: see struct patu_slot. The number of a slot, or AGAIN. */
__noinline int pick(__u64 word)
{
	__u64 random = (__u64)bpf_get_prandom_u32() * patu_word_count(word);
	__u32 index = patu_word_base(word) + (__u32)(random >> 32);

	struct patu_slot *slot = slot_at(word, index);
	if (!slot)
		return AGAIN;
	return (__u32)random > slot->threshold ? patu_word_base(word) + slot->alias : index;
}

static __always_inline bool has_member(const struct patu_slot *slot, __u64 high, __u64 low, __be16 port)
{
	const __u64 *half = (const __u64 *)&slot->addr;

	return !((half[0] ^ high) | (half[1] ^ low) | (slot->port ^ port));
}

/* 1 or 0. In arithmetic, because each branch is two ways for the verifier to walk, and ten steps of them too many. */
static __always_inline __u64 is_less(__u64 a, __u64 b)
{
	return ((~a & b) | ((~a | b) & (a - b))) >> 63;
}

static __always_inline __u64 is_greater(const struct patu_slot *slot, __u64 high, __u64 low, __be16 port)
{
	const __u64 *half = (const __u64 *)&slot->addr;
	__u64 a = bpf_be64_to_cpu(half[0]);
	__u64 b = bpf_be64_to_cpu(half[1]);

	__u64 port_a = bpf_ntohs(slot->port);
	__u64 port_b = bpf_ntohs(port);

	high = bpf_be64_to_cpu(high);
	low = bpf_be64_to_cpu(low);
	barrier_var(port_a); /* else clang knows that they are small, and compares them by a branch */
	barrier_var(port_b);
	return is_less(high, a) |
	       (~is_less(a, high) & (is_less(low, b) | (~is_less(b, low) & is_less(port_b, port_a))));
}

/* One step of a bisection: `at` becomes the last slot of the view that is not greater. The last line changes nothing but what the
 * verifier knows of `at`: that on both ways it is the same. */
#define STEP(distance)                                                      \
	if (at + (distance) < end) {                                        \
		slot = slot_at(word, at + (distance));                      \
		if (!slot)                                                  \
			return AGAIN;                                       \
		at += (distance) & (is_greater(slot, high, low, port) - 1); \
	}                                                                   \
	asm volatile("%[at] ^= %[word]; %[at] ^= %[word]; %[at] &= 0x7fffff" : [at] "+r"(at) : [word] "r"(word));

/* The slot that a backend, by the halves of its address and its port, has in the view that the word leads to, or AGAIN if it
 * is not there. Only after the service has changed is it searched for beyond the slot where it was. */
__noinline int find_member(__u64 word, __u64 high, __u64 low, __u32 port, __u32 slot_before)
{
	struct patu_slot *slot;
	__u64 at = patu_word_base(word);
	const __u64 end = at + patu_word_count(word);

	if (slot_before >= at && slot_before < end) {
		slot = slot_at(word, slot_before);
		if (slot && has_member(slot, high, low, port))
			return slot_before;
	}
	STEP(512)
	STEP(256)
	STEP(128)
	STEP(64)
	STEP(32)
	STEP(16)
	STEP(8)
	STEP(4)
	STEP(2)
	STEP(1)
	slot = slot_at(word, at);
	return slot && has_member(slot, high, low, port) ? (int)at : AGAIN;
}
_Static_assert(PATU_MAX_BACKENDS == 1024, "the steps above");
