/* ctl_natpmp_test.c - what a peer is answered by NAT-PMP, row by row of RFC 6886 and of what
 * clients rely on.
 */
#include "ctl_portmap.h"

#include "ctl/server.h"

#define UDP	  PORTMAP_NATPMP_UDP
#define TCP	  PORTMAP_NATPMP_TCP
#define A_SECOND  NS_IN_S
#define MAX_TTL_S 86400u

static void external_address(void **state)
{
	static const uint8_t request[] = {0, 0};
	const struct lease *lease;

	/* There is only one that it can be. */
	ask_quickly(bob, request, sizeof(request));
	assert_int_equal(heard.msg[3], 0);
	assert_memory_equal(heard.msg + 8, ((uint8_t[]){198, 51, 100, 1}), 4);
	/* Where none was decided, there is none. */
	peer_public_set(server->peers, bob, 0);
	server->conf.pool[0] = prefix("198.51.100.0/30");
	ask_quickly(bob, request, sizeof(request));
	assert_int_equal(heard.len, 12);
	assert_memory_equal(heard.msg, ((uint8_t[]){0, 128, 0, 3}), 4);
	assert_int_equal(load_be32(heard.msg + 8), 0);

	/* That of its ordinary traffic. */
	peer_public_set(server->peers, bob, 0xc6336402);
	ask_quickly(bob, request, sizeof(request));
	assert_int_equal(heard.msg[3], 0);
	assert_memory_equal(heard.msg + 8, ((uint8_t[]){198, 51, 100, 2}), 4);

	natpmp_map(alice, UDP, 6881, 0, 3600);
	lease = lease_of(alice, LEASE_PROTO_UDP, 6881);
	noon_ns += 5 * A_SECOND;
	ask_quickly(alice, request, sizeof(request));
	assert_int_equal(heard.len, 12);
	assert_memory_equal(heard.msg, ((uint8_t[]){0, 128, 0, 0, 0, 0, 0, 5}), 8);
	assert_memory_equal(heard.msg + 8, ip_v4_bytes(&lease->public_addr), 4);
}

/* Byte by byte. */
static void a_mapping(void **state)
{
	struct natpmp m = natpmp(TCP, 8080, 40042, 3600);
	uint8_t want[16] = {0, 130, 0, 0, 0, 0, 0, 7, 0x1f, 0x90, 0x9c, 0x6a, 0, 0, 0x0e, 0x10};
	struct ip_addr to = address("10.0.0.2"), gateway = address("10.0.0.1");
	const struct lease *lease;

	noon_ns += 7 * A_SECOND;
	ask(alice, m.bytes, sizeof(m.bytes));
	assert_int_equal(heard.len, sizeof(want));
	assert_memory_equal(heard.msg, want, sizeof(want));
	/* From exactly the address that was asked. */
	assert_true(ip_equal(&heard.to.gateway.addr, &gateway));
	assert_true(ip_equal(&heard.to.peer.addr, &to));
	/* No mapping of the other protocol comes with it. */
	lease = lease_of(alice, LEASE_PROTO_TCP, 8080);
	assert_int_equal(lease->protos, LEASE_PROTO_TCP);
	assert_int_equal(lease->opener, LEASE_BY_NATPMP);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 8080));
}

/* Open on every worker before its opener is told so. */
static void a_new_mapping_waits_for_the_workers(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600), gone = natpmp(UDP, 6881, 0, 0);

	server->is_withholding = true;
	tell(alice, m.bytes, sizeof(m.bytes));
	/* Impatient clients ask again within a second. */
	tell(alice, m.bytes, sizeof(m.bytes));
	for (unsigned i = 0; i < 100; i++)
		pump(server);
	assert_int_equal(heard.n, 0);
	server->is_withholding = false;
	hear_until(2);

	/* Shut before its closer is told so, twice as well. */
	server->is_withholding = true;
	tell(alice, gone.bytes, sizeof(gone.bytes));
	tell(alice, gone.bytes, sizeof(gone.bytes));
	for (unsigned i = 0; i < 100; i++)
		pump(server);
	assert_int_equal(heard.n, 2);
	server->is_withholding = false;
	hear_until(4);
}

