// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a pod sends is checked here, at the host's end of its veth, and handed straight to the pod that it is for.
 *
 * A frame bears the pod's own MAC and addresses or it is dropped; the record under its source address says whose they
 * are. What is for another pod of the same bridge skips the bridge; all else goes on to it as if this program were not
 * there. Below, a reader for each protocol says what to do with a frame, `own`: the address that must be the pod's, and
 * `to`: where it goes; pod_ingress() then looks `own` up, and for most packets `to`.
 *
 * Packets are read in place and changed by helpers only: one direct store would make the kernel copy every cloned
 * packet first, and TCP sends clones.
 */
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "patu_maps.h"

PATU_POD_MAPS(PATU_DEFINE_MAP)

/* Verdicts on a frame if its sender is who it says. GO_ON: the next program if there is one, then the bridge. */
#define GO_ON TC_ACT_UNSPEC
#define DROP TC_ACT_SHOT
#define FORWARD TC_ACT_REDIRECT

union address {
	struct patu_addr addr;
	__u32 words[4];
	__u64 halves[2];
};

struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u16 sender[2]; /* halves: no multiple of 4 from the start */
	__u8 target_mac[ETH_ALEN];
	__u16 target[2];
};
_Static_assert(sizeof(struct arp) == 28, "ARP for IPv4 over Ethernet");
#define ARP_REQUEST 1
#define ARP_REPLY 2

#define IPV4_BYTES (ETH_HLEN + sizeof(struct iphdr))
#define IPV6_BYTES (ETH_HLEN + sizeof(struct ipv6hdr))

/* RFC 4861: type, code, checksum, 4 bytes of flags; in solicitations and advertisements the target; options. */
#define ND_TARGET (IPV6_BYTES + 8)
#define ND_BYTES (IPV6_BYTES + 32) /* the longest that is let through */
#define ND_ROUTER_SOLICITATION 133
#define ND_ROUTER_ADVERTISEMENT 134
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137
#define ND_OPTION_SOURCE_MAC 1
#define ND_OPTION_TARGET_MAC 2
#define MLD_REPORT 131
#define MLD_DONE 132
#define MLD2_REPORT 143

/* Written out: clang merges loads of skb->data into a copy of 32 bits, which the verifier takes for a number. */
static __always_inline const void *frame(const struct __sk_buff *skb)
{
	const void *data;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(data) : "r"(skb), "i"(offsetof(struct __sk_buff, data)));
	return data;
}

static __always_inline const void *frame_end(const struct __sk_buff *skb)
{
	const void *end;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(end) : "r"(skb), "i"(offsetof(struct __sk_buff, data_end)));
	return end;
}

/* Headers lie in the linear part, mostly. Where not, this copies what there is of them, also because the rest may be
 * memory of the sender's (PACKET_TX_RING), who changes it after we have looked. The caller gets its pointers anew. */
static __always_inline void make_linear(struct __sk_buff *skb, __u32 bytes)
{
	if (frame(skb) + bytes > frame_end(skb))
		bpf_skb_pull_data(skb, skb->len < bytes ? skb->len : bytes);
}

