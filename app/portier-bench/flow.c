#include "flow.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "nat/nat.h"
#include "rig.h"

#define IPV4_DF	    0x4000
#define PAGE_BYTES  65536u
#define SLICE_BYTES 2048u
#define TTL_SENT    64
#define WAY_BIT	    (UINT64_C(1) << 63)

int flows_init(struct lab_flows *f, uint32_t max_flows, uint32_t max_peers, uint64_t seed)
{
	*f = (struct lab_flows){.max = max_flows, .seed = seed};
	f->flows = calloc(max_flows, sizeof(*f->flows));
	f->page = malloc(PAGE_BYTES + SLICE_BYTES);
	f->sums = malloc((PAGE_BYTES + SLICE_BYTES + 2) / 2 * sizeof(*f->sums));
	f->latest[FLOW_IN] = calloc(max_peers, sizeof(uint64_t));
	f->latest[FLOW_OUT] = calloc(max_peers, sizeof(uint64_t));
	if (!f->flows || !f->page || !f->sums || !f->latest[FLOW_IN] || !f->latest[FLOW_OUT]) {
		flows_fini(f);
		return -1;
	}
	for (uint32_t i = 0; i < PAGE_BYTES + SLICE_BYTES; i += 8)
		store_le64(f->page + i, bench_mix(seed ^ i));
	f->sums[0] = 0;
	for (uint32_t i = 0; i < (PAGE_BYTES + SLICE_BYTES) / 2; i++)
		f->sums[i + 1] = f->sums[i] + load_be16(f->page + 2 * (size_t)i);
	return 0;
}

void flows_fini(struct lab_flows *f)
{
	free(f->flows);
	free(f->page);
	free(f->sums);
	free(f->latest[FLOW_IN]);
	free(f->latest[FLOW_OUT]);
	free(f->is_taken);
	*f = (struct lab_flows){0};
}

void flows_add(struct lab_flows *f, const struct flow *flow)
{
	f->flows[f->n++] = *flow;
}

void flows_use(struct lab_flows *f, uint32_t first, uint32_t n, struct bench_size size)
{
	f->first = first;
	f->n_used = n;
	f->size = size;
	f->in_order = false;
}

void flows_use_in_order(struct lab_flows *f, uint32_t first, uint32_t n, struct bench_size size)
{
	flows_use(f, first, n, size);
	f->in_order = true;
	f->order_began = f->next_number;
}

int flows_pool_set(struct lab_flows *f, const struct flow_pool *pool)
{
	f->pool = *pool;
	f->is_taken = calloc(pool->n_v4, 65536 / 8);
	return f->is_taken ? 0 : -1;
}

static struct flow_pkt pkt_of(const struct lab_flows *f, uint64_t number, enum flow_way way)
{
	uint64_t dice = bench_mix(number ^ f->seed), more = bench_mix(dice);
	uint32_t nth = f->in_order ? (uint32_t)((number - f->order_began) % f->n_used)
				   : (uint32_t)((dice >> 32) * f->n_used >> 32);
	const struct flow *flow = &f->flows[f->first + nth];

	return (struct flow_pkt){
		.number = number,
		.way = way,
		.flow = flow,
		.host_v4 = flow->host_v4 ? flow->host_v4 : RIG_INTERNET_V4 | (more & 0x1ffff),
		.host_port =
			flow->host_v4 ? flow->host_port : (uint16_t)(1024 + (more >> 32 & 0x7fff)),
		.len = bench_size_of(f->size, number),
	};
}

struct flow_pkt flow_next(struct lab_flows *f, enum flow_way way)
{
	f->counts.sent++;
	return pkt_of(f, f->next_number++, way);
}

/* Where the payload behind the number begins in the page: even, so that sums fit. */
static uint32_t slice_at(const struct lab_flows *f, uint64_t number)
{
	return (uint32_t)(bench_mix(number + f->seed) & (PAGE_BYTES - 2));
}

