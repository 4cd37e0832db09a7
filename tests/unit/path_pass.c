#include "path_pass.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TIME_STEP_NS (5 * NS_IN_S)
#define PINHOLE_ID   777

struct rig *rig;
struct rig_client *client;

int pass_setup(const struct rig_params *params, unsigned home)
{
	rig = rig_create(params);
	client = pass_client_add(0, home);
	return 0;
}

int pass_teardown(void **state)
{
	rig_destroy(rig);
	return 0;
}

struct rig_client *pass_client_add(unsigned i, unsigned home)
{
	struct rig_client *c = rig_client_add(rig, i, home);

	rig_client_connect(rig, c);
	return c;
}

static void print_drops(void)
{
	for (unsigned i = 0; i < STATS_N_DROPS; i++)
		if (rig_dropped(rig, i))
			print_error("%s %lu\n", stats_drop_name(i), rig_dropped(rig, i));
}

void pass(unsigned from, unsigned to, const struct frame *f, struct frame *out)
{
	uint64_t n_dropped = rig_dropped_all(rig);

	rig_rx(rig, from, 0, f);
	rig_settle(rig);
	if (rig_dropped_all(rig) != n_dropped)
		print_drops();
	assert_int_equal(rig_dropped_all(rig), n_dropped);
	assert_true(rig_tx(rig, to, out));
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
}

static void end_one(unsigned from, const struct frame *f, enum stats_drop reason)
{
	uint64_t n = rig_dropped(rig, reason), n_all = rig_dropped_all(rig);

	rig_rx(rig, from, 0, f);
	rig_settle(rig);
	if (rig_dropped(rig, reason) != n + 1)
		print_drops();
	assert_int_equal(rig_dropped(rig, reason), n + 1);
	assert_int_equal(rig_dropped_all(rig), n_all + 1);
}

void drop_one(unsigned from, const struct frame *f, enum stats_drop reason)
{
	end_one(from, f, reason);
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
}

void refuse_one(unsigned from, unsigned to, const struct frame *f, enum stats_drop reason,
	struct frame *out)
{
	end_one(from, f, reason);
	assert_true(rig_tx(rig, to, out));
	assert_int_equal(rig_tx_count(rig, RIG_TUNNEL) + rig_tx_count(rig, RIG_PUBLIC), 0);
}

void pass_time(uint64_t ns)
{
	for (uint64_t end_ns = rig_now_ns + ns; rig_now_ns < end_ns;) {
		rig_now_ns += RTE_MIN(TIME_STEP_NS, end_ns - rig_now_ns);
		/* Each turn looks at a bounded number of timers. */
		for (unsigned i = 0; i < 8; i++)
			rig_settle(rig);
	}
	rig_client_connect(rig, client);
	rig_tx_discard(rig);
}

struct lease pass_lease(bool is_v4)
{
	struct lease l = {.id = is_v4 ? client->lease_id : PINHOLE_ID,
		.peer_idx = client->peer_idx,
		.protos = LEASE_PROTO_BOTH,
		.inner_addr = frame_addr(is_v4 ? client->inner4 : client->inner6),
		.inner_port = RIG_INNER_PORT};

	l.public_addr = is_v4 ? frame_addr(RIG_POOL4) : l.inner_addr;
	l.public_port = is_v4 ? client->lease_port : RIG_INNER_PORT;
	assert_int_equal(doors_open(rig->doors, &l), 0);
	return l;
}