static void a_renewal_waits_for_nothing(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600);
	uint16_t port = natpmp_map(alice, UDP, 6881, 0, 3600);
	size_t n_pending = grace_pending(server->grace);

	server->is_withholding = true;
	for (unsigned i = 0; i < 1000; i++) {
		noon_ns += 45 * A_SECOND;
		ask_quickly(alice, m.bytes, sizeof(m.bytes));
		assert_int_equal(natpmp_read(UDP).public_port, port);
		assert_int_equal(natpmp_read(UDP).lifetime_s, 3600);
		/* Which workers need not know of. */
		assert_int_equal(grace_pending(server->grace), n_pending);
	}
	assert_int_equal(lease_count(server->leases, alice), 1);
	server->is_withholding = false;
}

/* Whatever others do, and whatever is suggested meanwhile. */
static void a_port_never_rotates(void **state)
{
	uint16_t udp = natpmp_map(alice, UDP, 6881, 0, 60);
	uint16_t tcp = natpmp_map(alice, TCP, 6881, 0, 60);

	assert_int_equal(tcp, udp);
	for (unsigned i = 0; i < 200; i++) {
		noon_ns += 45 * A_SECOND;
		ctl_tick(server->ctl);
		natpmp_map(
			bob, UDP, (uint16_t)(1000 + i % 5), (uint16_t)(FIRST_PORT + i % 100), 60);
		assert_int_equal(natpmp_map(alice, i % 2 ? TCP : UDP, 6881,
					 (uint16_t)(FIRST_PORT + i % 100), 60),
			udp);
		assert_int_equal(natpmp_map(alice, i % 2 ? UDP : TCP, 6881, 0, 60), udp);
	}
	assert_int_equal(lease_count(server->leases, alice), 2);
}

static void the_companion_gets_the_same_port_in_either_order(void **state)
{
	uint16_t first = natpmp_map(alice, TCP, 1001, 0, 3600);
	uint16_t second = natpmp_map(alice, UDP, 1002, 0, 3600);

	/* Held for alice: bob gets others, even when he names it. */
	assert_int_not_equal(natpmp_map(bob, UDP, 1001, first, 3600), first);
	assert_int_not_equal(natpmp_map(bob, TCP, 1002, second, 3600), second);
	assert_int_equal(natpmp_map(alice, UDP, 1001, second, 3600), first);
	assert_int_equal(natpmp_map(alice, TCP, 1002, first, 3600), second);
	assert_int_equal(lease_of(alice, LEASE_PROTO_TCP, 1001)->public_port, first);
}

static void a_suggestion_is_honoured_when_free_and_allowed(void **state)
{
	assert_int_equal(natpmp_map(alice, UDP, 1001, 40077, 3600), 40077);
	assert_int_not_equal(natpmp_map(bob, UDP, 1001, 40077, 3600), 40077);
	/* Out of the range for leases. */
	natpmp_map(bob, UDP, 1002, 80, 3600);
	natpmp_map(bob, UDP, 1003, 65535, 3600);
	/* Its own for something else. */
	assert_int_not_equal(natpmp_map(alice, UDP, 1002, 40077, 3600), 40077);
	/* How state is recovered after a loss. */
	assert_int_equal(natpmp_ask(alice, UDP, 1001, 0, 0).result, 0);
	assert_int_equal(natpmp_map(alice, UDP, 1001, 40077, 3600), 40077);
}

static void lifetimes(void **state)
{
	static const struct {
		uint32_t asked_s, granted_s;
	} cases[] = {{1, 60}, {59, 60}, {60, 60}, {61, 61}, {3600, 3600}, {MAX_TTL_S, MAX_TTL_S},
		{MAX_TTL_S + 1, MAX_TTL_S}, {0x7fffffff, MAX_TTL_S}, {0xffffffff, MAX_TTL_S}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct natpmp_reply r = natpmp_ask(alice, UDP, 6881, 0, cases[i].asked_s);
		const struct lease *lease = lease_of(alice, LEASE_PROTO_UDP, 6881);

		assert_int_equal(r.result, 0);
		assert_int_equal(r.lifetime_s, cases[i].granted_s);
		assert_true(lease->expires_ns == noon_ns + cases[i].granted_s * A_SECOND);
	}
	/* As long as was said, and no longer. */
	noon_ns += MAX_TTL_S * A_SECOND - 1;
	ctl_tick(server->ctl);
	assert_non_null(lease_of(alice, LEASE_PROTO_UDP, 6881));
	noon_ns += 1;
	ctl_tick(server->ctl);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 6881));
	/* 64 bits: in a hundred years from now, too. */
	noon_ns += 36500ull * 86400 * A_SECOND;
	assert_int_equal(natpmp_ask(alice, UDP, 6881, 0, 0xffffffff).lifetime_s, MAX_TTL_S);
}

