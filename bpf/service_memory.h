/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is remembered: of sockets, whom they really talk to; of pods, which backend they stay with; of services, figures. */
#pragma once

/* ---- sockets ------------------------------------------------------------------------------------------------------ */

static __always_inline bool is_same(const struct patu_addr *addr, __be16 port, const __u64 *half, __be16 other_port)
{
	const __u64 *mine = (const __u64 *)addr;

	return !((mine[0] ^ half[0]) | (mine[1] ^ half[1]) | (port ^ other_port));
}

static __always_inline bool has_backend(const struct patu_translation *peer, const union key *at)
{
	return peer->frontend_port && is_same(&peer->backend, peer->backend_port, at->half, at->frontend.port);
}

static __always_inline bool has_frontend(const struct patu_translation *peer, const union key *at)
{
	return peer->is_current && is_same(&peer->frontend, peer->frontend_port, at->half, at->frontend.port);
}

#define NONE (-1)
#define BY_FRONTEND 0
#define BY_BACKEND 1

static __always_inline bool matches(const struct patu_translation *peer, const union key *at, __u32 by)
{
	return by == BY_BACKEND ? has_backend(peer, at) : has_frontend(peer, at);
}

/* The peers of an unconnected socket are numbered through both of its arrays. Not static: verified once, like those above.
 * NONE: the socket has no such peer. */
__noinline int find_datagram(struct bpf_sock_addr *ctx, __u64 high, __u64 low, __u32 port, __u32 by)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return NONE;
	struct patu_datagrams *few = bpf_sk_storage_get(&datagrams, sk, 0, 0);
	if (!few)
		return NONE;
	union key at = {.half = {high, low, port}};
	UNROLLED
	for (int i = 0; i < PATU_DATAGRAMS; ++i)
		if (matches(&few->peers[i], &at, by))
			return i;
	struct patu_more_datagrams *more = bpf_sk_storage_get(&more_datagrams, sk, 0, 0);
	if (!more)
		return NONE;
	UNROLLED
	for (int i = 0; i < PATU_MORE_DATAGRAMS; ++i)
		if (matches(&more->peers[i], &at, by))
			return PATU_DATAGRAMS + i;
	return NONE;
}

static __always_inline int datagram_number(struct bpf_sock_addr *ctx, const union key *at, __u32 by)
{
	return find_datagram(ctx, at->half[0], at->half[1], at->frontend.port, by);
}

static __always_inline struct patu_translation *datagram_at(struct bpf_sock *sk, __u32 number)
{
	if (number < PATU_DATAGRAMS) {
		struct patu_datagrams *few = bpf_sk_storage_get(&datagrams, sk, 0, 0);
		if (!few)
			return NULL;
		barrier(); /* else clang computes the address before it looks */
		return &few->peers[number];
	}
	struct patu_more_datagrams *more = bpf_sk_storage_get(&more_datagrams, sk, 0, 0);
	number -= PATU_DATAGRAMS;
	if (!more || number >= PATU_MORE_DATAGRAMS)
		return NULL;
	barrier();
	return &more->peers[number];
}

#define EVICTED 0x10000 /* the place was in use */

/* In two passes, so that the verifier has no place to carry along. */
static __always_inline int place_in(const struct patu_translation *peers, int count)
{
	UNROLLED
	for (int i = 0; i < count; ++i)
		if (!peers[i].frontend_port)
			return i;
	UNROLLED
	for (int i = 0; i < count; ++i)
		if (!peers[i].is_current)
			return i;
	return NONE;
}

