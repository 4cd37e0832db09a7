/* One writer, lock-free readers: what is in is always found, what is out is not, no slot is lost.
 */
#include "table/table.h"
#include "eal.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

struct key {
	uint64_t word[2];
};

static struct key make_key(uint64_t i)
{
	return (struct key){{i, ~i}};
}

static void *value_of(uint64_t i)
{
	return (void *)(uintptr_t)(i * 16 + 16);
}

static void test_create_refuses(void **state)
{
	struct grace *g = grace_create(1);
	struct table *t = table_create("twice", 10, 16, SOCKET_ID_ANY, g);

	assert_non_null(t);
	assert_null(table_create("twice", 10, 16, SOCKET_ID_ANY, g));
	assert_null(table_create("none", 0, 16, SOCKET_ID_ANY, g));
	assert_null(table_create("odd", 10, 12, SOCKET_ID_ANY, g));
	assert_null(table_create("no key", 10, 0, SOCKET_ID_ANY, g));
	assert_null(table_create("long", 10, TABLE_KEY_BYTES_MAX + 8, SOCKET_ID_ANY, g));
	/* 2^27 slots of 80 bytes: past the 32-bit offsets of the key store. */
	assert_null(table_create("4 GiB", 100000000, 64, SOCKET_ID_ANY, g));
	assert_null(table_create("2^30", 1000000000, 8, SOCKET_ID_ANY, g));
	table_destroy(t);
	table_destroy(NULL);
	grace_destroy(g);
}

static void test_add_look_up_del(void **state)
{
	struct grace *g = grace_create(1);

	for (uint32_t key_bytes = 8; key_bytes <= TABLE_KEY_BYTES_MAX; key_bytes += 8) {
		struct table *t = table_create("t", 100, key_bytes, SOCKET_ID_ANY, g);
		uint8_t a[TABLE_KEY_BYTES_MAX] = {1}, b[TABLE_KEY_BYTES_MAX] = {1};

		assert_non_null(t);
		assert_null(table_lookup(t, a));
		assert_int_equal(table_del(t, a), -ENOENT);
		assert_int_equal(table_add(t, a, NULL), -EINVAL);
		assert_int_equal(table_add(t, a, value_of(1)), 0);
		assert_int_equal(table_add(t, a, value_of(2)), -EEXIST);
		assert_ptr_equal(table_lookup(t, a), value_of(1));
		/* Each byte of the key counts, the last one too. */
		for (uint32_t i = 0; i < key_bytes; i++) {
			b[i] ^= 0x80;
			assert_null(table_lookup(t, b));
			b[i] ^= 0x80;
		}
		assert_int_equal(table_count(t), 1);
		assert_int_equal(table_del(t, a), 0);
		assert_null(table_lookup(t, a));
		assert_int_equal(table_del(t, a), -ENOENT);
		assert_int_equal(table_count(t), 0);
		/* At once again, in another slot. */
		assert_int_equal(table_add(t, a, value_of(3)), 0);
		assert_ptr_equal(table_lookup(t, a), value_of(3));
		assert_int_equal(grace_pending(g), 1);
		table_destroy(t);
		assert_int_equal(grace_pending(g), 0);
	}
	grace_destroy(g);
}

static void test_bulk(void **state)
{
	struct grace *g = grace_create(1);
	struct table *t = table_create("t", 100, 16, SOCKET_ID_ANY, g);
	struct key keys[TABLE_BULK_MAX];
	const void *refs[TABLE_BULK_MAX];
	void *values[TABLE_BULK_MAX];

	for (uint64_t i = 0; i < TABLE_BULK_MAX; i++) {
		keys[i] = make_key(i);
		refs[i] = &keys[i];
		if (i % 3 == 0)
			assert_int_equal(table_add(t, &keys[i], value_of(i)), 0);
	}
	for (uint32_t n = 0; n <= TABLE_BULK_MAX; n++) {
		uint64_t hits = table_lookup_bulk(t, refs, n, values);

		for (uint32_t i = 0; i < TABLE_BULK_MAX; i++) {
			bool is_in = i < n && i % 3 == 0;

			assert_int_equal(hits >> i & 1, is_in);
			if (i < n)
				assert_ptr_equal(values[i], is_in ? value_of(i) : NULL);
		}
	}
	table_destroy(t);
	grace_destroy(g);
}

