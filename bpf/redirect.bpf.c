// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Two sockets of two pods of one bridge hand their bytes to each other, without packets, as long as that is
 * invisible.
 *
 * Each direction of a connection is a redirected prefix, then TCP, and never the other way round. The receiver reads
 * its redirect queue before its TCP queue, so that this order is the order of the bytes:
 *  - the first redirected byte goes out only while TCP has sent nothing in that direction (tcp_sock.write_seq);
 *  - the first byte that TCP sends latches the direction: its state leaves PATU_STREAM_REDIRECTED for good.
 * There is no way back, because a reader that is blocked in the middle of a MSG_WAITALL or SO_RCVLOWAT read sleeps in
 * TCP and never wakes for redirected bytes. For the same reason a socket enters the map only if nobody is blocked
 * reading it.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "patu_maps.h"

#include "redirect_kernel.h"

/* ---- maps ------------------------------------------------------------------------------------------------------ */

PATU_REDIRECT_MAPS(PATU_DEFINE_MAP)

/* Of the pod component these two, which the loader shares. */
#define SHARED(map, ...) SHARED_##map(map, __VA_ARGS__)
#define SHARED_pods(...) PATU_DEFINE_MAP(__VA_ARGS__)
#define SHARED_settings(...) PATU_DEFINE_MAP(__VA_ARGS__)
#define SHARED_meta(...)
#define SHARED_leases(...)
#define SHARED_released(...)
#define SHARED_attachments(...)
#define SHARED_cursors(...)
PATU_POD_MAPS(SHARED)

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 8192);
	__type(key, struct patu_socket_key);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct patu_stream);
} streams SEC(".maps");

static __always_inline const struct patu_settings *settings_of_instance(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

#include "redirect_choice.h"
#include "redirect_readers.h"
#include "redirect_messages.h"

/* ---- connections come up --------------------------------------------------------------------------------------- */

/* No byte has gone either way or waits to go, nor could any with a fast open, and the socket is one that a
 * redirection would not disturb: with no protocol on top (kTLS, MPTCP), not the kernel's own, not being restored, and
 * with nothing asked of it that redirected bytes cannot give.
 */
static __always_inline bool is_plain_and_fresh(struct bpf_sock_ops *ctx, struct sock *sk, struct tcp_sock *tcp)
{
	if (ctx->data_segs_in || ctx->data_segs_out || ctx->snd_nxt != ctx->snd_una || tcp->write_seq != ctx->snd_nxt)
		return false;
	if (tcp->fastopen_rsk || BPF_CORE_READ_BITFIELD_PROBED(tcp, syn_fastopen) || tcp->inet_conn.icsk_ulp_ops)
		return false;
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock) || BPF_CORE_READ_BITFIELD_PROBED(tcp, repair))
		return false;
	return sk->sk_rcvlowat <= 1 &&
	       !(sk->__sk_common.skc_flags & 1ul << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY));
}

/* A socket that was disconnected keeps its place in the map, and its redirect queue with what was left unread: both
 * are of a connection that is no more, and end before the next one begins.
 */
static __always_inline void forget_last_connection(struct bpf_sock *sk)
{
	struct patu_stream *stream = bpf_sk_storage_get(&streams, sk, NULL, 0);

	if (!stream)
		return;
	if (stream->state != PATU_STREAM_CONNECTING)
		bpf_map_delete_elem(&sockets, &stream->self);
	bpf_sk_storage_delete(&streams, sk);
}

