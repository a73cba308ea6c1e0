/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which connections may be redirected: both ends are pods of one bridge that chose it. */
#pragma once

static __always_inline void map_ipv4(struct patu_addr *addr, __u32 ip4)
{
	__u32 words[4] = {0, 0, bpf_htonl(0xffff), ip4};

	__builtin_memcpy(addr, words, sizeof(*addr));
}

/* The context is read one word at a time; the compiler would join two. */
#define WORD(field) (*(volatile __u32 *)&(field))

/* A dual-stack listener's sockets are AF_INET6 with mapped addresses: the same bytes as those of an AF_INET socket. */
static __always_inline bool read_connection(struct bpf_sock_ops *ctx, struct patu_socket_key *self)
{
	if (ctx->family == AF_INET) {
		map_ipv4(&self->local, ctx->local_ip4);
		map_ipv4(&self->remote, ctx->remote_ip4);
	} else if (ctx->family == AF_INET6) {
		__u32 local[4] = {WORD(ctx->local_ip6[0]), WORD(ctx->local_ip6[1]), WORD(ctx->local_ip6[2]),
				  WORD(ctx->local_ip6[3])};
		__u32 remote[4] = {WORD(ctx->remote_ip6[0]), WORD(ctx->remote_ip6[1]), WORD(ctx->remote_ip6[2]),
				   WORD(ctx->remote_ip6[3])};

		__builtin_memcpy(&self->local, local, sizeof(local));
		__builtin_memcpy(&self->remote, remote, sizeof(remote));
	} else {
		return false;
	}
	self->local_port = bpf_htons(ctx->local_port);
	self->remote_port = bpf_htons(bpf_ntohl(ctx->remote_port));
	return true;
}

static __always_inline bool is_same(const struct patu_addr *one, const struct patu_addr *other)
{
	__u64 a[2], b[2];

	__builtin_memcpy(a, one, sizeof(a));
	__builtin_memcpy(b, other, sizeof(b));
	return a[0] == b[0] && a[1] == b[1];
}

static __always_inline bool is_loopback(const struct patu_addr *addr)
{
	__u32 words[4];

	__builtin_memcpy(words, addr, sizeof(words));
	if (words[0] || words[1])
		return false;
	if (words[2] == bpf_htonl(0xffff))
		return addr->bytes[12] == 127;
	return !words[2] && words[3] == bpf_htonl(1);
}

static __always_inline bool is_excluded(__u32 bridge_ifindex, __be16 port)
{
	struct patu_port_key key = {.bridge_ifindex = bridge_ifindex, .port = port};

	return bpf_map_lookup_elem(&excluded, &key) != NULL;
}

/* The pod that has the address, if it chose redirection and its namespace is known. */
static __always_inline const struct patu_pod *willing_pod(const struct patu_addr *addr)
{
	const struct patu_pod *pod = bpf_map_lookup_elem(&pods, addr);

	return pod && pod->netns_cookie && (pod->flags & PATU_POD_REDIRECT) ? pod : NULL;
}

/* Fills `self` and returns the cookie of the peer's namespace if this is a connection between two pods that chose it,
 * 0 if not. The port alone tells nothing: a socket is its pod's only if it lives in that pod's namespace.
 */
static __always_inline __u64 choose(struct bpf_sock_ops *ctx, struct patu_socket_key *self)
{
	const struct patu_settings *setting = settings_of_instance();
	const struct patu_pod *local, *remote;

	if (!setting || !setting->redirect_enabled || !read_connection(ctx, self))
		return 0;
	local = willing_pod(&self->local);
	if (!local || local->netns_cookie != bpf_get_netns_cookie(ctx))
		return 0;
	remote = willing_pod(&self->remote);
	if (!remote || remote->bridge_ifindex != local->bridge_ifindex)
		return 0;
	if (is_same(&self->local, &self->remote) || is_loopback(&self->local) || is_loopback(&self->remote))
		return 0;
	if (is_excluded(local->bridge_ifindex, self->local_port) ||
	    is_excluded(local->bridge_ifindex, self->remote_port))
		return 0;
	self->netns_cookie = local->netns_cookie;
	return remote->netns_cookie;
}
