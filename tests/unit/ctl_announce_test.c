/* ctl_announce_test.c - whom PCP's announcement goes to, when, how often, and how many at a time.
 */
#include "ctl_portmap.h"

#define TELL_SLICE 512 /* a second */

static void look_again(void)
{
	noon_ns += CTL_LOOK_NS;
	ctl_tick(server->ctl);
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

static void three_times_to_who_is_heard(void **state)
{
	static const uint8_t want[24] = {2, 0x80};
	unsigned n = 0;

	server->conf.reject_after_ns = 180 * NS_IN_S;
	look_again();
	assert_int_equal(heard.n, 0);
	lose_all();
	look_again();
	assert_int_equal(heard.n, 0); /* nobody is there */
	is_heard(alice);
	for (unsigned s = 1; s <= 10; s++) {
		unsigned before = heard.n;

		look_again();
		n += heard.n > before;
		assert_int_equal(heard.n - before, s == 1 || s == 2 || s == 4);
	}
	assert_int_equal(n, 3);
	assert_int_equal(heard.to.peer_idx, alice);
	assert_int_equal(heard.to.peer.port, 5350);
	assert_int_equal(heard.to.gateway.port, 5351);
	assert_true(ip_equal(&heard.to.gateway.addr, &server->conf.inner_addrs[0]));
	assert_int_equal(heard.len, 24);
	assert_memory_equal(heard.msg, want, 8);
	assert_int_equal(load_be32(heard.msg + 8), (noon_ns - NOON_NS) / NS_IN_S - 6);
	/* Who comes later is told then; who was silent for long is not there. */
	is_heard(bob);
	noon_ns += 200 * NS_IN_S;
	look_again();
	assert_int_equal(heard.n, 3);
	is_heard(bob);
	look_again();
	assert_int_equal(heard.n, 4);
	assert_int_equal(heard.to.peer_idx, bob);
}

static void not_to_who_may_not_map_ports(void **state)
{
	server->conf.reject_after_ns = 180 * NS_IN_S;
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':false}"));
	lose_all();
	json_decref(call(&operator, "peer.set", "{'peer':'bob','forwarding':false}"));
	is_heard(alice);
	is_heard(bob);
	look_again();
	look_again();
	assert_int_equal(heard.n, 0);
}

static void another_address_is_told_of(void **state)
{
	server->conf.reject_after_ns = 180 * NS_IN_S;
	is_heard(alice);
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':80}"));
	look_again();
	assert_int_equal(heard.n, 0);			   /* it has the one address there is */
	peer_public_set(server->peers, alice, 0xc6336409); /* as if it had had another */
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':81}"));
	look_again();
	assert_int_equal(heard.n, 1);
	assert_int_equal(heard.to.peer_idx, alice);
}

static void so_many_a_second(void **state)
{
	char name[32];

	server->conf.reject_after_ns = 180 * NS_IN_S;
	for (unsigned i = 0; i < 2 * TELL_SLICE; i++) {
		snprintf(name, sizeof(name), "peer%u", i);
		add_peer(&operator, name, 100 + i);
		is_heard(peer_find(server->peers, name));
	}
	for (unsigned i = 0; i < 2 * TELL_SLICE; i++) {
		char params[64];

		snprintf(params, sizeof(params), "{'peer':'peer%u','portmap':true}", i);
		json_decref(call(&operator, "peer.set", params));
	}
	lose_all();
	look_again();
	assert_int_equal(heard.n, TELL_SLICE);
	look_again();
	assert_int_equal(heard.n, 2 * TELL_SLICE);
	for (unsigned i = 0; i < 20; i++)
		look_again();
	assert_int_equal(heard.n, 3 * 2 * TELL_SLICE);
}

int main(void)
{
#define served(test) cmocka_unit_test_setup_teardown(test, portmap_setup, portmap_teardown)
	const struct CMUnitTest tests[] = {
		served(three_times_to_who_is_heard),
		served(not_to_who_may_not_map_ports),
		served(another_address_is_told_of),
		served(so_many_a_second),
	};

	return cmocka_run_group_tests(tests, portmap_group_setup, NULL);
}
