/* ctl_announce_test.c - whom announcements go to, by which protocol, from where, when, how often,
 * and how many at a time.
 */
#include "ctl_portmap.h"

#include "ctl/server.h"

#define TELL_SLICE 512 /* messages a second */
#define LOG_MAX	   8192

static const uint8_t pcp_head[8] = {2, 0x80}, natpmp_head[4] = {0, 0x80};

/* What was sent since the last look_again. */
static struct {
	struct ctl_portmap_route to;
	size_t len;
	uint8_t msg[32];
} said[LOG_MAX];
static unsigned n_said;

static bool note(void *arg, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len)
{
	assert_true(n_said < LOG_MAX && len <= sizeof(said[0].msg));
	said[n_said].to = *to;
	said[n_said].len = len;
	memcpy(said[n_said++].msg, msg, len);
	return true;
}

static int setup(void **state)
{
	portmap_setup(state);
	server->conf.reject_after_ns = 180 * NS_IN_S;
	server->ctl->p.portmap_reply = note;
	n_said = 0;
	return 0;
}

/* How much was said. */
static unsigned look_again(void)
{
	n_said = 0;
	noon_ns += CTL_LOOK_NS;
	ctl_tick(server->ctl);
	return n_said;
}

static void is_heard(uint32_t peer_idx)
{
	peer_home_set(server->peers, peer_idx, 0);
	peer_hot(server->peers, peer_idx)->last_received_ns = noon_ns;
}

static void lose_all(void)
{
	char fault[CTL_FAULT_CHARS];

	/* As at a start without a store. */
	assert_int_equal(ctl_load_conf(server->ctl, fault), 0);
}

static void goes(unsigned i, uint32_t peer_idx, const char *from, const char *to)
{
	struct ip_addr gateway = address(from), peer = address(to);

	assert_true(i < n_said);
	assert_int_equal(said[i].to.peer_idx, peer_idx);
	assert_int_equal(said[i].to.peer.port, 5350);
	assert_int_equal(said[i].to.gateway.port, 5351);
	assert_true(ip_equal(&said[i].to.gateway.addr, &gateway));
	assert_true(ip_equal(&said[i].to.peer.addr, &peer));
}

static void is_pcp(unsigned i)
{
	assert_int_equal(said[i].len, 24);
	assert_memory_equal(said[i].msg, pcp_head, sizeof(pcp_head));
	/* Lost leases begin it anew; another address does not. */
	assert_int_equal(load_be32(said[i].msg + 8), (noon_ns - NOON_NS) / NS_IN_S);
}

static void is_natpmp(unsigned i, const uint8_t address_v4[static 4])
{
	assert_int_equal(said[i].len, 12);
	assert_memory_equal(said[i].msg, natpmp_head, sizeof(natpmp_head));
	assert_int_equal(load_be32(said[i].msg + 4), (noon_ns - NOON_NS) / NS_IN_S);
	assert_memory_equal(said[i].msg + 8, address_v4, 4);
}

static const uint8_t public_v4[4] = {198, 51, 100, 1};

static void three_times_to_who_is_heard(void **state)
{
	assert_int_equal(look_again(), 0);
	lose_all();
	assert_int_equal(look_again(), 0); /* nobody is there */
	is_heard(alice);
	/* By both protocols, for who knows which it speaks. */
	for (unsigned s = 1; s <= 10; s++) {
		assert_int_equal(look_again(), s == 1 || s == 2 || s == 4 ? 2 : 0);
		if (n_said == 0)
			continue;
		goes(0, alice, "10.0.0.1", "10.0.0.2");
		is_pcp(0);
		goes(1, alice, "10.0.0.1", "10.0.0.2");
		is_natpmp(1, public_v4);
	}
	/* Who comes later is told then; who was silent for long is not there. */
	is_heard(bob);
	noon_ns += 200 * NS_IN_S;
	assert_int_equal(look_again(), 0);
	is_heard(bob);
	assert_int_equal(look_again(), 2);
	goes(0, bob, "10.0.0.1", "10.0.0.3");
}

static void not_to_who_may_not_map_ports(void **state)
{
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':false}"));
	lose_all();
	json_decref(call(&operator, "peer.set", "{'peer':'bob','forwarding':false}"));
	is_heard(alice);
	is_heard(bob);
	assert_int_equal(look_again(), 0);
	assert_int_equal(look_again(), 0);
}

/* An orchestrator says its peers again after a start that lost them, and turns on what they may. */
static void to_those_who_are_added_later(void **state)
{
	lose_all();
	add_peer(&operator, "carol", 4);
	is_heard(peer_find(server->peers, "carol"));
	assert_int_equal(look_again(), 0);
	json_decref(call(&operator, "peer.set", "{'peer':'carol','portmap':true}"));
	assert_int_equal(look_again(), 2);
	goes(0, peer_find(server->peers, "carol"), "10.0.0.1", "10.0.0.4");
	json_decref(call(&operator, "peer.add",
		"{'public_key':'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQY=','name':'dave',"
		"'address4':'10.0.0.6','forwarding':true,'portmap':true}"));
	is_heard(peer_find(server->peers, "dave"));
	look_again();
	assert_true(n_said >= 2);
	goes(n_said - 1, peer_find(server->peers, "dave"), "10.0.0.1", "10.0.0.6");
}

