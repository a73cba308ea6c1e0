/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finds out whether anybody reads a socket at this moment. */
#pragma once

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
