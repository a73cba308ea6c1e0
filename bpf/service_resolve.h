/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From an address to a backend: is there a frontend, and whom does it lead this socket to? */
#pragma once

/* What an address and port are to the socket. */
enum place {
	ORDINARY,
	FRONTEND,
	NODE_FRONTEND, /* one of all the node's addresses */
	VIRTUAL,       /* a cluster address, and none of its ports */
};

static __always_inline int locate_on_node(struct bpf_sock_addr *ctx, union key *key, bool is_node)
{
	struct patu_service_table *table = the_table();
	if (!table || !table->wildcards)
		return ORDINARY;
	bool by_loopback = is_loopback(key) && table->node_cookie == bpf_get_netns_cookie(ctx);
	if (!is_node && !by_loopback)
		return ORDINARY;
	to_node_key(key);
	struct patu_frontend *found = bpf_map_lookup_elem(&frontends, key);
	if (!found || (by_loopback && !(found->flags & PATU_FRONTEND_LOOPBACK)))
		return ORDINARY;
	return NODE_FRONTEND;
}

/* Not static, and with numbers alone, as those in service_choice.h. */
__noinline int locate(struct bpf_sock_addr *ctx, __u64 high, __u64 low, __u32 end)
{
	union key key = {.half = {high, low, end}};
	int place = FRONTEND;

	struct patu_frontend *found = bpf_map_lookup_elem(&frontends, &key);
	if (!found || patu_is_node_only(found->flags)) {
		struct patu_address *address = bpf_map_lookup_elem(&addresses, &key.frontend.addr);
		bool is_node = address && (address->flags & PATU_ADDRESS_NODE);
		if (!found || !is_node) {
			bool is_virtual = address && address->clusters;
			place = locate_on_node(ctx, &key, is_node);
			if (place == ORDINARY && is_virtual)
				place = VIRTUAL;
		}
	}
	__u64 cookie = bpf_get_netns_cookie(ctx);
	return place != ORDINARY && bpf_map_lookup_elem(&exempt, &cookie) ? ORDINARY : place;
}

static __always_inline int place_of(struct bpf_sock_addr *ctx, const union key *asked)
{
	return locate(ctx, asked->half[0], asked->half[1], asked->word[4]);
}

/* False: try again. */
static __always_inline bool choose(struct bpf_sock_addr *ctx, struct request *request, const struct frontend *frontend)
{
	const __u64 *half = (const __u64 *)&request->to.backend;
	int slot = AGAIN;

	request->is_new = true;
	if (frontend->affinity_timeout_s) {
		slot = find_for_client(ctx, frontend->word, frontend->service_id, request->is_v6,
				       frontend->affinity_timeout_s);
		if (slot < 0)
			return false;
		if (slot & HIT)
			COUNT(frontend->service_id, affinity_hits);
		if (slot & FULL) {
			tell(ctx, PATU_EVENT_AFFINITY_FULL, &request->asked, frontend->service_id);
			slot = AGAIN; /* the socket may remember what the pod cannot */
		} else {
			slot &= HIT - 1;
		}
	}
	if (slot < 0 && request->has_former && request->to.service_id == frontend->service_id) {
		slot = find_member(frontend->word, half[0], half[1], request->to.backend_port, request->to.slot);
		request->is_new = slot < 0;
	}
	if (slot < 0)
		slot = pick(frontend->word);
	return slot >= 0 && copy_backend(frontend->word, slot, &request->to);
}

static __noinline int resolve(struct bpf_sock_addr *ctx, struct request *request)
{
	union key key = request->asked;
	__u64 cookie = bpf_get_netns_cookie(ctx);

	/* The most frequent answers first: with one look at the map. */
	struct patu_frontend *found = bpf_map_lookup_elem(&frontends, &key);
	if (!found || patu_is_node_only(*(volatile __u32 *)&found->flags)) {
		int place = place_of(ctx, &key);
		if (place == ORDINARY)
			return NOT_A_FRONTEND;
		if (place == VIRTUAL)
			return REFUSED;
		if (place == NODE_FRONTEND)
			to_node_key(&key);
		found = bpf_map_lookup_elem(&frontends, &key);
	} else if (bpf_map_lookup_elem(&exempt, &cookie)) {
		return NOT_A_FRONTEND;
	}
	/* Once: without CAP_PERFMON the verifier also walks every branch that a processor may speculate about. */
	const __u32 tag = patu_frontend_tag(&key.frontend);
	__u32 service_id = 0;
	__u32 event = PATU_EVENT_RETRIES;

	UNROLLED
	for (int i = 0; i < TRIES; ++i) {
		struct frontend frontend;
		if (i > 0)
			found = bpf_map_lookup_elem(&frontends, &key);
		if (!found) /* removed meanwhile */
			return place_of(ctx, &request->asked) == VIRTUAL ? REFUSED : NOT_A_FRONTEND;
		if (!read_frontend(found, tag, &frontend))
			continue;
		service_id = frontend.service_id;
		if (!patu_word_count(frontend.word)) {
			event = PATU_EVENT_NO_BACKEND;
			break;
		}
		if (choose(ctx, request, &frontend)) {
			request->to.service_id = service_id;
			if (request->is_new)
				COUNT(service_id, connects);
			return CHOSEN;
		}
		COUNT(service_id, retries);
	}
	COUNT(service_id, refused);
	tell(ctx, event, &request->asked, service_id);
	return REFUSED;
}