/* RFC 1071 over part of the page. Sums wrap, differences do not. */
static uint32_t slice_sum(const struct lab_flows *f, uint32_t at, uint32_t len)
{
	uint32_t sum = f->sums[(at + len) / 2] - f->sums[at / 2];

	return len & 1 ? sum + ((uint32_t)f->page[at + len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static void headers_build(
	const struct lab_flows *f, const struct flow_pkt *pkt, bool is_sent, uint8_t *ip)
{
	const struct flow *flow = pkt->flow;
	bool is_inside = is_sent == (pkt->way == FLOW_OUT);
	uint32_t our_v4 = is_inside ? flow->inner_v4 : flow->public_v4;
	uint16_t our_port = is_inside ? flow->inner_port : flow->public_port;
	bool to_host = pkt->way == FLOW_OUT;
	uint16_t udp_len = (uint16_t)(pkt->len - 20), checksum;
	uint32_t sum;

	store_be16(ip, 0x4500);
	store_be16(ip + 2, pkt->len);
	store_be16(ip + 4, (uint16_t)pkt->number);
	store_be16(ip + 6, IPV4_DF); /* as most have it; else the gateway changes what is above */
	ip[8] = (uint8_t)(TTL_SENT - !is_sent);
	ip[9] = NAT_PROTO_UDP;
	store_be16(ip + 10, 0);
	store_be32(ip + 12, to_host ? our_v4 : pkt->host_v4);
	store_be32(ip + 16, to_host ? pkt->host_v4 : our_v4);
	store_be16(ip + 10, (uint16_t)~fold(nat_checksum_add(0, ip, 20)));

	store_be16(ip + 20, to_host ? our_port : pkt->host_port);
	store_be16(ip + 22, to_host ? pkt->host_port : our_port);
	store_be16(ip + 24, udp_len);
	store_be16(ip + 26, 0);
	store_le64(ip + 28, pkt->number | (pkt->way == FLOW_OUT ? WAY_BIT : 0));
	sum = nat_checksum_add(NAT_PROTO_UDP + (uint32_t)udp_len, ip + 12, 24);
	sum = fold(sum) +
	      fold(slice_sum(f, slice_at(f, pkt->number), pkt->len - (uint32_t)FLOW_MIN_BYTES));
	checksum = (uint16_t)~fold(sum);
	store_be16(ip + 26, checksum ? checksum : 0xffff);
}

void flow_build(const struct lab_flows *f, const struct flow_pkt *pkt, bool is_sent, uint8_t *out)
{
	headers_build(f, pkt, is_sent, out);
	memcpy(out + FLOW_MIN_BYTES, f->page + slice_at(f, pkt->number),
		pkt->len - (size_t)FLOW_MIN_BYTES);
}

static bool is_as_expected(const struct lab_flows *f, const struct flow_pkt *pkt, const uint8_t *ip,
	uint32_t len, uint32_t max_len)
{
	static const uint8_t zeros[16];
	uint8_t headers[FLOW_MIN_BYTES];
	uint32_t padded = pkt->len;

	if (max_len)
		padded = RTE_MAX(RTE_MIN((pkt->len + 15u) & ~15u, max_len), (uint32_t)pkt->len);
	if (len != padded)
		return false;
	headers_build(f, pkt, false, headers);
	return memcmp(ip, headers, FLOW_MIN_BYTES) == 0 &&
	       memcmp(ip + FLOW_MIN_BYTES, f->page + slice_at(f, pkt->number),
		       pkt->len - (size_t)FLOW_MIN_BYTES) == 0 &&
	       memcmp(ip + pkt->len, zeros, len - pkt->len) == 0;
}

/* The public side that the gateway gave a session, by its first packet; none that it may not give
 * or gave before. */
static void learn_public(struct lab_flows *f, const struct flow *flow, const uint8_t *ip)
{
	uint32_t nth_v4 = load_be32(ip + 12) - f->pool.first_v4;
	uint16_t port = load_be16(ip + 20);
	uint8_t bit = (uint8_t)(1u << port % 8), *byte;

	if (nth_v4 >= f->pool.n_v4 || port < f->pool.port_first || port > f->pool.port_last)
		return;
	byte = &f->is_taken[nth_v4 * (65536 / 8) + port / 8];
	if (*byte & bit)
		return;
	*byte |= bit;
	f->flows[flow - f->flows].public_v4 = f->pool.first_v4 + nth_v4;
	f->flows[flow - f->flows].public_port = port;
}

void flow_arrived(struct lab_flows *f, enum flow_way way, uint32_t peer, const uint8_t *ip,
	uint32_t len, uint32_t max_len)
{
	struct flow_pkt pkt;
	uint64_t number, *latest;
	bool *has_arrived;

	number = len >= FLOW_MIN_BYTES ? load_le64(ip + FLOW_HEADER_BYTES) : UINT64_MAX;
	if (!!(number & WAY_BIT) != (way == FLOW_OUT)) {
		f->counts.foreign++;
		return;
	}
	number &= ~WAY_BIT;
	if (number < f->window_number || number >= f->next_number) {
		f->counts.foreign++;
		return;
	}
	has_arrived = &f->has_arrived[number % FLOW_WINDOW_PKTS];
	if (*has_arrived) {
		f->counts.duplicated++;
		return;
	}
	*has_arrived = true;
	f->counts.received++;
	pkt = pkt_of(f, number, way);
	if (way == FLOW_OUT && !pkt.flow->public_v4)
		learn_public(f, pkt.flow, ip);
	if ((way == FLOW_IN && peer != pkt.flow->peer) ||
		!is_as_expected(f, &pkt, ip, len, max_len))
		f->counts.corrupt++;
	if (f->arrived)
		f->arrived(f->arrived_arg, number, f->stamp);
	latest = &f->latest[way][pkt.flow->peer];
	f->counts.reordered += number < *latest;
	*latest = RTE_MAX(*latest, number + 1);
}

void flow_settle_before(struct lab_flows *f, uint64_t number)
{
	for (; f->window_number < number; f->window_number++) {
		bool *has_arrived = &f->has_arrived[f->window_number % FLOW_WINDOW_PKTS];

		f->counts.lost += !*has_arrived;
		*has_arrived = false;
	}
}

void flow_settle(struct lab_flows *f)
{
	flow_settle_before(f, f->next_number);
}
