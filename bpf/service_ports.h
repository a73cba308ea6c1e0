/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ports of the node that a frontend keeps for itself. */
#pragma once

/* Whether a frontend on all of the node's addresses keeps the port for itself. */
static __always_inline bool is_reserved(const union key *bound, __be32 family_word)
{
	union key key = *bound;

	key.half[0] = 0;
	key.word[2] = family_word;
	key.word[3] = 0;
	key.frontend.scope = PATU_SCOPE_NODE;
	struct patu_frontend *found = bpf_map_lookup_elem(&frontends, &key);
	if (!found || !(found->flags & PATU_FRONTEND_RESERVED))
		return false;
	return !is_loopback(bound) || (found->flags & PATU_FRONTEND_LOOPBACK);
}

static __always_inline int on_bind(struct bpf_sock *ctx, union key *bound)
{
	struct patu_service_table *table = the_table();
	if (!table || !table->reserved_ports || !table->node_cookie || table->node_cookie != bpf_get_netns_cookie(ctx))
		return ALLOW;
	bound->frontend.port = bpf_htons(ctx->src_port);
	bound->frontend.protocol = ctx->protocol == IPPROTO_MPTCP ? IPPROTO_TCP : ctx->protocol;
	bool is_v4 = !bound->half[0] && bound->word[2] == bpf_htonl(0xffff);
	bool is_any = !bound->half[0] && !bound->word[2] && !bound->word[3];
	/* A socket of both families takes the port of both. */
	if ((is_v4 || is_any) && is_reserved(bound, bpf_htonl(0xffff)))
		return refuse(EADDRINUSE);
	if (!is_v4 && is_reserved(bound, 0))
		return refuse(EADDRINUSE);
	return ALLOW;
}
