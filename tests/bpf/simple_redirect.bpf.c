// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The well-known simple version of socket redirection, which patu does not use: tests show what is wrong with it. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2

struct tuple {
  __u32 local_ip4;
  __u32 remote_ip4;
  __u32 local_port;
  __u32 remote_port;
};

struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, 65536);
  __type(key, struct tuple);
  __type(value, __u32);
} simple_sockets SEC(".maps");

SEC("sockops")
int simple_sockops(struct bpf_sock_ops* ctx) {
  struct tuple key = {ctx->local_ip4, ctx->remote_ip4, ctx->local_port, bpf_ntohl(ctx->remote_port)};

  if (ctx->family == AF_INET &&
      (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB))
    bpf_sock_hash_update(ctx, &simple_sockets, &key, BPF_NOEXIST);
  return 1;
}

SEC("sk_msg")
int simple_skmsg(struct sk_msg_md* msg) {
  struct tuple key = {msg->remote_ip4, msg->local_ip4, bpf_ntohl(msg->remote_port), msg->local_port};

  bpf_msg_redirect_hash(msg, &simple_sockets, &key, BPF_F_INGRESS);
  return SK_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
