#include "probe/probe.h"

#include "base/bytes.h"
#include "why/why.h"

#include <stdlib.h>

#define TCP_FIN			0x01
#define TCP_SYN			0x02
#define TCP_RST			0x04
#define TCP_ACK			0x10
#define TCP_FLAGS_OF_CONNECTION (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)

#define ICMP_UNREACHABLE   3
#define ICMP_CODE_TOO_BIG  4
#define ICMPV6_UNREACHABLE 1

#define HOPS 64

struct probes {
	struct probe slots[PROBE_SLOTS];
	struct grace *grace;
	_Atomic uint32_t n_running __attribute__((aligned(64)));
};

struct probes *probes_create(struct grace *g)
{
	struct probes *ps = aligned_alloc(64, sizeof(*ps));

	if (ps == NULL)
		return NULL;
	memset(ps, 0, sizeof(*ps));
	ps->grace = g;
	for (unsigned i = 0; i < PROBE_SLOTS; i++)
		ps->slots[i].probes = ps;
	return ps;
}

void probes_destroy(struct probes *ps)
{
	free(ps);
}

/* --- control */

uint8_t probe_begin(struct probes *ps, const struct probe_ask *ask)
{
	for (uint8_t i = 0; i < PROBE_SLOTS; i++) {
		struct probe *p = &ps->slots[i];

		if (p->is_taken)
			continue;
		p->is_taken = true;
		p->ask = *ask;
		atomic_store_explicit(&p->answer, 0, memory_order_relaxed);
		atomic_store_explicit(&p->lost, 0, memory_order_relaxed);
		atomic_store_explicit(&p->is_running, true, memory_order_release);
		atomic_fetch_add_explicit(&ps->n_running, 1, memory_order_release);
		return (uint8_t)(i + 1);
	}
	return 0;
}

static void retire(void *arg)
{
	struct probe *p = arg;

	p->is_taken = false;
}

void probe_end(struct probes *ps, uint8_t number)
{
	struct probe *p = &ps->slots[number - 1];

	atomic_store_explicit(&p->is_running, false, memory_order_release);
	atomic_fetch_sub_explicit(&ps->n_running, 1, memory_order_release);
	/* A worker may be comparing with it. */
	grace_defer_work(ps->grace, &p->retire, retire, p);
}

const struct probe_ask *probe_ask_get(const struct probes *ps, uint8_t number)
{
	return &ps->slots[number - 1].ask;
}

struct probe_answer probe_answer_get(const struct probes *ps, uint8_t number, uint64_t *answered_ns)
{
	const struct probe *p = &ps->slots[number - 1];
	uint32_t packed = atomic_load_explicit(&p->answer, memory_order_acquire);

	if (packed != 0)
		*answered_ns = atomic_load_explicit(&p->answered_ns, memory_order_relaxed);
	return (struct probe_answer){.kind = (enum probe_kind)(packed & 0xff),
		.icmp_type = (uint8_t)(packed >> 8),
		.icmp_code = (uint8_t)(packed >> 16)};
}

bool probe_lost_get(const struct probes *ps, uint8_t number, enum stats_drop *reason)
{
	uint32_t lost = atomic_load_explicit(&ps->slots[number - 1].lost, memory_order_relaxed);

	if (lost == 0)
		return false;
	*reason = (enum stats_drop)(lost - 1);
	return true;
}

void probe_again(struct probes *ps, uint8_t number)
{
	atomic_store_explicit(&ps->slots[number - 1].lost, 0, memory_order_relaxed);
}

/* --- packets */

static uint16_t build(const struct probe_ask *ask, const struct ip_endpoint *to, uint8_t tcp_flags,
	uint32_t tcp_seq, uint8_t *out)
{
	const struct why_packet q = {
		.proto = ask->proto,
		.src = ask->from.addr,
		.dst = to->addr,
		.src_port = ask->from.port,
		.dst_port = to->port,
		.tcp_flags = tcp_flags,
		.ttl = HOPS,
		.dont_fragment = true,
	};
	size_t len = why_packet_build(&q, out, PROBE_PKT_BYTES);
	struct nat_view v;

	if (ask->proto != NAT_PROTO_TCP || nat_parse(out, len, &v) != NAT_OK)
		return (uint16_t)len;
	store_be32(out + v.l4_offset + 4, tcp_seq);
	store_be16(out + v.l4_offset + 16, nat_l4_checksum(out, &v));
	return (uint16_t)len;
}

uint16_t probe_build(const struct probe_ask *ask, uint8_t out[static PROBE_PKT_BYTES])
{
	return build(ask, &ask->public, TCP_SYN, ask->tcp_seq, out);
}

/* RFC 9293, 3.10.7.4: what the peer's half-open connection takes is the next number. */
uint16_t probe_build_reset(const struct probe_ask *ask, uint8_t out[static PROBE_PKT_BYTES])
{
	return build(ask, &ask->inner, TCP_RST, ask->tcp_seq + 1, out);
}

/* --- answers */

bool probes_are_running(const struct probes *ps)
{
	return atomic_load_explicit(&ps->n_running, memory_order_acquire) != 0;
}