/* The number of a peer that is unused, or kept for late answers alone, or was the first to come. NONE: no memory. */
__noinline int find_place(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return NONE;
	struct patu_datagrams *few = bpf_sk_storage_get(&datagrams, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!few)
		return NONE;
	int place = place_in(few->peers, PATU_DATAGRAMS);
	if (place != NONE)
		return place;
	struct patu_more_datagrams *more = bpf_sk_storage_get(&more_datagrams, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!more)
		return NONE;
	place = place_in(more->peers, PATU_MORE_DATAGRAMS);
	if (place != NONE)
		return PATU_DATAGRAMS + place;
	return (PATU_DATAGRAMS + more->next++ % PATU_MORE_DATAGRAMS) | EVICTED;
}

static __always_inline void put_frontend(struct patu_translation *to, const union key *asked)
{
	__u64 *addr = (__u64 *)&to->frontend;

	addr[0] = asked->half[0];
	addr[1] = asked->half[1];
	to->frontend_port = asked->frontend.port;
	to->protocol = asked->frontend.protocol;
	to->is_current = 1;
}

/* Of peers that share a backend the first is taken for whom an answer is from: let it be the one that was asked last. */
static __always_inline void bring_forward(struct bpf_sock_addr *ctx, struct bpf_sock *sk, __u32 number)
{
	struct patu_translation *mine = datagram_at(sk, number);
	if (!mine)
		return;
	const __u64 *half = (const __u64 *)&mine->backend;
	int first = find_datagram(ctx, half[0], half[1], mine->backend_port, BY_BACKEND);
	struct patu_translation *other = first == NONE || first == (int)number ? NULL : datagram_at(sk, first);
	if (!other)
		return;
	struct patu_translation swapped = *mine;
	*mine = *other;
	*other = swapped;
}

/* kernel: connect of a multipath socket asks with its first subflow's, getpeername with the one that the owner has. The
 * reference is the caller's to release. */
