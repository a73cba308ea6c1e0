// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Services: a socket that connects or sends to a frontend goes to one of its backends, before there is a packet, and is told
 * that it talks to the frontend. */
#include <stdbool.h>
#include <stddef.h>
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

/* Linux 6.1 and later; the loader knows. The verifier removes the call where this is 0, because the kernel may lack it. */
const volatile __u32 has_set_retval = 0;

PATU_SERVICE_MAPS(PATU_DEFINE_MAP)

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

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

static __always_inline int refuse(int error)
{
	if (has_set_retval)
		bpf_set_retval(-error);
	return REJECT;
}

#include "service_choice.h"
#include "service_memory.h"
#include "service_resolve.h"
#include "service_ports.h"

/* ---- hooks -------------------------------------------------------------------------------------------------------- */

/* False: of no concern to services. UDP-Lite has no frontends, but is refused at a cluster address like any other port. */
static __always_inline bool ask(const struct bpf_sock_addr *ctx, struct request *request)
{
	__u32 protocol = ctx->protocol == IPPROTO_MPTCP ? IPPROTO_TCP : ctx->protocol;

	request->asked.frontend.port = ctx->user_port;
	request->asked.frontend.protocol = protocol;
	request->asked.frontend.scope = PATU_SCOPE_ADDRESS;
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
}

#define REQUEST_V4(ctx, request)                                                             \
	struct request request = {.asked.word = {0, 0, bpf_htonl(0xffff), (ctx)->user_ip4}}; \
	if (!ask(ctx, &request))                                                             \
	return ALLOW
#define REQUEST_V6(ctx, request)                                                                                 \
	struct request request = {                                                                               \
		.asked.word = {(ctx)->user_ip6[0], (ctx)->user_ip6[1], (ctx)->user_ip6[2], (ctx)->user_ip6[3]}}; \
	request.is_v6 = request.asked.half[0] || request.asked.word[2] != bpf_htonl(0xffff);                     \
	if (!ask(ctx, &request))                                                                                 \
	return ALLOW

static __always_inline void put_v4(struct bpf_sock_addr *ctx, const struct patu_addr *addr, __be16 port)
{
	ctx->user_ip4 = ((const __u32 *)addr)[3];
	ctx->user_port = port;
}

/* A mapped address, ::ffff:a.b.c.d, is IPv4's key already, and IPv4's backends are held mapped. */
static __always_inline void put_v6(struct bpf_sock_addr *ctx, const struct patu_addr *addr, __be16 port)
{
	const __u32 *word = (const __u32 *)addr;

	ctx->user_ip6[0] = word[0];
	ctx->user_ip6[1] = word[1];
	ctx->user_ip6[2] = word[2];
	ctx->user_ip6[3] = word[3];
	ctx->user_port = port;
}

static __always_inline int no_memory(struct bpf_sock_addr *ctx, const struct request *request)
{
	__u32 service_id = request->to.service_id;

	COUNT(service_id, refused);
	tell(ctx, PATU_EVENT_NO_MEMORY, &request->asked, service_id);
	return refuse(ENOMEM);
}

/* ALLOW with verdict CHOSEN: `request->to` is where to go, and is remembered. */
static __always_inline int on_connect(struct bpf_sock_addr *ctx, struct request *request, int *verdict)
{
	struct bpf_sock *sk = ctx->sk;
	struct patu_translation *before = sk ? bpf_sk_storage_get(&connected, sk, 0, 0) : NULL;

	if (before && request->asked.frontend.protocol == IPPROTO_UDP && has_frontend(before, &request->asked)) {
		request->to = *before;
		request->has_former = true;
	}
	*verdict = resolve(ctx, request);
	if (*verdict == REFUSED)
		return refuse(ECONNREFUSED);
	if (*verdict == NOT_A_FRONTEND) {
		if (before && sk)
			bpf_sk_storage_delete(&connected, sk);
		return ALLOW;
	}
	if (!before && sk)
		before = bpf_sk_storage_get(&connected, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!before)
		return no_memory(ctx, request);
	put_frontend(&request->to, &request->asked);
	*before = request->to;
	return ALLOW;
}

SEC("cgroup/connect4")
int sock4_connect(struct bpf_sock_addr *ctx)
{
	REQUEST_V4(ctx, request);
	int verdict = NOT_A_FRONTEND;
	int answer = on_connect(ctx, &request, &verdict);
	if (answer == ALLOW && verdict == CHOSEN)
		put_v4(ctx, &request.to.backend, request.to.backend_port);
	return answer;
}

SEC("cgroup/connect6")
int sock6_connect(struct bpf_sock_addr *ctx)
{
	REQUEST_V6(ctx, request);
	int verdict = NOT_A_FRONTEND;
	int answer = on_connect(ctx, &request, &verdict);
	if (answer == ALLOW && verdict == CHOSEN)
		put_v6(ctx, &request.to.backend, request.to.backend_port);
	return answer;
}

/* Whom the owner of the socket believes to talk to, or null. */
static __always_inline const struct patu_translation *peer_of(struct bpf_sock *sk, const union key *from)
{
	if (!sk)
		return NULL;
	struct patu_translation *peer = bpf_sk_storage_get(&connected, sk, 0, 0);
	return peer && has_backend(peer, from) ? peer : NULL;
}