static bool is_at(
	const struct nat_view *v, const uint8_t *addr, uint16_t port, const struct ip_endpoint *end)
{
	struct ip_addr a = v->version == 4 ? ip_from_v4(addr) : ip_from_v6(addr);

	return port == end->port && ip_equal(&a, &end->addr);
}

/* From where the door leads, to where the probe came from. */
static bool is_back(const struct probe_ask *ask, const uint8_t *pkt, const struct nat_view *v)
{
	const uint8_t *src = pkt + (v->version == 4 ? 12 : 8),
		      *dst = pkt + (v->version == 4 ? 16 : 24);

	return v->proto == ask->proto && is_at(v, src, v->src_port, &ask->inner) &&
	       is_at(v, dst, v->dst_port, &ask->from);
}

static struct probe_answer read_tcp(
	const struct probe_ask *ask, const uint8_t *pkt, const struct nat_view *v)
{
	const uint8_t *tcp = pkt + v->l4_offset;
	uint8_t flags = tcp[13] & TCP_FLAGS_OF_CONNECTION;

	if (!(flags & TCP_ACK) || load_be32(tcp + 8) != ask->tcp_seq + 1 ||
		load_be16(tcp + 16) != nat_l4_checksum(pkt, v))
		return (struct probe_answer){0};
	if (flags == (TCP_SYN | TCP_ACK))
		return (struct probe_answer){.kind = PROBE_ACCEPTED};
	return (struct probe_answer){.kind = flags & TCP_RST ? PROBE_RESET : PROBE_NOTHING};
}

static struct probe_answer read_udp(const uint8_t *pkt, const struct nat_view *v)
{
	uint16_t sum = load_be16(pkt + v->l4_offset + 6);
	bool is_sound = sum == 0 ? v->version == 4 : sum == nat_l4_checksum(pkt, v);

	return (struct probe_answer){.kind = is_sound ? PROBE_DATAGRAM : PROBE_NOTHING};
}

static bool is_quoted(
	const struct probe_ask *ask, const uint8_t *pkt, const struct nat_icmp_error *e)
{
	if (!e->has_ports || e->inner_proto != ask->proto || e->inner_src_port != ask->from.port ||
		e->inner_dst_port != ask->inner.port || !ip_equal(&e->inner_src, &ask->from.addr) ||
		!ip_equal(&e->inner_dst, &ask->inner.addr))
		return false;
	/* The first 8 bytes are quoted, where there are ports. */
	return ask->proto != NAT_PROTO_TCP || load_be32(pkt + e->inner_l4_at + 4) == ask->tcp_seq;
}

static bool is_unreachable(const struct nat_view *v, const struct nat_icmp_error *e)
{
	if (v->version == 4)
		return e->type == ICMP_UNREACHABLE && e->code != ICMP_CODE_TOO_BIG;
	return e->type == ICMPV6_UNREACHABLE;
}

/* error: what the packet quotes; NULL: it is no ICMP error. It is for the probe. */
static struct probe_answer read_answer(const struct probe_ask *ask, const uint8_t *pkt,
	const struct nat_view *v, const struct nat_icmp_error *error)
{
	if (error != NULL)
		return is_unreachable(v, error)
			       ? (struct probe_answer){PROBE_UNREACHABLE, error->type, error->code}
			       : (struct probe_answer){0};
	return v->proto == NAT_PROTO_TCP ? read_tcp(ask, pkt, v) : read_udp(pkt, v);
}

static void note_answer(struct probe *p, const struct probe_answer *a, uint64_t now_ns)
{
	uint32_t packed =
		(uint32_t)a->kind | (uint32_t)a->icmp_type << 8 | (uint32_t)a->icmp_code << 16;

	atomic_store_explicit(&p->answered_ns, now_ns, memory_order_relaxed);
	atomic_store_explicit(&p->answer, packed, memory_order_release);
}

uint8_t probe_take(struct probes *ps, uint32_t peer_idx, const uint8_t *pkt,
	const struct nat_view *v, enum nat_verdict verdict, uint64_t now_ns,
	struct probe_answer *out)
{
	struct nat_icmp_error room, *error = NULL;

	if (verdict == NAT_OTHER_PROTO) {
		if (nat_icmp_error_parse(pkt, v, &room) != NAT_OK)
			return 0;
		error = &room;
	} else if (verdict != NAT_OK) {
		return 0;
	}
	for (uint8_t i = 0; i < PROBE_SLOTS; i++) {
		struct probe *p = &ps->slots[i];

		if (!atomic_load_explicit(&p->is_running, memory_order_acquire) ||
			p->ask.peer_idx != peer_idx ||
			!(error ? is_quoted(&p->ask, pkt, error) : is_back(&p->ask, pkt, v)))
			continue;
		*out = (struct probe_answer){0};
		if (atomic_load_explicit(&p->answer, memory_order_relaxed) == 0)
			*out = read_answer(&p->ask, pkt, v, error);
		if (out->kind != PROBE_NOTHING)
			note_answer(p, out, now_ns);
		return (uint8_t)(i + 1);
	}
	return 0;
}

void probe_note_lost(struct probes *ps, uint8_t number, enum stats_drop reason)
{
	atomic_store_explicit(
		&ps->slots[number - 1].lost, (uint32_t)reason + 1, memory_order_relaxed);
}
