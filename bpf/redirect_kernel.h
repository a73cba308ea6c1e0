/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's own types, as far as socket redirection reads them. */
#pragma once

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
