/* ctl_promises_test.c - each promise is broken on purpose, and counted: in stats, health and
 * metrics. Until then all are 0.
 *
 * lease_renew and lease_grant are wrapped, for no rule of theirs would move a port.
 */
#include "ctl_portmap.h"

#include "ctl/server.h"

#define UDP PORTMAP_NATPMP_UDP

static bool moves_ports, refuses_answers;

int __real_lease_renew(struct lease_table *t, uint64_t id, uint64_t ttl_ns, uint64_t now_ns,
	const struct lease **out);
int __wrap_lease_renew(struct lease_table *t, uint64_t id, uint64_t ttl_ns, uint64_t now_ns,
	const struct lease **out);
int __real_lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out);
int __wrap_lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out);

/* The copy that is told of has another port than it had. */
static const struct lease *moved(const struct lease *lease)
{
	static struct lease copy;

	copy = *lease;
	copy.public_port ^= 1;
	return &copy;
}

int __wrap_lease_renew(struct lease_table *t, uint64_t id, uint64_t ttl_ns, uint64_t now_ns,
	const struct lease **out)
{
	int rc = __real_lease_renew(t, id, ttl_ns, now_ns, out);

	if (rc == 0 && moves_ports)
		*out = moved(*out);
	return rc;
}

int __wrap_lease_grant(struct lease_table *t, const struct lease_request *req, uint64_t now_ns,
	const struct lease **out)
{
	int rc = __real_lease_grant(t, req, now_ns, out);

	if (rc == 1 && moves_ports)
		*out = moved(*out);
	return rc;
}

static bool hear_or_not(
	void *arg, const struct ctl_portmap_route *to, const uint8_t *msg, size_t len)
{
	return !refuses_answers && hear(arg, to, msg, len);
}

static int setup(void **state)
{
	moves_ports = refuses_answers = false;
	portmap_setup(state);
	server->ctl->p.portmap_reply = hear_or_not;
	return 0;
}

static int64_t broken(const char *promise)
{
	json_t *stats = call(&operator, "stats", "{}");
	int64_t n =
		number(json_object_get(json_object_get(stats, "promises"), "counters"), promise);

	json_decref(stats);
	return n;
}

static void assert_kept(void)
{
	for (unsigned i = 0; i < STATS_N_PROMISES; i++)
		assert_int_equal(broken(stats_promise_name(i)), 0);
}

/* This one alone, so often; and everybody who looks is told. */
static void assert_broken(const char *promise, int n)
{
	json_t *health = call(&operator, "health", "{}");
	json_t *reasons = json_object_get(health, "reasons");
	char line[128], *metrics;
	size_t len;

	for (unsigned i = 0; i < STATS_N_PROMISES; i++)
		assert_int_equal(broken(stats_promise_name(i)),
			strcmp(stats_promise_name(i), promise) == 0 ? n : 0);
	assert_string_equal(text(health, "health"), "degraded");
	assert_int_equal(json_array_size(reasons), 1);
	snprintf(line, sizeof(line), "promise %s: broken %d times", promise, n);
	assert_non_null(strstr(json_string_value(json_array_get(reasons, 0)), line));
	json_decref(health);
	assert_int_equal(ctl_metrics_build(server->ctl, true, &metrics, &len), 0);
	snprintf(line, sizeof(line), "\nportier_promises_broken_total{promise=\"%s\"} %d\n",
		promise, n);
	assert_non_null(strstr(metrics, line));
	free(metrics);
}

static void all_are_kept(void **state)
{
	json_t *lease;

	natpmp_map(alice, UDP, 6881, 0, 3600);
	natpmp_map(alice, UDP, 6881, 40001, 3600);
	lease = call(&operator, "lease.open", "{'peer':'alice','to_port':80,'proto':'both'}");
	json_decref(lease);
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':80}"));
	json_decref(call(&operator, "lease.open",
		"{'peer':'alice','to_address':'fd00::2','to_port':81,'proto':'tcp'}"));
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':1024,'ports':4}"));
	json_decref(call(&operator, "lease.open", "{'peer':'bob','whole_address':true}"));
	natpmp_map(alice, UDP, 1025, 0, 3600);
	tell(alice, (const uint8_t[]){0, 128}, 2);
	assert_kept();
}

static void a_renewal_moves_the_port(void **state)
{
	uint16_t port = natpmp_map(alice, UDP, 6881, 0, 3600);

	moves_ports = true;
	assert_int_not_equal(natpmp_map(alice, UDP, 6881, 0, 3600), port);
	assert_broken("port_moved", 1);
	json_decref(call(&operator, "lease.renew", "{'id':1}"));
	assert_broken("port_moved", 2);
}