static __always_inline void start_connecting(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct patu_socket_key self = {};
	struct patu_stream *stream;

	forget_last_connection(sk);
	if (!choose(ctx, &self))
		return;
	stream = bpf_sk_storage_get(&streams, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (stream)
		note_caller(stream);
}

static __always_inline void start_stream(struct patu_stream *stream, const struct patu_socket_key *self,
					 __u64 peer_cookie, __u32 write_seq)
{
	stream->self = *self;
	stream->peer.local = self->remote;
	stream->peer.remote = self->local;
	stream->peer.local_port = self->remote_port;
	stream->peer.remote_port = self->local_port;
	stream->peer.netns_cookie = peer_cookie;
	stream->write_seq = write_seq;
	stream->state = PATU_STREAM_REDIRECTED;
}

/* A reader that came between the look and the moment when the map gave the socket its new functions is inside the old
 * ones; after that moment there are none. So a second look decides, and what it refuses leaves again: before the
 * kernel has answered the handshake, so that no peer can have sent to it.
 */
static __always_inline bool enter_unread(struct bpf_sock_ops *ctx, struct sock *sk, const struct patu_stream *stream,
					 struct patu_socket_key *self)
{
	if (!nobody_reads(sk, stream) || bpf_sock_hash_update(ctx, &sockets, self, BPF_NOEXIST))
		return false;
	if (nobody_reads(sk, stream))
		return true;
	bpf_map_delete_elem(&sockets, self);
	return false;
}

/* True if the socket is in the map now. Its stream comes first: its peer can find it the moment it is there. */
static __always_inline bool enter(struct bpf_sock_ops *ctx, struct bpf_sock *bpf_sk)
{
	struct bpf_sock_ops_kern *kernel = bpf_cast_to_kern_ctx(ctx);
	struct sock *sk = kernel->sk;
	struct tcp_sock *tcp = AS(tcp_sock, sk);
	struct patu_socket_key self = {};
	struct patu_stream *stream;
	__u64 peer_cookie = choose(ctx, &self);

	if (!peer_cookie || !is_plain_and_fresh(ctx, sk, tcp))
		return false;
	stream = bpf_sk_storage_get(&streams, bpf_sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!stream)
		return false;
	start_stream(stream, &self, peer_cookie, tcp->write_seq);
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return enter_unread(ctx, sk, stream, &self);
	/* Nobody can read what has no descriptor yet: accept(2) gives it one. */
	return !sk->sk_socket && !bpf_sock_hash_update(ctx, &sockets, &self, BPF_NOEXIST);
}

SEC("sockops")
int patu_sockops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		start_connecting(ctx, sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		if (!enter(ctx, sk))
			bpf_sk_storage_delete(&streams, sk);
		break;
	}
	return 1;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

/* The helper's target cannot be taken back, and the kernel has not forgotten it either when it runs the program again
 * for what the receiver had no memory for: SK_PASS would send there. The way to TCP then is a redirection to the
 * sender's own egress. SK_DROP if even that is gone: so is the connection.
 */
static __always_inline int through_tcp(struct sk_msg_md *msg, struct sk_msg *kernel, struct patu_stream *stream)
{
	if (!kernel->sk_redir)
		return SK_PASS;
	return bpf_msg_redirect_hash(msg, &sockets, &stream->self, 0);
}

SEC("sk_msg")
int patu_skmsg(struct sk_msg_md *msg)
{
	struct sk_msg *kernel = bpf_cast_to_kern_ctx(msg);
	struct bpf_sock *sk = msg->sk;
	struct patu_stream *stream;
	__u32 state;

	if (!sk)
		return SK_PASS;
	stream = bpf_sk_storage_get(&streams, sk, NULL, 0);
	if (!stream)
		return SK_PASS;
	if (stream->state != PATU_STREAM_REDIRECTED)
		return through_tcp(msg, kernel, stream);
	state = look_at_sender(stream, kernel->sk);
	if (state != PATU_STREAM_REDIRECTED && !may_leave(stream, msg))
		state = PATU_STREAM_REDIRECTED;
	if (state == PATU_STREAM_REDIRECTED)
		state = look_at_tcp(stream, AS(tcp_sock, kernel->sk));
	if (state == PATU_STREAM_REDIRECTED &&
	    bpf_msg_redirect_hash(msg, &sockets, &stream->peer, BPF_F_INGRESS) != SK_PASS)
		state = PATU_STREAM_NO_PEER;
	if (state == PATU_STREAM_REDIRECTED)
		state = look_at_peer(stream, kernel->sk_redir);
	if (state != PATU_STREAM_REDIRECTED) {
		stream->state = state;
		return through_tcp(msg, kernel, stream);
	}
	note_writer(stream);
	look_at_receiver(stream, msg, kernel->sk_redir);
	return SK_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
