/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a message goes to the peer directly or through TCP, and from when on. */
#pragma once

/* More would wait for the peer's lock with memory that nobody is charged for. */
#define MAX_HANDING_OVER 16
/* Of its limit, what may wait at a peer while the way to TCP is not free. */
#define MAX_OVERDRAFT 4

static __always_inline bool is_still(const struct patu_addr *addr, __u64 netns_cookie)
{
	const struct patu_pod *pod = willing_pod(addr);

	return pod && pod->netns_cookie == netns_cookie;
}

/* Where the kernel's TCP is short of memory, TCP waits for some and a redirected message fails. */
static __always_inline bool is_short_of_memory(struct sock *sk)
{
	struct proto *proto = sk->__sk_common.skc_prot;
	__u64 pressure = 0;

	bpf_probe_read_kernel(&pressure, bpf_core_field_size(proto->memory_pressure), proto->memory_pressure);
	return pressure != 0;
}

/* REDIRECTED, or why the direction should go on through TCP. */
static __always_inline __u32 look_at_sender(const struct patu_stream *stream, struct sock *sk)
{
	const struct patu_settings *setting = settings_of_instance();

	if (stream->leaving)
		return stream->leaving;
	if (!setting || !setting->redirect_enabled)
		return PATU_STREAM_SWITCHED_OFF;
	if (!is_still(&stream->self.local, stream->self.netns_cookie) ||
	    !is_still(&stream->peer.local, stream->peer.netns_cookie))
		return PATU_STREAM_POD_CHANGED;
	return is_short_of_memory(sk) ? PATU_STREAM_NO_MEMORY : PATU_STREAM_REDIRECTED;
}

/* The same, for reasons that cannot wait. */
static __always_inline __u32 look_at_tcp(const struct patu_stream *stream, struct tcp_sock *tcp)
{
	if (tcp->write_seq != stream->write_seq)
		return PATU_STREAM_BYPASSED;
	return tcp->inet_conn.icsk_ulp_ops ? PATU_STREAM_PROTOCOL : PATU_STREAM_REDIRECTED;
}

/* Tasks that wait for something to happen to the socket; each holds its file, as do poll(2) and io_uring for each
 * entry.
 */
static __always_inline __u32 count_waiters(struct sock *sk)
{
	const struct list_head *head = &sk->sk_wq->wait.head;
	const struct list_head *at = head->next;
	__u32 count = 0;

	for (int i = 0; i < MAX_WAITERS && at != head; ++i) {
		__u64 address = (__u64)at - bpf_core_field_offset(struct wait_queue_entry, entry);

		__u64 private = (__u64)AS(wait_queue_entry, (void *)address)->private;

		count += private != 0;
		at = at->next;
	}
	return count;
}

/* True if no task other than this one is inside a call on the socket, apart from those that wait in it. (Not static, as
 * is_crowded(): the verifier then goes through its loops once, and not once more for every way that leads here.)
 */
__noinline bool is_alone(struct sk_msg_md *msg)
{
	struct sk_msg *kernel = bpf_cast_to_kern_ctx(msg);
	struct task_struct *task = bpf_get_current_task_btf();
	struct sock *sk = kernel->sk;
	__u32 waiters = count_waiters(sk);
	__u64 holders = holders_of(sk->sk_socket->file);

	/* A waiter that leaves between the two counts must not pass for somebody else. */
	return waiters == count_waiters(sk) && holders == 1ull + waiters + (task->files->count.counter > 1);
}

/* The kernel lets go of the sender's lock while it hands a message over. What TCP brings meanwhile, a MSG_WAITALL
 * reader takes and goes on waiting in TCP, so that the message, and what its sender sends next, would change places.
 * So TCP begins when nothing is being handed over: one task's messages follow each other; with several tasks, no
 * other may be in a call now.
 *
 * What remains: threads that write to one socket all the time, none waiting for another, until what they postpone
 * must not grow any more; a MSG_WAITALL reader may then see one thread's messages out of order.
 */