static void check_deletion(struct natpmp_reply r, uint16_t inner_port)
{
	assert_int_equal(r.result, 0);
	assert_int_equal(r.inner_port, inner_port);
	assert_int_equal(r.public_port, 0);
	assert_int_equal(r.lifetime_s, 0);
}

static void deletion(void **state)
{
	natpmp_map(alice, UDP, 1001, 0, 3600);
	natpmp_map(alice, TCP, 1001, 0, 3600);
	natpmp_map(alice, UDP, 1002, 0, 3600);
	natpmp_map(bob, UDP, 1001, 0, 3600);

	check_deletion(natpmp_ask(alice, UDP, 1001, 0, 0), 1001);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 1001));
	assert_non_null(lease_of(alice, LEASE_PROTO_TCP, 1001));
	/* The same for what is not there. */
	check_deletion(natpmp_ask(alice, UDP, 1001, 7, 0), 1001);
	check_deletion(natpmp_ask(alice, UDP, 9, 0, 0), 9);
	/* All of a protocol, of that protocol only, of this peer only. */
	check_deletion(natpmp_ask(alice, UDP, 0, 0, 0), 0);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 1002));
	assert_non_null(lease_of(alice, LEASE_PROTO_TCP, 1001));
	assert_non_null(lease_of(bob, LEASE_PROTO_UDP, 1001));
	check_deletion(natpmp_ask(alice, TCP, 0, 0, 0), 0);
	check_deletion(natpmp_ask(alice, TCP, 0, 0, 0), 0);
	assert_int_equal(lease_count(server->leases, alice), 0);
}

/* natpmpc -a 1 0 udp 60 */
static void a_symmetric_mapping(void **state)
{
	uint16_t port = natpmp_map(alice, UDP, 0, 1, 60);
	const struct lease *lease = lease_of(alice, LEASE_PROTO_UDP, port);

	assert_non_null(lease);
	assert_int_equal(lease->inner_port, port);
	assert_int_equal(natpmp_map(alice, TCP, 0, 1, 60), port);
	for (unsigned i = 0; i < 20; i++) {
		noon_ns += 45 * A_SECOND;
		ctl_tick(server->ctl);
		assert_int_equal(natpmp_map(alice, UDP, 0, 1, 60), port);
		assert_int_equal(natpmp_map(alice, TCP, 0, (uint16_t)(40000 + i), 60), port);
	}
	/* By its port, as others ask once they know it. */
	assert_int_equal(natpmp_map(alice, UDP, port, port, 60), port);
	assert_int_not_equal(natpmp_map(bob, UDP, 0, 1, 60), port);
	assert_int_equal(lease_count(server->leases, alice), 2);
}

/* Refusals have the full size, say the inner port again, and no other port. */
static void refused(uint32_t peer_idx, uint8_t op, uint16_t result)
{
	struct natpmp_reply r = natpmp_ask(peer_idx, op, 6881, 40001, 3600);

	assert_int_equal(r.result, result);
	assert_int_equal(r.inner_port, 6881);
	assert_int_equal(r.public_port, 0);
	assert_int_equal(r.lifetime_s, 0);
}

static void a_peer_that_may_not(void **state)
{
	static const uint8_t address[] = {0, 0};

	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':false}"));
	refused(alice, UDP, 2);
	refused(alice, TCP, 2);
	ask_quickly(alice, address, sizeof(address));
	assert_int_equal(heard.len, 12);
	assert_memory_equal(heard.msg, ((uint8_t[]){0, 128, 0, 2}), 4);
	json_decref(
		call(&operator, "peer.set", "{'peer':'alice','portmap':true,'forwarding':false}"));
	refused(alice, UDP, 2);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','forwarding':true}"));
	natpmp_map(alice, UDP, 6881, 0, 3600);
}