static __always_inline bool same_mac(const void *one, const void *other)
{
	const __u16 *a = one, *b = other;

	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static __always_inline bool same(const union address *a, const union address *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

static __always_inline bool is_link_local(const union address *addr)
{
	return (addr->words[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline union address mapped(__u32 v4)
{
	return (union address){.words = {0, 0, bpf_htonl(0xffff), v4}};
}

static __always_inline int read_ipv4(struct __sk_buff *skb, union address *own, union address *to)
{
	const struct iphdr *ip;

	make_linear(skb, IPV4_BYTES);
	ip = frame(skb) + ETH_HLEN;
	if ((void *)(ip + 1) > frame_end(skb))
		return DROP;
	*own = mapped(ip->saddr);
	*to = mapped(ip->daddr);
	return FORWARD;
}

/* A probe (RFC 5227) has no sender yet: it may ask for the pod's own address only. */
static __always_inline int read_arp(struct __sk_buff *skb, union address *own)
{
	const struct ethhdr *eth;
	const struct arp *arp;
	const __u16 *claimed;

	make_linear(skb, ETH_HLEN + sizeof(*arp));
	eth = frame(skb);
	arp = (void *)(eth + 1);
	if ((void *)(arp + 1) > frame_end(skb))
		return DROP;
	if (arp->hardware != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) || arp->hardware_length != ETH_ALEN ||
	    arp->protocol_length != 4 || !same_mac(arp->sender_mac, eth->h_source))
		return DROP;
	claimed = arp->sender;
	if (arp->operation == bpf_htons(ARP_REQUEST)) {
		if (!(claimed[0] | claimed[1]))
			claimed = arp->target;
	} else if (arp->operation != bpf_htons(ARP_REPLY)) {
		return DROP;
	}
	*own = mapped(0);
	__builtin_memcpy(&own->words[3], claimed, sizeof(own->words[3]));
	return GO_ON;
}

/* Neighbour discovery must speak of its sender only, and no pod is a router. */
static __always_inline int read_discovery(struct __sk_buff *skb, const struct ipv6hdr *ip, __u8 type, const __u8 *mac,
					  const union address *link_local, union address *own)
{
	const bool unspecified = !(own->halves[0] | own->halves[1]);
	const __u32 length = bpf_ntohs(ip->payload_len);
	const __u32 fixed = type == ND_ROUTER_SOLICITATION ? 8 : 24;
	struct {
		__u8 type;
		__u8 length;
		__u16 mac[3];
	} option;
	union address target;

	if (type == ND_ROUTER_ADVERTISEMENT || type == ND_REDIRECT || (unspecified && type != ND_SOLICITATION))
		return DROP;
	if (type == ND_ADVERTISEMENT || unspecified) {
		if (bpf_skb_load_bytes(skb, ND_TARGET, &target, sizeof(target)))
			return DROP;
		/* The MAC proves the link-local address; what is left to prove then is the target. */
		if (unspecified || same(own, link_local))
			*own = target;
		else if (!same(&target, own) && !same(&target, link_local))
			return DROP;
	}
	/* At most one option, of 8 bytes, is all that Linux sends: of several, receivers believe the last. */
	if (skb->len < IPV6_BYTES + length)
		return DROP;
	if (length == fixed)
		return GO_ON;
	if (length != fixed + sizeof(option) || bpf_skb_load_bytes(skb, IPV6_BYTES + fixed, &option, sizeof(option)))
		return DROP;
	if ((option.type == ND_OPTION_SOURCE_MAC || option.type == ND_OPTION_TARGET_MAC) && !same_mac(option.mac, mac))
		return DROP;
	return GO_ON;
}

/* A host joins multicast groups before it has an address (RFC 3590): a router alert, then the report. */
static __always_inline bool is_multicast_report(struct __sk_buff *skb)
{
	__u8 bytes[9];

	if (bpf_skb_load_bytes(skb, IPV6_BYTES, bytes, sizeof(bytes)) || bytes[0] != IPPROTO_ICMPV6 || bytes[1] != 0)
		return false;
	return bytes[8] == MLD_REPORT || bytes[8] == MLD_DONE || bytes[8] == MLD2_REPORT;
}

/* ICMPv6, and whatever has no global source. */
static __always_inline int read_unusual_ipv6(struct __sk_buff *skb, const struct ipv6hdr *ip, const __u8 *mac,
					     int verdict, union address *own)
{
	const union address link_local = {.addr = patu_link_local(0, mac)};

	if (ip->nexthdr == IPPROTO_ICMPV6) {
		__u8 type;

		if (bpf_skb_load_bytes(skb, IPV6_BYTES, &type, sizeof(type)))
			return DROP;
		if (type >= ND_ROUTER_SOLICITATION && type <= ND_REDIRECT)
			verdict = read_discovery(skb, ip, type, mac, &link_local, own);
	} else if (!(own->halves[0] | own->halves[1]) && ip->nexthdr == IPPROTO_HOPOPTS && is_multicast_report(skb)) {
		*own = link_local;
	}
	if (own->halves[0] == 0) /* unspecified, loopback, mapped IPv4: none is a pod's */
		return DROP;
	if (is_link_local(own)) {
		if (!same(own, &link_local))
			return DROP;
		own->words[1] = skb->ifindex;
	}
	return verdict;
}

static __always_inline int read_ipv6(struct __sk_buff *skb, union address *own, union address *to)
{
	const struct ethhdr *eth;
	const struct ipv6hdr *ip;
	int verdict = FORWARD;

	make_linear(skb, IPV6_BYTES);
	eth = frame(skb);
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > frame_end(skb))
		return DROP;
	if (ip->nexthdr == IPPROTO_ICMPV6) {
		make_linear(skb, ND_BYTES);
		eth = frame(skb);
		ip = (void *)(eth + 1);
		if ((void *)(ip + 1) > frame_end(skb))
			return DROP;
	}
	__builtin_memcpy(own, &ip->saddr, sizeof(*own));
	__builtin_memcpy(to, &ip->daddr, sizeof(*to));
	if (to->halves[0] == 0 || to->addr.bytes[0] >= 0xfe) /* mapped IPv4; link-local, multicast */
		verdict = GO_ON;
	/* Neighbour discovery behind other headers: nobody sends it so but to hide it (RFC 7113), and only a hop limit
	 * of 255 makes receivers believe it. Behind a fragment header they never do (RFC 6980). */
	if (ip->hop_limit == 255 &&
	    (ip->nexthdr == IPPROTO_HOPOPTS || ip->nexthdr == IPPROTO_ROUTING || ip->nexthdr == IPPROTO_DSTOPTS))
		return DROP;
	if (ip->nexthdr == IPPROTO_ICMPV6 || own->halves[0] == 0 || is_link_local(own))
		return read_unusual_ipv6(skb, ip, eth->h_source, verdict, own);
	return verdict;
}

/* From pod to pod on one bridge nothing is routed, so that the TTL stays. Records may be recycled under us: the ifindex
 * is read once, and the worst is that a pod gets a packet for an address that it does not have. */
static __always_inline int forward(struct __sk_buff *skb, const struct patu_pod *from, const union address *to,
				   const __u8 *mac)
{
	const struct patu_pod *pod;
	__u32 ifindex;

	if (mac[0] & 1) /* multicast and broadcast */
		return GO_ON;
	pod = bpf_map_lookup_elem(&pods, to);
	if (!pod || pod->bridge_ifindex != from->bridge_ifindex)
		return GO_ON;
	if (pod->flags & from->flags & PATU_POD_ISOLATED) /* the bridge knows, and drops it */
		return GO_ON;
	ifindex = pod->ifindex;
	if (ifindex == skb->ifindex)
		return GO_ON;
	if (!same_mac(pod->mac, mac) && bpf_skb_store_bytes(skb, 0, pod->mac, ETH_ALEN, 0))
		return DROP;
	/* Linux < 6.16 leaves the type as it is, and the host's end has called it somebody else's. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}

SEC("tc")
int pod_ingress(struct __sk_buff *skb)
{
	const struct patu_pod *pod;
	union address own, to;
	const struct ethhdr *eth;
	int verdict = DROP;

	if (skb->vlan_present)
		return DROP;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		verdict = read_ipv4(skb, &own, &to);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		verdict = read_ipv6(skb, &own, &to);
	else if (skb->protocol == bpf_htons(ETH_P_ARP))
		verdict = read_arp(skb, &own);
	if (verdict == DROP)
		return DROP;
	eth = frame(skb);
	if ((void *)(eth + 1) > frame_end(skb))
		return DROP;
	pod = bpf_map_lookup_elem(&pods, &own);
	if (!pod || pod->ifindex != skb->ifindex || !same_mac(pod->mac, eth->h_source))
		return DROP;
	return verdict == FORWARD ? forward(skb, pod, &to, eth->h_dest) : verdict;
}

char _license[] SEC("license") = "Dual BSD/GPL";