/* max_entries always fit, whatever the keys, and not one more. */
static void test_holds_what_it_promises(void **state)
{
	static const uint32_t sizes[] = {1, 4, 12, 13, 100, 819, 820, 50000};
	struct grace *g = grace_create(1);

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct table *t = table_create("t", sizes[s], 16, SOCKET_ID_ANY, g);
		struct key k;

		assert_non_null(t);
		for (uint64_t i = 0; i < sizes[s]; i++) {
			k = make_key(i << 32);
			assert_int_equal(table_add(t, &k, value_of(i)), 0);
		}
		k = make_key(1);
		assert_int_equal(table_add(t, &k, value_of(1)), -ENOSPC);
		assert_int_equal(table_count(t), sizes[s]);
		for (uint64_t i = 0; i < sizes[s]; i++) {
			k = make_key(i << 32);
			assert_ptr_equal(table_lookup(t, &k), value_of(i));
		}
		table_destroy(t);
	}
	grace_destroy(g);
}

/* Keys that count up must not meet in one bucket: which do is decided anew for each table. */
static void test_holds_names_that_count_up(void **state)
{
	struct grace *g = grace_create(1);

	for (unsigned round = 0; round < 3000; round++) {
		struct table *t = table_create("t", 10, 16, SOCKET_ID_ANY, g);

		assert_non_null(t);
		for (uint64_t i = 0; i < 10; i++) {
			char name[16] = "peer-0";

			name[5] = (char)('0' + i);
			assert_int_equal(table_add(t, name, value_of(i)), 0);
		}
		table_destroy(t);
	}
	grace_destroy(g);
}

static void test_slot_returns_after_grace_only(void **state)
{
	struct grace *g = grace_create(1);
	struct table *t = table_create("t", 100, 16, SOCKET_ID_ANY, g); /* 127 slots */
	struct key k;

	grace_reader_online(g, 0);
	for (uint64_t i = 0; i < 127; i++) {
		k = make_key(i);
		assert_int_equal(table_add(t, &k, value_of(i)), 0);
		assert_int_equal(table_del(t, &k), 0);
	}
	k = make_key(999);
	assert_int_equal(table_add(t, &k, value_of(999)), -ENOSPC);
	grace_poll(g);
	assert_int_equal(table_add(t, &k, value_of(999)), -ENOSPC);
	/* The first deletion has its own grace period, those that came meanwhile share the next. */
	grace_reader_quiescent(g, 0);
	assert_int_equal(grace_poll(g), 1);
	assert_int_equal(table_add(t, &k, value_of(999)), 0);
	k = make_key(1000);
	assert_int_equal(table_add(t, &k, value_of(1000)), -ENOSPC);
	grace_reader_quiescent(g, 0);
	assert_int_equal(grace_poll(g), 1);
	for (uint64_t i = 0; i < 99; i++) {
		k = make_key(i);
		assert_int_equal(table_add(t, &k, value_of(i)), 0);
	}
	assert_int_equal(grace_pending(g), 0);
	table_destroy(t);
	grace_destroy(g);
}

#define N_MODEL 500

static void test_matches_a_model(void **state)
{
	unsigned long seed = eal_test_seed(22);
	struct grace *g = grace_create(1);
	struct table *t = table_create("t", 300, 16, SOCKET_ID_ANY, g);
	uint64_t model[N_MODEL] = {0};
	uint32_t n = 0;

	srandom((unsigned)seed);
	for (uint64_t step = 1; step < 200000; step++) {
		uint64_t i = (uint64_t)random() % N_MODEL;
		struct key k = make_key(i);
		void *found = table_lookup(t, &k);

		assert_ptr_equal(found, model[i] == 0 ? NULL : value_of(model[i]));
		if (random() % 2 == 0) {
			int want = model[i] != 0 ? -EEXIST : n == 300 ? -ENOSPC : 0;

			assert_int_equal(table_add(t, &k, value_of(step)), want);
			if (want == 0) {
				model[i] = step;
				n++;
			}
		} else {
			assert_int_equal(table_del(t, &k), model[i] != 0 ? 0 : -ENOENT);
			n -= model[i] != 0;
			model[i] = 0;
		}
		assert_int_equal(table_count(t), n);
		grace_poll(g);
	}
	table_destroy(t);
	grace_destroy(g);
}

/* The writer churns at full load, so that keys move between their buckets all the time; the keys
 * that stay must be found at every look, and the others with a value that is theirs and alive. */
#define N_READERS 2
#define N_STABLE  1000
#define N_CHURN	  600
#define N_STEPS	  150000
#define DEAD	  UINT64_MAX