static void no_room(void **state)
{
	json_decref(call(&operator, "peer.set", "{'peer':'alice','max_leases':2}"));
	natpmp_map(alice, UDP, 1, 0, 3600);
	natpmp_map(alice, TCP, 1, 0, 3600);
	refused(alice, UDP, 4);
	/* What it has it keeps. */
	natpmp_map(alice, TCP, 1, 0, 3600);
	/* All leases there may be. */
	json_decref(call(&operator, "peer.set", "{'peer':'bob','max_leases':1000}"));
	for (uint16_t i = 0; i < MAX_LEASES - 2; i++)
		natpmp_map(bob, UDP, (uint16_t)(10000 + i), 0, 3600);
	refused(bob, UDP, 4);
	natpmp_map(bob, UDP, 10000, 0, 3600);
}

/* RFC 6886, 3.5: "network failure", which asking again later may mend. */
static void no_address(void **state)
{
	static const uint8_t request[] = {0, 0};

	ask_quickly(alice, request, sizeof(request));
	assert_memory_equal(heard.msg, ((uint8_t[]){0, 128, 0, 3}), 4);
	refused(alice, UDP, 3);
	refused(alice, TCP, 3);
	assert_int_equal(lease_count(server->leases, alice), 0);
}

static void what_is_not_supported(void **state)
{
	static const uint8_t version_1[] = {1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t want_version[24] = {2, 0x81, 0, 1, 0, 0, 7, 8, 0, 0, 0, 9};
	uint8_t msg[2] = {0, 3};
	unsigned n = heard.n;

	noon_ns += 9 * A_SECOND;
	ask_quickly(alice, msg, sizeof(msg));
	assert_int_equal(heard.len, 8);
	assert_memory_equal(heard.msg, ((uint8_t[]){0, 131, 0, 5, 0, 0, 0, 9}), 8);
	msg[1] = 127;
	ask_quickly(alice, msg, sizeof(msg));
	assert_memory_equal(heard.msg, ((uint8_t[]){0, 255, 0, 5, 0, 0, 0, 9}), 8);
	/* What a NAT-PMP client reads as result 1. */
	ask_quickly(alice, version_1, sizeof(version_1));
	assert_int_equal(heard.len, 24);
	assert_memory_equal(heard.msg, want_version, 24);
	/* Answers are no requests, nor is half an opcode. */
	n = heard.n;
	for (unsigned op = 128; op < 256; op++) {
		msg[1] = (uint8_t)op;
		tell(alice, msg, sizeof(msg));
	}
	tell(alice, msg, 1);
	tell(alice, msg, 0);
	assert_int_equal(heard.n, n);
}

/* Cut short: refused, at full size, with as much of the inner port as there was. */
static void a_mapping_cut_short(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 40001, 3600);

	for (size_t len = 2; len < sizeof(m.bytes); len++) {
		ask_quickly(alice, m.bytes, len);
		assert_int_equal(natpmp_read(UDP).result, 2);
		assert_int_equal(natpmp_read(UDP).inner_port, len >= 6	 ? 6881
							      : len == 5 ? 0x1a00
									 : 0);
	}
	assert_int_equal(lease_count(server->leases, alice), 0);
}

static void the_epoch_goes_on(void **state)
{
	assert_int_equal(natpmp_ask(alice, UDP, 6881, 0, 3600).epoch_s, 0);
	noon_ns += A_SECOND - 1;
	assert_int_equal(natpmp_ask(alice, UDP, 6881, 0, 3600).epoch_s, 0);
	noon_ns += 1;
	assert_int_equal(natpmp_ask(alice, UDP, 6881, 0, 3600).epoch_s, 1);
	noon_ns += 1000 * A_SECOND;
	assert_int_equal(natpmp_ask(alice, UDP, 6881, 0, 3600).epoch_s, 1001);
}

