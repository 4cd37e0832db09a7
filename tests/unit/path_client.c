/* path_client.c - the rig's clients: WireGuard's far end, and the orders that a handshake gives. */
#include "path_rig.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lease/lease.h"

static void drain_peer_msgs(struct rig *r)
{
	void *msg;

	/* The handshake thread has nothing to say against it. */
	while (mbox_pop_burst(r->peer_msgs_out, &msg, 1))
		assert_true(mbox_push(r->peer_msgs_in, msg));
	peers_poll(r->peers);
}

void rig_lease_open(struct rig *r, struct rig_client *c)
{
	struct lease l = {.id = ++c->lease_id * 100 + c->peer_idx,
		.state = LEASE_ACTIVE,
		.peer_idx = c->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.public_addr = frame_addr(RIG_POOL4),
		.public_port = c->lease_port,
		.inner_addr = frame_addr(c->inner4),
		.inner_port = RIG_INNER_PORT};

	assert_int_equal(doors_open(r->doors, &l), 0);
	c->lease_id = l.id;
}

void rig_lease_close(struct rig *r, struct rig_client *c)
{
	assert_int_equal(doors_close(r->doors, c->lease_id), 0);
}

void rig_client_filter(struct rig *r, struct rig_client *c, enum flow_filter filter)
{
	struct peer_conf conf = *peer_conf_get(r->peers, c->peer_idx);
	const char *culprit = "";

	conf.limits.filter = filter;
	assert_int_equal(peer_set(r->peers, c->peer_idx, &conf, &culprit), 0);
	drain_peer_msgs(r);
}

struct rig_client *rig_client_add(struct rig *r, unsigned i, unsigned home)
{
	struct rig_client *c = &r->clients[i];
	struct peer_conf conf = {.public_key = {(uint8_t)(i + 1)},
		.forwarding = true,
		.limits = {.max_sessions = 64, .max_blocks = 2, .new_per_s = 1000, .burst = 1000}};
	struct ip_addr pool = frame_addr(RIG_POOL4);
	const char *culprit = "";
	char outer[32];

	snprintf(c->inner4, sizeof(c->inner4), "10.0.0.%u", 10 + i);
	snprintf(c->inner6, sizeof(c->inner6), "fd00::%u", 10 + i);
	snprintf(outer, sizeof(outer), "192.0.2.%u", 10 + i);
	c->outer = (struct ip_endpoint){frame_addr(outer), (uint16_t)(7000 + i)};
	c->entry = RIG_ENTRY4;
	c->lease_port = (uint16_t)(RIG_LEASE_PORT + i);
	conf.address4 = frame_addr(c->inner4);
	conf.address6 = frame_addr(c->inner6);
	assert_int_equal(peer_add(r->peers, &conf, &c->peer_idx, &culprit), 0);
	drain_peer_msgs(r);
	peer_public_set(r->peers, c->peer_idx, load_be32(ip_v4_bytes(&pool)));
	c->home = home;
	peer_home_set(r->peers, c->peer_idx, (uint8_t)home);
	rig_lease_open(r, c);
	return c;
}

struct peer_order *rig_order(struct rig *r, enum peer_order_kind kind, const struct rig_client *c)
{
	struct peer_order *o;

	assert_int_equal(rte_mempool_get(r->orders, (void **)&o), 0);
	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->peer_idx = c->peer_idx;
	return o;
}

void rig_order_push(struct rig *r, unsigned worker, struct peer_order *o)
{
	assert_true(mbox_push(r->mail[worker].orders, o));
}

static struct peer_path client_path(const struct rig_client *c)
{
	return (struct peer_path){.remote = c->outer, .local = frame_addr(c->entry), .port_idx = 0};
}