static void not_to_those_added_when_nothing_was_lost(void **state)
{
	add_peer(&operator, "carol", 4);
	json_decref(call(&operator, "peer.set", "{'peer':'carol','portmap':true}"));
	is_heard(peer_find(server->peers, "carol"));
	assert_int_equal(look_again(), 0);
}

/* As if it had had another. */
static void move_address(uint32_t peer_idx)
{
	peer_public_set(server->peers, peer_idx, 0xc6336409);
}

static void another_address_is_told_of(void **state)
{
	is_heard(alice);
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':80}"));
	assert_int_equal(look_again(), 0); /* it has the one address there is */
	noon_ns += 100 * NS_IN_S;
	move_address(alice);
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':81}"));
	assert_int_equal(look_again(), 2);
	is_pcp(0);
	is_natpmp(1, public_v4);
}

/* The answer to PCP has the address; that to NAT-PMP has none, nor has that to a deletion. */
static void but_not_when_the_answer_has_it(void **state)
{
	struct pcp m;

	server->ctl->p.portmap_reply = hear;
	m = pcp_map(alice, 17, 6881, 0, 3600);
	move_address(alice);
	pcp_granted(alice, &m);
	move_address(bob);
	natpmp_map(bob, PORTMAP_NATPMP_UDP, 6881, 0, 3600);
	server->ctl->p.portmap_reply = note;
	is_heard(alice);
	is_heard(bob);
	assert_int_equal(look_again(), 2);
	goes(0, bob, "10.0.0.1", "10.0.0.3");
	/* Alice is known by now to speak PCP only. */
	look_again();
	look_again();
	look_again();
	is_heard(alice);
	is_heard(bob);
	move_address(alice);
	m = pcp_map(alice, 17, 6881, 0, 0);
	tell(alice, m.bytes, m.len);
	if (look_again() == 0) /* the round of all peers ended here */
		look_again();
	assert_int_equal(n_said, 1);
	is_pcp(0);
}

static void ask_over(uint32_t peer_idx, const char *from, const char *gateway)
{
	static const uint8_t any[60] = {2};
	struct ctl_portmap_request r = {
		.from = {.peer_idx = peer_idx,
			.peer = {address(from), 4444},
			.gateway = {address(gateway), PORTMAP_PORT}},
		.msg = any,
		.len = sizeof(any),
	};

	ctl_portmap_take(server->ctl, &r);
}

/* Clients take nothing from anywhere else; and what a peer has over IPv6 is lost as well. */
static void from_where_it_was_asked_last(void **state)
{
	is_heard(alice);
	ask_over(alice, "10.0.0.2", "10.0.0.1");
	ask_over(alice, "10.0.0.2", "192.0.0.9");
	ask_over(alice, "fd00::2", "2001:1::1");
	lose_all();
	assert_int_equal(look_again(), 2);
	goes(0, alice, "192.0.0.9", "10.0.0.2");
	goes(1, alice, "2001:1::1", "fd00::2");
	is_pcp(0);
	is_pcp(1);
	/* Its addresses are others now: from the first ones to where it is. */
	json_decref(call(&operator, "peer.set", "{'peer':'alice','address4':'10.0.0.22'}"));
	server->conf.inner_addrs[1] = address("fd00::1");
	server->conf.n_inner_addrs = 2;
	json_decref(call(&operator, "peer.set", "{'peer':'alice','address6':'fd00::22'}"));
	lose_all();
	assert_int_equal(look_again(), 2);
	goes(0, alice, "10.0.0.1", "10.0.0.22");
	goes(1, alice, "fd00::1", "fd00::22");
}

static void so_many_a_second(void **state)
{
	unsigned n = 0;
	char name[32];

	for (unsigned i = 0; i < TELL_SLICE; i++) {
		snprintf(name, sizeof(name), "peer%u", i);
		add_peer(&operator, name, 100 + i);
		is_heard(peer_find(server->peers, name));
	}
	for (unsigned i = 0; i < TELL_SLICE; i++) {
		char params[64];

		snprintf(params, sizeof(params), "{'peer':'peer%u','portmap':true}", i);
		json_decref(call(&operator, "peer.set", params));
	}
	lose_all();
	assert_int_equal(look_again(), TELL_SLICE);
	assert_int_equal(look_again(), TELL_SLICE);
	n = 2 * TELL_SLICE;
	for (unsigned i = 0; i < 20; i++) {
		assert_true(look_again() <= TELL_SLICE);
		n += n_said;
	}
	assert_int_equal(n, 3 * 2 * TELL_SLICE);
}

int main(void)
{
#define served(test) cmocka_unit_test_setup_teardown(test, setup, portmap_teardown)
	const struct CMUnitTest tests[] = {
		served(three_times_to_who_is_heard),
		served(not_to_who_may_not_map_ports),
		served(to_those_who_are_added_later),
		served(not_to_those_added_when_nothing_was_lost),
		served(another_address_is_told_of),
		served(but_not_when_the_answer_has_it),
		served(from_where_it_was_asked_last),
		served(so_many_a_second),
	};

	return cmocka_run_group_tests(tests, portmap_group_setup, NULL);
}