/* A door of the operator is told, and stays as it is. */
static void the_operators_own(void **state)
{
	struct lease before;
	struct natpmp_reply r;

	json_decref(call(&operator, "lease.open",
		"{'peer':'alice','to_port':6881,'public_port':40050,'ttl_s':1000}"));
	before = *lease_of(alice, LEASE_PROTO_UDP, 6881);
	r = natpmp_ask(alice, UDP, 6881, 0, 60);
	assert_int_equal(r.result, 0);
	assert_int_equal(r.public_port, 40050);
	assert_int_equal(r.lifetime_s, 60);
	assert_int_equal(natpmp_ask(alice, TCP, 6881, 40051, 7200).lifetime_s, 1000);
	assert_int_equal(natpmp_ask(alice, TCP, 6881, 40051, 0).result, 2);
	assert_int_equal(natpmp_ask(alice, UDP, 0, 0, 0).result, 0);
	assert_memory_equal(lease_of(alice, LEASE_PROTO_UDP, 6881), &before, sizeof(before));
}

static void a_peer_that_is_gone_is_told_nothing(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600);
	struct ctl_portmap_request r = {
		.from = {.peer_idx = bob, .peer = {address("10.0.0.3"), 1}},
		.msg = m.bytes,
		.len = sizeof(m.bytes),
	};

	json_decref(call(&operator, "peer.del", "{'peer':'bob'}"));
	ctl_portmap_take(server->ctl, &r);
	assert_int_equal(heard.n, 0);
	assert_int_equal(lease_count(server->leases, UINT32_MAX), 0);
}

static void what_happened_is_counted(void **state)
{
	json_t *stats, *n;

	natpmp_map(alice, UDP, 1, 0, 3600);
	natpmp_map(alice, UDP, 1, 0, 3600);
	natpmp_ask(alice, UDP, 1, 0, 0);
	tell(alice, (const uint8_t[]){0, 3}, 2);
	tell(alice, (const uint8_t[]){0, 128}, 2);
	stats = call(&operator, "stats", "{}");
	n = json_object_get(json_object_get(stats, "portmap"), "counters");
	assert_int_equal(number(n, "requests"), 5);
	assert_int_equal(number(n, "answered"), 4);
	assert_int_equal(number(n, "ignored"), 1);
	assert_int_equal(number(n, "opened"), 1);
	assert_int_equal(number(n, "renewed"), 1);
	assert_int_equal(number(n, "closed"), 1);
	assert_int_equal(number(n, "refused"), 1);
	assert_int_equal(number(n, "lost"), 0);
	json_decref(stats);
}