void rig_client_order_keys(struct rig *r, struct rig_client *c, bool is_initiator)
{
	struct peer_order *o = rig_order(r, PEER_ORDER_INSTALL, c);
	uint32_t slot = r->n_keys++ % r->keypairs->n_slots;

	/* Those of long ago have been retired. */
	if (r->keypairs->n_used[c->home] <= slot)
		r->keypairs->n_used[c->home] = slot + 1;
	crypto_random(c->to_gateway_key, sizeof(c->to_gateway_key));
	crypto_random(c->to_client_key, sizeof(c->to_client_key));
	memcpy(o->recv_key, c->to_gateway_key, sizeof(o->recv_key));
	memcpy(o->send_key, c->to_client_key, sizeof(o->send_key));
	c->counter = 0;
	c->gateway_idx = keypairs_index(r->keypairs, c->home, slot, 0xabc + r->n_keys);
	c->own_idx = 0x1000 * (c->peer_idx + 1) + r->n_keys;
	o->local_idx = c->gateway_idx;
	c->keypair = keypairs_get(r->keypairs, c->gateway_idx);
	o->remote_idx = c->own_idx;
	o->is_initiator = is_initiator;
	o->created_ns = rig_now_ns;
	o->path = client_path(c);
	rig_order_push(r, c->home, o);
}

void rig_client_connect(struct rig *r, struct rig_client *c)
{
	struct frame f;

	rig_client_order_keys(r, c, false);
	rig_worker_turn(r, c->home);
	rig_client_frame(r, c, &f, NULL, 0);
	rig_rx(r, RIG_TUNNEL, 0, &f);
	rig_settle(r);
	assert_non_null(rig_hot(r, c)->session.current);
	rig_tx_discard(r);
}

void rig_client_frame(
	struct rig *r, struct rig_client *c, struct frame *f, const void *inner, size_t len)
{
	uint8_t msg[FRAME_BYTES_MAX];
	char outer[IP_TEXT_CHARS];
	struct flow flow = {.src = ip_addr_format(&c->outer.addr, outer),
		.dst = c->entry,
		.src_port = c->outer.port,
		.dst_port = RIG_LISTEN_PORT,
		.proto = IPPROTO_UDP};
	/* As clients do: up to the MTU, and a packet past it as it is. */
	size_t padded = RTE_MAX(len, RTE_MIN((len + 15) / 16 * 16, (size_t)RIG_INNER_MTU));
	uint8_t plain[FRAME_BYTES_MAX] = {0};

	if (len)
		memcpy(plain, inner, len);
	store_le32(msg, WGMSG_DATA);
	store_le32(msg + 4, c->gateway_idx);
	store_le64(msg + 8, c->counter);
	crypto_aead_seal(msg + 16, plain, padded, NULL, 0, c->counter, c->to_gateway_key);
	c->counter++;
	frame_build(f, rig_neighbour_mac(RIG_TUNNEL), &r->ports[RIG_TUNNEL].mac, &flow, msg,
		16 + padded + 16);
}

void rig_client_flow(struct rig *r, struct rig_client *c, struct frame *f, const struct flow *flow,
	size_t payload_len)
{
	uint8_t inner[FRAME_BYTES_MAX];
	size_t len = packet_build(inner, flow, NULL, payload_len);

	rig_client_frame(r, c, f, inner, len);
}

int rig_client_open(struct rig *r, struct rig_client *c, const struct frame *f, uint8_t *out)
{
	const struct rte_ether_hdr *eth = (const void *)f->bytes;
	const uint8_t *ip = f->bytes + FRAME_ETHER, *msg = ip + packet_payload_at(ip);
	char outer[IP_TEXT_CHARS];
	struct flow flow = {.src = c->entry,
		.dst = ip_addr_format(&c->outer.addr, outer),
		.src_port = RIG_LISTEN_PORT,
		.dst_port = c->outer.port,
		.proto = IPPROTO_UDP,
		.hops = 64};
	size_t len = f->len - FRAME_ETHER - packet_payload_at(ip);

	if (!rte_is_same_ether_addr(&eth->dst_addr, rig_neighbour_mac(RIG_TUNNEL)) ||
		!rte_is_same_ether_addr(&eth->src_addr, &r->ports[RIG_TUNNEL].mac) ||
		!packet_is_sound(ip, f->len - FRAME_ETHER) || !packet_is(ip, &flow))
		return -1;
	if (wgmsg_classify(msg, len) != WGMSG_DATA || load_le32(msg + 4) != c->own_idx)
		return -1;
	if (!crypto_aead_open(
		    out, msg + 16, len - 16, NULL, 0, load_le64(msg + 8), c->to_client_key))
		return -1;
	return (int)(len - 32);
}

struct peer_hot *rig_hot(struct rig *r, const struct rig_client *c)
{
	return peer_hot(r->peers, c->peer_idx);
}