static __always_inline bool may_leave(struct patu_stream *stream, struct sk_msg_md *msg)
{
	if (!stream->writer || stream->writer == (__u64)bpf_get_current_task_btf() || is_alone(msg))
		return true;
	return ++stream->postponed > PATU_STREAM_MAX_POSTPONED;
}

static __always_inline void note_writer(struct patu_stream *stream)
{
	__u64 task = (__u64)bpf_get_current_task_btf();

	if (!stream->writer)
		stream->writer = task;
	else if (stream->writer != task)
		stream->writer = PATU_STREAM_SEVERAL;
}

/* A socket that was reset keeps its place in the map until it is closed: nobody would ever answer there, and a later
 * connection of the same addresses and ports finds it. The true peer expects the very byte that TCP here would send
 * first. A peer with kTLS would take redirected bytes for decrypted ones.
 */
static __always_inline __u32 look_at_peer(const struct patu_stream *stream, struct sock *peer)
{
	struct tcp_sock *tcp = AS(tcp_sock, peer);

	if (peer->__sk_common.skc_state == TCP_CLOSE || tcp->rcv_nxt != stream->write_seq)
		return PATU_STREAM_NO_PEER;
	return tcp->inet_conn.icsk_ulp_ops ? PATU_STREAM_PROTOCOL : PATU_STREAM_REDIRECTED;
}

__noinline bool is_crowded(struct sk_msg_md *msg)
{
	struct sk_msg *kernel = bpf_cast_to_kern_ctx(msg);
	const struct list_head *head = &kernel->sk_redir->sk_lock.wq.head;
	const struct list_head *at = head->next;

	for (int i = 0; i < MAX_HANDING_OVER; ++i) {
		const struct list_head *next = at->next;

		/* An entry that has just left the queue points to itself. */
		if (at == head || next == at)
			return false;
		at = next;
	}
	return at != head;
}

/* Counts a message that `peer` gets, of which `waiting` bytes lie unread before it. What waits are the latest bytes,
 * so once more than `waiting` have been sent since the mark, all before the mark has been read, and the mark moves
 * here. False if more messages than allowed may lie there.
 */
static __always_inline bool count_message(struct patu_stream *stream, __u32 waiting, __u32 size)
{
	if (!waiting) {
		stream->read_messages = stream->drained_messages = stream->sent.messages;
		stream->mark = stream->sent;
	} else if (stream->sent.bytes - stream->mark.bytes >= waiting) {
		stream->read_messages = stream->mark.messages;
		stream->mark = stream->sent;
	}
	stream->sent.bytes += size;
	++stream->sent.messages;
	return stream->sent.messages - stream->read_messages <= PATU_STREAM_MAX_MESSAGES &&
	       stream->sent.messages - stream->drained_messages <= PATU_STREAM_MAX_UNDRAINED;
}

/* Counts the message, which is redirected in any case, and finds out whether the next one should be. One of any size
 * may go to a peer with nothing to read.
 */
static __always_inline void look_at_receiver(struct patu_stream *stream, struct sk_msg_md *msg, struct sock *peer)
{
	const struct patu_settings *setting = settings_of_instance();
	__u64 limit = setting ? setting->redirect_limit_bytes : 0;
	__u32 waiting = peer->sk_backlog.rmem_alloc.counter;
	__u32 size = msg->size;

	if (!count_message(stream, waiting, size))
		stream->leaving = PATU_STREAM_FULL_MESSAGES;
	else if (waiting && (__u64)waiting + size > limit)
		stream->leaving = PATU_STREAM_FULL_BYTES;
	if (is_crowded(msg))
		stream->leaving = PATU_STREAM_CROWDED;
	if (waiting > MAX_OVERDRAFT * limit || stream->leaving == PATU_STREAM_CROWDED)
		stream->postponed = PATU_STREAM_MAX_POSTPONED;
}