/* The next event of leases, and its reason or NULL. */
static json_t *event_is(struct client *listener, const char *name, const char *reason)
{
	json_t *line = client_json(listener), *event = json_object_get(line, "params");

	assert_string_equal(text(event, "event"), name);
	if (reason != NULL && strstr(text(event, "reason"), reason) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", name, text(event, "reason"), reason);
	json_incref(event);
	json_decref(line);
	return event;
}

static void denial_is(struct client *listener, const char *reason, int left_out)
{
	json_t *event = event_is(listener, "lease.denied", reason);

	assert_string_equal(text(event, "peer"), "alice");
	assert_int_equal(number(event, "to_port"), 6881);
	assert_int_equal(number(event, "left_out"), left_out);
	json_decref(event);
}

/* What is refused is told of, once a second; a suggestion that is not followed is no refusal. */
static void who_is_denied_is_told_of(void **state)
{
	struct pcp many = pcp_map(alice, 17, 6881, 0, 3600);
	struct client listener;
	char prefix[32];

	client_open(&listener, server);
	json_decref(call(&listener, "subscribe", "{'events':['lease']}"));
	natpmp_map(bob, UDP, 1001, 40077, 3600);
	json_decref(event_is(&listener, "lease.opened", NULL));
	natpmp_map(alice, UDP, 1001, 40077, 3600);
	json_decref(event_is(&listener, "lease.opened", NULL));
	natpmp_map(alice, UDP, 1002, 80, 3600);
	json_decref(event_is(&listener, "lease.opened", NULL));
	json_decref(call(&operator, "peer.set", "{'peer':'alice','max_leases':2}"));
	for (unsigned i = 0; i < 5; i++)
		refused(alice, UDP, 4);
	denial_is(&listener, "may have 2 leases", 0);
	noon_ns += A_SECOND;
	refused(alice, TCP, 4);
	denial_is(&listener, "may have 2 leases", 4);

	noon_ns += A_SECOND;
	for (unsigned i = 0; i < 9; i++) {
		snprintf(prefix, sizeof(prefix), "203.0.113.%u", i);
		put_filter(&many, 128, 0, prefix);
	}
	pcp_refused(alice, &many, PORTMAP_PCP_EXCESSIVE_REMOTE_PEERS, 1800);
	denial_is(&listener, "at most 8 source prefixes", 0);
	noon_ns += A_SECOND;
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':false}"));
	refused(alice, UDP, 2);
	denial_is(&listener, "has portmap off", 0);
	noon_ns += A_SECOND;
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':true}"));
	json_decref(call(&operator, "peer.bar", "{'peer':'alice'}"));
	json_decref(event_is(&listener, "lease.closed", NULL));
	json_decref(event_is(&listener, "lease.closed", NULL));
	refused(alice, UDP, 2);
	denial_is(&listener, "is barred", 0);
	/* To ask for an address, or for an end, is not to ask for a lease. */
	noon_ns += A_SECOND;
	ask_quickly(alice, (const uint8_t[]){0, 0}, 2);
	natpmp_ask(alice, UDP, 6881, 0, 0);
	noon_ns += A_SECOND;
	refused(alice, UDP, 2);
	denial_is(&listener, "is barred", 0);
	client_close(&listener);
}

/* With a pool of its own for ordinary traffic, too: a mapping moves nothing. */
static void the_address_stays_with_the_first_mapping(void **state)
{
	static const uint8_t request[] = {0, 0}, want[] = {198, 51, 100, 1};
	uint32_t before;

	server->conf.nat_pool[0] = prefix("203.0.113.64/26");
	server->conf.n_nat_pool = 1;
	pairing_init(&server->ctl->pairing, server->conf.private_key, server->conf.nat_pool, 1);
	json_decref(call(&operator, "peer.set", "{'peer':'bob','portmap':false}"));
	before = peer_public(server->peers, bob);
	assert_int_equal(before >> 8, 0xcb0071);
	json_decref(call(&operator, "peer.set", "{'peer':'bob','portmap':true}"));
	ask_quickly(bob, request, sizeof(request));
	assert_memory_equal(heard.msg + 8, want, 4);
	assert_int_equal(peer_public(server->peers, bob), 0xc6336401);
	natpmp_map(bob, UDP, 6881, 0, 3600);
	ask_quickly(bob, request, sizeof(request));
	assert_memory_equal(heard.msg + 8, want, 4);
	natpmp_ask(bob, UDP, 6881, 0, 0);
	ask_quickly(bob, request, sizeof(request));
	assert_memory_equal(heard.msg + 8, want, 4);
	json_decref(call(&operator, "peer.set", "{'peer':'bob','portmap':false}"));
	assert_int_equal(peer_public(server->peers, bob), before);
}

/* The end comes while an answer waits. */
static void an_answer_that_waits_for_ever(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600);

	server->is_withholding = true;
	tell(alice, m.bytes, sizeof(m.bytes));
	tell(alice, m.bytes, sizeof(m.bytes));
}

#define answered(f) cmocka_unit_test_setup_teardown(f, portmap_setup, portmap_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		answered(external_address),
		answered(a_mapping),
		answered(a_new_mapping_waits_for_the_workers),
		answered(a_renewal_waits_for_nothing),
		answered(a_port_never_rotates),
		answered(the_companion_gets_the_same_port_in_either_order),
		answered(a_suggestion_is_honoured_when_free_and_allowed),
		answered(lifetimes),
		answered(deletion),
		answered(a_symmetric_mapping),
		answered(a_peer_that_may_not),
		answered(no_room),
		cmocka_unit_test_setup_teardown(
			no_address, portmap_setup_without_address, portmap_teardown),
		answered(what_is_not_supported),
		answered(a_mapping_cut_short),
		answered(the_epoch_goes_on),
		answered(the_operators_own),
		answered(a_peer_that_is_gone_is_told_nothing),
		answered(what_happened_is_counted),
		answered(who_is_denied_is_told_of),
		answered(the_address_stays_with_the_first_mapping),
		answered(an_answer_that_waits_for_ever),
	};

	return cmocka_run_group_tests(tests, portmap_group_setup, NULL);
}