/* What the socket was given before. */
static __always_inline bool recall_datagram(struct bpf_sock_addr *ctx, struct bpf_sock *sk, struct request *request)
{
	int number = datagram_number(ctx, &request->asked, BY_FRONTEND);
	const struct patu_translation *before = number == NONE ? NULL : datagram_at(sk, number);

	if (before)
		request->to = *before;
	return before;
}

/* False: no memory. */
static __always_inline bool remember_datagram(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					      const struct request *request)
{
	int number = datagram_number(ctx, &request->asked, BY_FRONTEND);
	struct patu_translation *before = number == NONE ? NULL : datagram_at(sk, number);

	if (before && !is_same(&before->backend, before->backend_port, (const __u64 *)&request->to.backend,
			       request->to.backend_port)) {
		before->is_current = 0;
		number = NONE;
	}
	if (number == NONE) {
		number = find_place(ctx);
		if (number == NONE)
			return false;
		if (number & EVICTED)
			tell(ctx, PATU_EVENT_PEERS_FULL, &request->asked, request->to.service_id);
	}
	number &= ~EVICTED;
	before = datagram_at(sk, number);
	if (!before)
		return false;
	*before = request->to;
	if (number)
		bring_forward(ctx, sk, number);
	return true;
}

static __always_inline int on_send(struct bpf_sock_addr *ctx, struct request *request, int *verdict)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return ALLOW;
	/* kernel: what a connected IPv6 socket sends to a mapped address comes here too, with the address it is connected to. */
	if (sk->state == BPF_TCP_ESTABLISHED && peer_of(sk, &request->asked))
		return ALLOW;
	request->has_former = recall_datagram(ctx, sk, request);
	*verdict = resolve(ctx, request);
	if (*verdict == REFUSED)
		return refuse(ECONNREFUSED);
	if (*verdict == NOT_A_FRONTEND) {
		forget_datagram(ctx, sk, &request->asked);
		return ALLOW;
	}
	put_frontend(&request->to, &request->asked);
	return remember_datagram(ctx, sk, request) ? ALLOW : no_memory(ctx, request);
}

SEC("cgroup/sendmsg4")
int sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	REQUEST_V4(ctx, request);
	int verdict = NOT_A_FRONTEND;
	int answer = on_send(ctx, &request, &verdict);
	if (answer == ALLOW && verdict == CHOSEN)
		put_v4(ctx, &request.to.backend, request.to.backend_port);
	return answer;
}

SEC("cgroup/sendmsg6")
int sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	REQUEST_V6(ctx, request);
	int verdict = NOT_A_FRONTEND;
	int answer = on_send(ctx, &request, &verdict);
	if (answer == ALLOW && verdict == CHOSEN)
		put_v6(ctx, &request.to.backend, request.to.backend_port);
	return answer;
}

static __always_inline const struct patu_translation *sender_of(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
								const union key *from)
{
	const struct patu_translation *peer = peer_of(sk, from);
	if (peer || !sk)
		return peer;
	int number = datagram_number(ctx, from, BY_BACKEND);
	return number == NONE ? NULL : datagram_at(sk, number);
}

SEC("cgroup/recvmsg4")
int sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	REQUEST_V4(ctx, request);
	const struct patu_translation *peer = sender_of(ctx, ctx->sk, &request.asked);
	if (peer)
		put_v4(ctx, &peer->frontend, peer->frontend_port);
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	REQUEST_V6(ctx, request);
	const struct patu_translation *peer = sender_of(ctx, ctx->sk, &request.asked);
	if (peer)
		put_v6(ctx, &peer->frontend, peer->frontend_port);
	return ALLOW;
}

static __always_inline const struct patu_translation *named_peer_of(struct bpf_sock_addr *ctx, const union key *from)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk || ctx->protocol != IPPROTO_MPTCP)
		return peer_of(sk, from);
	struct bpf_sock *subflow = first_subflow(ctx, sk, from);
	if (!subflow)
		return NULL;
	const struct patu_translation *peer = peer_of(subflow, from);
	bpf_sk_release(subflow);
	return peer;
}

SEC("cgroup/getpeername4")
int sock4_getpeername(struct bpf_sock_addr *ctx)
{
	REQUEST_V4(ctx, request);
	const struct patu_translation *peer = named_peer_of(ctx, &request.asked);
	if (peer)
		put_v4(ctx, &peer->frontend, peer->frontend_port);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int sock6_getpeername(struct bpf_sock_addr *ctx)
{
	REQUEST_V6(ctx, request);
	const struct patu_translation *peer = named_peer_of(ctx, &request.asked);
	if (peer)
		put_v6(ctx, &peer->frontend, peer->frontend_port);
	return ALLOW;
}

SEC("cgroup/post_bind4")
int sock4_post_bind(struct bpf_sock *ctx)
{
	union key bound = {.word = {0, 0, bpf_htonl(0xffff), ctx->src_ip4}};
	return on_bind(ctx, &bound);
}

SEC("cgroup/post_bind6")
int sock6_post_bind(struct bpf_sock *ctx)
{
	union key bound = {.word = {ctx->src_ip6[0], ctx->src_ip6[1], ctx->src_ip6[2], ctx->src_ip6[3]}};
	return on_bind(ctx, &bound);
}

char _license[] SEC("license") = "Dual BSD/GPL";