static __always_inline struct bpf_sock *first_subflow(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
						      const union key *peer)
{
	struct bpf_sock_tuple tuple = {};

	if (!peer->half[0] && peer->word[2] == bpf_htonl(0xffff)) {
		tuple.ipv4.saddr = peer->word[3];
		tuple.ipv4.sport = peer->frontend.port;
		tuple.ipv4.daddr = sk->src_ip4;
		tuple.ipv4.dport = bpf_htons(sk->src_port);
		return bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	for (int i = 0; i < 4; ++i) {
		tuple.ipv6.saddr[i] = peer->word[i];
		tuple.ipv6.daddr[i] = sk->src_ip6[i];
	}
	tuple.ipv6.sport = peer->frontend.port;
	tuple.ipv6.dport = bpf_htons(sk->src_port);
	return bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* The socket talks to the address itself from now on: what comes from there is not renamed any more. */
static __always_inline void forget_datagram(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const union key *at)
{
	struct patu_translation *peer = bpf_sk_storage_get(&connected, sk, 0, 0);
	if (peer && has_backend(peer, at))
		bpf_sk_storage_delete(&connected, sk);
	int number = datagram_number(ctx, at, BY_BACKEND);
	peer = number == NONE ? NULL : datagram_at(sk, number);
	if (peer)
		peer->frontend_port = peer->is_current = 0;
}

/* ---- pods --------------------------------------------------------------------------------------------------------- */

/* All but the lock, under which it is done. */
static __always_inline void copy_affinity(struct patu_affinity *to, const struct patu_affinity *from)
{
	const __u64 *half = (const __u64 *)&from->backend;
	__u64 *out = (__u64 *)&to->backend;

	to->last_ns = from->last_ns;
	to->timeout_s = from->timeout_s;
	out[0] = half[0];
	out[1] = half[1];
	to->port = from->port;
	to->slot = from->slot;
}

/* Copies what the pod's entry says. False: it has timed out. */
static __always_inline bool read_affinity(struct patu_affinity *entry, struct patu_affinity *copy)
{
	bpf_spin_lock(&entry->lock);
	copy_affinity(copy, entry);
	bpf_spin_unlock(&entry->lock);
	return bpf_ktime_get_boot_ns() - copy->last_ns <= copy->timeout_s * 1000000000ull;
}

/* False if the entry is no longer what it was when it was read: another thread of the pod was first, its choice counts. */
static __always_inline bool write_affinity(struct patu_affinity *entry, const struct patu_affinity *copy, __u64 read_ns)
{
	bool mine = false;

	bpf_spin_lock(&entry->lock);
	if (entry->last_ns == read_ns) {
		mine = true;
		copy_affinity(entry, copy);
	}
	bpf_spin_unlock(&entry->lock);
	return mine;
}

#define HIT 0x1000000  /* the pod had been there before */
#define FULL 0x2000000 /* it could not be remembered */

/* The slot of a pod's backend: that of before, while it is a member; else one is chosen and becomes the pod's. Not static, as
 * above. */
__noinline int find_for_client(struct bpf_sock_addr *ctx, __u64 word, __u32 service_id, __u32 is_v6, __u32 timeout_s)
{
	struct patu_affinity_key key = {bpf_get_netns_cookie(ctx), service_id, is_v6};
	struct patu_affinity copy = {};
	const __u64 *half = (const __u64 *)&copy.backend;
	struct patu_translation chosen;

	struct patu_affinity *entry = bpf_map_lookup_elem(&affinity, &key);
	int slot = AGAIN;
	int hit = HIT;
	if (entry && read_affinity(entry, &copy))
		slot = find_member(word, half[0], half[1], copy.port, copy.slot);
	if (slot < 0) {
		hit = 0;
		slot = pick(word);
		if (slot < 0 || !copy_backend(word, slot, &chosen))
			return AGAIN;
		copy.backend = chosen.backend;
		copy.port = chosen.backend_port;
	}
	__u64 read_ns = copy.last_ns;
	copy.slot = slot;
	copy.timeout_s = timeout_s;
	copy.last_ns = bpf_ktime_get_boot_ns();
	if (entry)
		return write_affinity(entry, &copy, read_ns) || hit ? slot | hit : AGAIN;
	long added = bpf_map_update_elem(&affinity, &key, &copy, BPF_NOEXIST);
	if (added == -EEXIST)
		return AGAIN;
	return added ? slot | FULL : slot;
}

/* ---- figures ------------------------------------------------------------------------------------------------------ */

#define EVENT_INTERVAL_NS 1000000000ull

/* `end` is the second half of the frontend's key and the kind: numbers, so that it is verified once. */
__noinline int tell_of(struct bpf_sock_addr *ctx, __u64 high, __u64 low, __u64 end, __u32 service_id)
{
	struct patu_service_table *table = the_table();
	if (!table || !table->wants_events)
		return 0;
	struct patu_counters *figures = bpf_map_lookup_elem(&counters, &service_id);
	__u64 now = bpf_ktime_get_ns();
	if (figures) {
		if (figures->last_event_ns && now - figures->last_event_ns < EVENT_INTERVAL_NS)
			return 0;
		figures->last_event_ns = now;
	}
	union key asked = {.half = {high, low, end & 0xffffffff}};
	struct patu_event event = {
		.ns = now,
		.netns_cookie = bpf_get_netns_cookie(ctx),
		.frontend = asked.frontend,
		.service_id = service_id,
		.kind = end >> 32,
	};
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	return 0;
}

static __always_inline void tell(struct bpf_sock_addr *ctx, __u32 kind, const union key *asked, __u32 service_id)
{
	tell_of(ctx, asked->half[0], asked->half[1], asked->word[4] | (__u64)kind << 32, service_id);
}

/* `field` counts the counters of struct patu_counters from 0. */
__noinline int count_one(__u32 service_id, __u32 field)
{
	struct patu_counters *figures = bpf_map_lookup_elem(&counters, &service_id);
	if (figures && field < 4)
		__sync_fetch_and_add((__u64 *)figures + field, 1);
	return 0;
}

#define COUNT(id, field) count_one(id, offsetof(struct patu_counters, field) / sizeof(__u64))