struct item {
	uint64_t id; /* W: writer, R: readers; atomic only to tell a race detector that we look */
};

/* Never used twice, and not from malloc: rte_hash publishes them where no race detector can see it.
 */
static struct item items[N_STABLE + N_CHURN + N_STEPS];
static unsigned n_items;

static struct grace *shared;
static struct table *churned;
static bool must_stop;

static uint64_t read_bulk(unsigned *lcg)
{
	struct key keys[TABLE_BULK_MAX];
	const void *refs[TABLE_BULK_MAX];
	void *values[TABLE_BULK_MAX];
	uint64_t ids[TABLE_BULK_MAX], hits, n_bad = 0;

	for (int i = 0; i < TABLE_BULK_MAX; i++) {
		*lcg = *lcg * 1664525 + 1013904223;
		ids[i] = (*lcg >> 8) % (N_STABLE + N_CHURN);
		keys[i] = make_key(ids[i]);
		refs[i] = &keys[i];
	}
	hits = table_lookup_bulk(churned, refs, TABLE_BULK_MAX, values);
	for (int i = 0; i < TABLE_BULK_MAX; i++) {
		struct item *item = values[i];

		n_bad += (item != NULL) != (hits >> i & 1);
		n_bad += item == NULL && ids[i] < N_STABLE;
		n_bad += item != NULL && __atomic_load_n(&item->id, __ATOMIC_RELAXED) != ids[i];
	}
	n_bad += table_lookup(churned, &keys[0]) == NULL && ids[0] < N_STABLE;
	return n_bad;
}

static void *read_on(void *arg)
{
	uint32_t id = *(uint32_t *)arg;
	unsigned lcg = id;
	uint64_t n_bad = 0;

	grace_reader_online(shared, id);
	while (!__atomic_load_n(&must_stop, __ATOMIC_RELAXED)) {
		n_bad += read_bulk(&lcg);
		grace_reader_quiescent(shared, id);
	}
	grace_reader_offline(shared, id);
	return (void *)(uintptr_t)n_bad;
}

static void bury(void *arg)
{
	struct item *item = arg;

	__atomic_store_n(&item->id, DEAD, __ATOMIC_RELAXED);
}

static void add_item(uint64_t i)
{
	struct item *item = &items[n_items++];
	struct key k = make_key(i);

	__atomic_store_n(&item->id, i, __ATOMIC_RELAXED);
	/* Full of slots that wait: the header says poll and try again. */
	while (table_add(churned, &k, item) == -ENOSPC) {
		sched_yield();
		grace_poll(shared);
	}
}

static void del_item(uint64_t i)
{
	struct key k = make_key(i);
	struct item *item = table_lookup(churned, &k);

	assert_int_equal(table_del(churned, &k), 0);
	assert_int_equal(grace_defer(shared, bury, item), 0);
}

static void test_readers_while_the_writer_churns(void **state)
{
	static uint32_t ids[N_READERS] = {0, 1};
	static bool is_in[N_STABLE + N_CHURN];
	pthread_t readers[N_READERS];
	void *n_bad;

	shared = grace_create(N_READERS);
	churned = table_create("churned", N_STABLE + N_CHURN, 16, SOCKET_ID_ANY, shared);
	for (uint64_t i = 0; i < N_STABLE + N_CHURN; i++) {
		add_item(i);
		is_in[i] = true;
	}
	for (int i = 0; i < N_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_on, &ids[i]), 0);
	for (int step = 0; step < N_STEPS; step++) {
		uint64_t i = N_STABLE + (uint64_t)random() % N_CHURN;

		if (is_in[i])
			del_item(i);
		else
			add_item(i);
		is_in[i] = !is_in[i];
		grace_poll(shared);
	}
	__atomic_store_n(&must_stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < N_READERS; i++) {
		pthread_join(readers[i], &n_bad);
		assert_ptr_equal(n_bad, NULL);
	}
	for (uint64_t i = 0; i < N_STABLE + N_CHURN; i++)
		if (is_in[i])
			del_item(i);
	grace_destroy(shared);
	assert_int_equal(table_count(churned), 0);
	table_destroy(churned);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_refuses),
		cmocka_unit_test(test_add_look_up_del),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_holds_what_it_promises),
		cmocka_unit_test(test_holds_names_that_count_up),
		cmocka_unit_test(test_slot_returns_after_grace_only),
		cmocka_unit_test(test_matches_a_model),
		cmocka_unit_test(test_readers_while_the_writer_churns),
	};

	eal_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
