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

/* ---- the kernel's own types, as far as they are read ----------------------------------------------------------- */

#define KERNEL __attribute__((preserve_access_index))

typedef struct {
	int counter;
} KERNEL atomic_t;

struct list_head {
	struct list_head *next;
} KERNEL;

struct wait_queue_head {
	struct list_head head;
} KERNEL;

struct wait_queue_entry {
	void *private;
	struct list_head entry;
} KERNEL;

struct socket_wq {
	struct wait_queue_head wait;
} KERNEL;

struct poll_wqueues {
} KERNEL;

/* Holders: counted from 1 before Linux 6.13, from 0 since. */
typedef struct {
	long counter;
} KERNEL atomic_long_t;

typedef struct {
	atomic_long_t refcnt;
} KERNEL file_ref_t;

struct file {
	unsigned int f_flags;
	file_ref_t f_ref;
} KERNEL;

struct file___before_6_13 {
	atomic_long_t f_count;
} KERNEL;

struct socket {
	struct file *file;
} KERNEL;

struct files_struct {
	atomic_t count;
} KERNEL;

struct request_sock;
struct tcp_ulp_ops;

struct proto {
	unsigned long *memory_pressure;
} KERNEL;

struct sock_common {
	volatile unsigned char skc_state;
	struct proto *skc_prot;
	unsigned long skc_flags;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	struct {
		struct wait_queue_head wq;
	} sk_lock;
	struct socket_wq *sk_wq;
	struct socket *sk_socket;
	int sk_rcvlowat;
	__u8 sk_kern_sock : 1;
} KERNEL;

/* Of <net/sock.h>; the number is the running kernel's. */
enum sock_flags {
	SOCK_ZEROCOPY,
};

struct inet_connection_sock {
	const struct tcp_ulp_ops *icsk_ulp_ops;
} KERNEL;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 rcv_nxt;
	__u32 write_seq;
	__u8 repair : 1;
	__u8 syn_fastopen : 1;
	struct request_sock *fastopen_rsk;
} KERNEL;

struct sk_msg {
	struct sock *sk_redir;
	struct sock *sk;
} KERNEL;

struct bpf_sock_ops_kern {
	struct sock *sk;
} KERNEL;

struct task_struct {
	unsigned int flags;
	struct files_struct *files;
} KERNEL;

struct pt_regs {
} KERNEL;

extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

#define AS(type, pointer) ((struct type *)bpf_rdonly_cast((pointer), bpf_core_type_id_kernel(struct type)))

#define TCP_CLOSE 7
#define AF_INET 2
#define AF_INET6 10
#define PF_IO_WORKER 0x00000010
#define PF_KTHREAD 0x00200000

/* ---- maps ------------------------------------------------------------------------------------------------------ */

#define DEFINE_MAP(map, kind, key_type, value_type, entries, flags) \
	struct {                                                    \
		__uint(type, kind);                                 \
		__uint(max_entries, entries);                       \
		__uint(map_flags, flags);                           \
		__type(key, key_type);                              \
		__type(value, value_type);                          \
	} map SEC(".maps");
PATU_REDIRECT_MAPS(DEFINE_MAP)

/* Of the pod component these two, which the loader shares. */
#define SHARED(map, ...) SHARED_##map(map, __VA_ARGS__)
#define SHARED_pods(...) DEFINE_MAP(__VA_ARGS__)
#define SHARED_settings(...) DEFINE_MAP(__VA_ARGS__)
#define SHARED_meta(...)
#define SHARED_leases(...)
#define SHARED_released(...)
#define SHARED_attachments(...)
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

/* ---- who may enter the map ------------------------------------------------------------------------------------- */

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

/* ---- is anybody reading it? ------------------------------------------------------------------------------------ */

/* A socket that connects may have a reader already, in another thread, and that one would sleep in TCP's own queue
 * and never wake for redirected bytes. All of this is to be certain that there is none; in doubt the socket does not
 * enter.
 */
#define MAX_WAITERS 8
#define O_NONBLOCK 04000