static void an_open_that_renews_moves_the_port(void **state)
{
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':80}"));
	moves_ports = true;
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':80}"));
	assert_broken("port_moved", 1);
}

/* The door goes, as if it had never been there, before its opener is told. */
static void a_client_is_told_too_early(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600);

	server->is_withholding = true;
	tell(alice, m.bytes, sizeof(m.bytes));
	assert_int_equal(doors_close(server->doors, lease_of(alice, LEASE_PROTO_UDP, 6881)->id), 0);
	server->is_withholding = false;
	hear_until(1);
	assert_broken("told_too_early", 1);
	/* At each renewal, too. */
	ask_quickly(alice, m.bytes, sizeof(m.bytes));
	assert_broken("told_too_early", 2);
}

static void the_operator_is_told_too_early(void **state)
{
	const struct lease *lease;

	/* Ids between are those of records of blocks. */
	json_decref(call(&operator, "lease.open", "{'peer':'alice','to_port':79}"));
	lease_ids_skip(server->leases, 1000);
	server->is_withholding = true;
	client_request(&operator, 7, "lease.open", "{\"peer\":\"alice\",\"to_port\":80}");
	while ((lease = lease_of(alice, LEASE_PROTO_TCP, 80)) == NULL)
		pump(server);
	assert_int_equal(doors_close(server->doors, lease->id), 0);
	server->is_withholding = false;
	json_decref(client_json(&operator));
	assert_broken("told_too_early", 1);
}

static void another_address_is_mapped(void **state)
{
	natpmp_map(alice, UDP, 6881, 0, 3600);
	peer_public_set(server->peers, alice, 0xc6336409);
	natpmp_map(alice, UDP, 6881, 0, 3600);
	assert_broken("address_differs", 1);
}

static void requests_without_an_answer(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600);

	server->is_withholding = true;
	tell(alice, m.bytes, sizeof(m.bytes));
	assert_kept(); /* it waits */
	server->is_withholding = false;
	hear_until(1);
	assert_kept();
	refuses_answers = true;
	tell(alice, m.bytes, sizeof(m.bytes));
	assert_broken("unanswered", 1);
	server->stats[1].drop[STATS_DROP_portmap_full] = 5;
	assert_broken("unanswered", 6);
	/* No peer can raise the alarm by asking for too much. */
	server->stats[0].drop[STATS_DROP_portmap_rate] = 3;
	assert_broken("unanswered", 6);
}

/* Who is gone hears nothing. */
static void the_peer_goes_while_its_answer_waits(void **state)
{
	struct natpmp m = natpmp(UDP, 6881, 0, 3600);

	server->is_withholding = true;
	tell(bob, m.bytes, sizeof(m.bytes));
	assert_int_equal(server->ctl->portmap.n_answers, 1);
	client_request(&operator, 7, "peer.del", "{\"peer\":\"bob\"}");
	while (peer_conf_get(server->peers, bob) != NULL)
		pump(server);
	server->is_withholding = false;
	json_decref(client_json(&operator));
	while (server->ctl->portmap.n_answers > 0)
		pump(server);
	assert_kept();
}

static void a_peer_is_not_told(void **state)
{
	server->conf.reject_after_ns = 180 * NS_IN_S;
	peer_home_set(server->peers, alice, 0);
	peer_hot(server->peers, alice)->last_received_ns = noon_ns;
	ctl_announce_to(server->ctl, alice);
	/* No room, for a while. */
	refuses_answers = true;
	for (unsigned i = 0; i < 5; i++) {
		noon_ns += CTL_LOOK_NS;
		ctl_tick(server->ctl);
	}
	assert_int_equal(heard.n, 0);
	refuses_answers = false;
	noon_ns += CTL_LOOK_NS;
	ctl_tick(server->ctl);
	assert_int_not_equal(heard.n, 0);
	assert_int_equal(broken("untold"), 0);
	/* No address to tell it from. */
	server->conf.n_inner_addrs = 0;
	ctl_announce_to(server->ctl, alice);
	noon_ns += CTL_LOOK_NS;
	ctl_tick(server->ctl);
	assert_int_equal(broken("untold"), 1);
}

int main(void)
{
#define served(f) cmocka_unit_test_setup_teardown(f, setup, portmap_teardown)
	const struct CMUnitTest tests[] = {
		served(all_are_kept),
		served(a_renewal_moves_the_port),
		served(an_open_that_renews_moves_the_port),
		served(a_client_is_told_too_early),
		served(the_operator_is_told_too_early),
		served(another_address_is_mapped),
		served(requests_without_an_answer),
		served(the_peer_goes_while_its_answer_waits),
		served(a_peer_is_not_told),
	};

	return cmocka_run_group_tests(tests, portmap_group_setup, NULL);
}