struct users {
	bool caller_waits; /* in the very system call that began to connect */
	__u32 pollers;
};

/* Tells one system call of a task from its next: all user registers at its entry, which lie at one place for the life
 * of the task and keep their values for the length of the call. 0: they cannot be read.
 */
static __noinline __u64 identify_call(__u64 registers)
{
	const __u32 size = bpf_core_type_size(struct pt_regs);
	__u64 hash = 0xcbf29ce484222325ull;
	__u64 words[8];

	for (__u32 at = 0; at < 1024 && at < size; at += sizeof(words)) {
		__u32 length = size - at;

		if (length > sizeof(words))
			length = sizeof(words);
		__builtin_memset(words, 0, sizeof(words));
		if (bpf_probe_read_kernel(words, length, (const void *)(registers + at)))
			return 0;
		for (int i = 0; i < 8; ++i) {
			hash = (hash ^ words[i]) * 0x100000001b3ull;
			hash ^= hash >> 32;
		}
	}
	return hash;
}

/* Remembers who connects, and in which system call. Not of kernel threads and io_uring's workers: their registers say
 * nothing.
 */
static __always_inline void note_caller(struct patu_stream *stream)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER))
		return;
	stream->connecting_task = (__u64)task;
	stream->connecting_registers = (__u64)bpf_task_pt_regs(task);
	stream->connecting_call = identify_call(stream->connecting_registers);
}

/* Of those who wait for something to happen to the socket, sorts out the ones that do not read it. Whoever blocks in
 * it has an entry on its stack and in `private` its task; epoll has a callback and no private; poll(2) and select(2)
 * keep their (first nine) entries inside the object that `private` points to, where no task has its stack.
 */
static __always_inline bool sort_waiter(const struct list_head *link, const struct patu_stream *stream,
					bool caller_is_inside, struct users *users)
{
	__u64 address = (__u64)link - bpf_core_field_offset(struct wait_queue_entry, entry);
	__u64 private = (__u64)AS(wait_queue_entry, (void *)address)->private;

	if (!private)
		return true;
	if (address - private < bpf_core_type_size(struct poll_wqueues)) {
		++users->pollers;
		return true;
	}
	users->caller_waits = true;
	return caller_is_inside && private == stream->connecting_task;
}

static __always_inline bool sort_waiters(struct sock *sk, const struct patu_stream *stream, bool caller_is_inside,
					 struct users *users)
{
	struct socket_wq *queue = sk->sk_wq;
	const struct list_head *head, *at;

	if (!queue)
		return false;
	head = &queue->wait.head;
	at = head->next;
	for (int i = 0; i <= MAX_WAITERS; ++i) {
		if (at == head)
			return true;
		if (!sort_waiter(at, stream, caller_is_inside, users))
			return false;
		at = at->next;
	}
	return false;
}

static __always_inline __u64 holders_of(struct file *file)
{
	if (bpf_core_field_exists(file->f_ref))
		return file->f_ref.refcnt.counter + 1;
	return AS(file___before_6_13, file)->f_count.counter;
}

/* The caller may be about to read only if reading does not block: it waits in connect(2), or its descriptor is non-
 * blocking. Others that are inside a call hold the file, which a descriptor holds once, a poller once, and a task
 * inside a call once more if it shares its descriptors with another.
 */
static __always_inline bool nobody_reads(struct sock *sk, const struct patu_stream *stream)
{
	struct task_struct *caller = AS(task_struct, (void *)stream->connecting_task);
	bool caller_is_inside =
		stream->connecting_call && identify_call(stream->connecting_registers) == stream->connecting_call;
	struct users users = {};
	struct file *file;

	if (!sort_waiters(sk, stream, caller_is_inside, &users))
		return false;
	file = sk->sk_socket->file;
	if (!file || !(users.caller_waits || (file->f_flags & O_NONBLOCK)))
		return false;
	return holders_of(file) == 1ull + users.pollers + (caller_is_inside && caller->files->count.counter > 1);
}

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
