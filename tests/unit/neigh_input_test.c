/* What ARP and ND frames do to us, and what we say to them: well-formed, broken and forged. */
#include "neigh_world.h"

static void test_what_is_ours(void **state)
{
	static const char *const ours[] = {"192.0.2.1", "10.9.0.1", "2001:db8::1", "198.51.100.0",
		"198.51.100.15", "192.0.2.249", "192.0.2.255", "2001:db8:0:1:ffff:ffff:ffff:ffff"};
	static const char *const not_ours[] = {"192.0.2.2", "192.0.2.254", "198.51.100.16",
		"198.51.99.255", "2001:db8::2", "2001:db8::fe", "2001:db8:0:2::", "::1"};
	struct ip_addr a;

	for (size_t i = 0; i < RTE_DIM(ours); i++) {
		a = ip(ours[i]);
		assert_true(neigh_is_ours(neigh, PORT, &a));
		assert_false(neigh_is_ours(neigh, PORT + 1, &a));
	}
	for (size_t i = 0; i < RTE_DIM(not_ours); i++) {
		a = ip(not_ours[i]);
		assert_false(neigh_is_ours(neigh, PORT, &a));
	}
}

static void test_arp_is_answered(void **state)
{
	static const char *const ours[] = {"192.0.2.1", "10.9.0.1", "198.51.100.7", "192.0.2.249"};

	for (unsigned i = 0; i < RTE_DIM(ours); i++) {
		struct arp answer = {host_mac, 2, own_mac, ours[i], host_mac, "192.0.2.55"};

		forget();
		input(arp_ask(host_mac, "192.0.2.55", ours[i]), i % 2 ? ARP_BYTES : ARP_BYTES_IN);
		assert_int_equal(n_sent, 1);
		expect_sent(0, arp(&answer), 60);
	}
	assert_int_equal(resolve("192.0.2.55", host_mac), RESOLVED);
	assert_int_equal(counters().learnt, 1);
	assert_int_equal(counters().answered, 4);
	/* Unicast, as somebody asks who only wants to know whether we are still there. */
	forget();
	input(arp(&(struct arp){own_mac, 1, host_mac, "192.0.2.55", own_mac, "192.0.2.1"}), 60);
	assert_int_equal(n_sent, 1);
	/* A probe (RFC 5227) is answered and teaches nothing; so is somebody off the link. */
	forget();
	input(arp_ask(other_mac, "0.0.0.0", "192.0.2.1"), 60);
	expect_sent(0, arp(&(struct arp){other_mac, 2, own_mac, "192.0.2.1", other_mac, "0.0.0.0"}),
		60);
	input(arp_ask(other_mac, "203.0.113.9", "192.0.2.1"), 60);
	assert_int_equal(n_sent, 2);
	assert_int_equal(counters().learnt, 1);
	/* Not for us. */
	expect_ignored(arp_ask(host_mac, "192.0.2.55", "192.0.2.2"), 60);
	expect_ignored(arp_ask(host_mac, "192.0.2.55", "192.0.2.254"), 60);
	expect_ignored(arp_ask(host_mac, "192.0.2.56", "192.0.2.56"), 60);
	neigh_input(
		neigh, PORT + 1, mbuf_of(arp_ask(host_mac, "192.0.2.55", "192.0.2.1"), 60), now_ns);
	assert_int_equal(n_sent, 2);
}

static void test_arp_from_nobody_is_ignored(void **state)
{
	static const char *const nobody[] = {"192.0.2.1", "10.9.0.1", "198.51.100.3", "192.0.2.250",
		"192.0.2.0", "192.0.2.255", "10.9.255.255", "255.255.255.255", "224.0.0.5",
		"127.0.0.1", "0.1.2.3"};
	static const uint8_t group[6] = {0x01, 0, 0x5e, 0, 0, 1}, zero[6];

	for (size_t i = 0; i < RTE_DIM(nobody); i++)
		expect_ignored(arp_ask(host_mac, nobody[i], "192.0.2.1"), 60);
	expect_ignored(arp_ask(group, "192.0.2.55", "192.0.2.1"), 60);
	expect_ignored(arp_ask(broadcast, "192.0.2.55", "192.0.2.1"), 60);
	expect_ignored(arp_ask(zero, "192.0.2.55", "192.0.2.1"), 60);
	expect_ignored(arp_ask(own_mac, "192.0.2.55", "192.0.2.1"), 60);
	/* To another station, seen only because the port is promiscuous. */
	expect_ignored(
		arp(&(struct arp){other_mac, 1, host_mac, "192.0.2.55", NULL, "192.0.2.1"}), 60);
	assert_int_equal(resolve("192.0.2.55", NULL), WAITS);
}

static void test_broken_arp_is_ignored(void **state)
{
	uint8_t f[ARP_BYTES_IN];

	memcpy(f, arp_ask(host_mac, "192.0.2.55", "192.0.2.1"), sizeof(f));
	for (size_t len = 0; len < ARP_BYTES; len++)
		expect_ignored(f, len);
	/* Types, lengths and the operation, each wrong in each bit. */
	for (size_t bit = 8 * 12; bit < 8 * 22; bit++) {
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* 1 ^ 3 would be a reply, which is ignored for other reasons. */
		expect_ignored(f, sizeof(f));
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (unsigned op = 0; op < 65536; op += op < 30 ? 1 : 997) {
		store_be16(f + 20, (uint16_t)op);
		if (op != 1)
			expect_ignored(f, sizeof(f));
	}
	store_be16(f + 20, 1);
	input(f, ARP_BYTES);
	assert_int_equal(n_sent, 1);
}

static void test_nd_is_answered(void **state)
{
	struct nd ask = host_asks;

	input_nd(&ask);
	assert_int_equal(n_sent, 1);
	expect_nd_sent(0, &(struct nd){NA, host_mac, own_mac, "2001:db8::1", "2001:db8::55",
				  "2001:db8::1", 0x60, own_mac});
	assert_int_equal(resolve("2001:db8::55", host_mac), RESOLVED);
	/* Unicast, without the option, as a probe of what is known; from a link-local address. */
	forget();
	ask = (struct nd){
		NS, own_mac, other_mac, "fe80::66", "2001:db8:0:1::7", "2001:db8:0:1::7", 0, NULL};
	input_nd(&ask);
	expect_nd_sent(0, &(struct nd){NA, other_mac, own_mac, "2001:db8:0:1::7", "fe80::66",
				  "2001:db8:0:1::7", 0x60, own_mac});
	assert_int_equal(resolve("fe80::66", NULL), WAITS);
	/* Duplicate address detection: all are told, nothing is learnt. */
	forget();
	ask = (struct nd){NS, group_1, other_mac, "::", "ff02::1:ff00:1", "2001:db8::1", 0, NULL};
	input_nd(&ask);
	expect_nd_sent(0, &(struct nd){NA, all_nodes, own_mac, "2001:db8::1", "ff02::1",
				  "2001:db8::1", 0x20, own_mac});
	assert_int_equal(counters().learnt, 1);
	assert_int_equal(counters().answered, 3);
}

static void test_nd_from_nobody_is_ignored(void **state)
{
	static const char *const nobody[] = {
		"2001:db8::1", "2001:db8:0:1::5", "ff02::1", "::1", "::ffff:192.0.2.55"};
	static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
	struct nd ask = host_asks;

	for (size_t i = 0; i < RTE_DIM(nobody); i++) {
		ask.src = nobody[i];
		expect_nd_ignored(&ask);
	}
	ask = host_asks;
	ask.mac = group;
	expect_nd_ignored(&ask);
	ask.mac = own_mac;
	expect_nd_ignored(&ask);
	ask = host_asks;
	ask.eth_src = group;
	expect_nd_ignored(&ask);
	ask.eth_src = own_mac; /* our own voice come back */
	expect_nd_ignored(&ask);
	ask = host_asks;
	ask.eth_dst = other_mac;
	expect_nd_ignored(&ask);
	/* A probe with a sender's option, or not to the group (RFC 4861, 7.1.1). */
	ask = host_asks;
	ask.src = "::";
	expect_nd_ignored(&ask);
	ask.mac = NULL;
	ask.dst = "2001:db8::1";
	expect_nd_ignored(&ask);
	/* Targets that are not ours, or no host's; groups of another target. */
	ask = host_asks;
	ask.target = "2001:db8::2";
	expect_nd_ignored(&ask);
	ask.target = "ff02::1:ff00:1";
	expect_nd_ignored(&ask);
	ask.target = "::ffff:192.0.2.1";
	expect_nd_ignored(&ask);
	ask = host_asks;
	ask.dst = "ff02::1";
	expect_nd_ignored(&ask);
	ask.dst = "ff02::1:ff00:2";
	expect_nd_ignored(&ask);
	assert_int_equal(resolve("2001:db8::55", NULL), WAITS);
}

static void test_broken_nd_is_ignored(void **state)
{
	uint8_t f[ND_BYTES + 8];
	size_t len;

	memcpy(f, nd(&host_asks, &len), ND_BYTES);
	for (size_t cut = 0; cut < len; cut++)
		expect_ignored(f, cut);
	/* The type, the headers, and all that the checksum covers; the flow label and the Ethernet
	 * source are the only bytes that may change. */
	for (size_t at = 12; at < len; at++) {
		if (at >= 15 && at <= 17)
			continue;
		f[at] ^= 0xff;
		expect_ignored(f, len);
		f[at] ^= 0xff;
	}
	f[21] = 254;
	expect_ignored(f, len);
	f[21] = 255;
	f[55] = 1; /* code, with a good checksum */
	set_checksum(f, len);
	expect_ignored(f, len);
	f[55] = 0;
	f[54] = 133; /* a router solicitation of the same shape */
	set_checksum(f, len);
	expect_ignored(f, len);
	f[54] = NS;
	for (unsigned option_len = 0; option_len < 256; option_len++) {
		f[79] = (uint8_t)option_len;
		set_checksum(f, len);
		if (option_len != 1)
			expect_ignored(f, len);
	}
	/* An option of no interest that goes past the end, and one that is empty. */
	f[78] = 14;
	for (unsigned option_len = 0; option_len < 256; option_len++) {
		f[79] = (uint8_t)option_len;
		set_checksum(f, len);
		if (option_len != 1)
			expect_ignored(f, len);
	}
	f[78] = 1;
	/* Payload that ends inside an option, with all else right. */
	f[79] = 1;
	for (size_t cut = ND_BYTES - 7; cut < ND_BYTES; cut++) {
		store_be16(f + 18, (uint16_t)(cut - 54));
		set_checksum(f, cut);
		expect_ignored(f, cut);
	}
	/* Unknown options are stepped over (RFC 4861, 4.6). */
	memcpy(f, nd(&host_asks, &len), ND_BYTES);
	memmove(f + ND_BYTES, f + ND_BYTES - 8, 8);
	f[78] = 14;
	store_be16(f + 18, ND_BYTES + 8 - 54);
	set_checksum(f, ND_BYTES + 8);
	input(f, ND_BYTES + 8);
	assert_int_equal(n_sent, 1);
	assert_int_equal(resolve("2001:db8::55", host_mac), RESOLVED);
}

static void test_only_wanted_answers_are_learnt(void **state)
{
	struct nd na = gateway_answers;

	/* Nobody asked yet. */
	expect_ignored(arp_answer(host_mac, "192.0.2.55"), 60);
	expect_ignored(
		arp(&(struct arp){broadcast, 2, gw_mac, "192.0.2.254", NULL, "192.0.2.254"}), 60);
	tick_at(now_ns);
	/* Asked, and these are not the answer: gratuitous, to others, for others, from ourselves.
	 */
	expect_ignored(
		arp(&(struct arp){broadcast, 2, gw_mac, "192.0.2.254", NULL, "192.0.2.254"}), 60);
	expect_ignored(
		arp(&(struct arp){broadcast, 2, gw_mac, "192.0.2.254", own_mac, "192.0.2.1"}), 60);
	expect_ignored(
		arp(&(struct arp){own_mac, 2, gw_mac, "192.0.2.254", own_mac, "192.0.2.9"}), 60);
	expect_ignored(arp_answer(gw_mac, "192.0.2.253"), 60);
	expect_ignored(arp_answer(own_mac, "192.0.2.254"), 60);
	expect_ignored(arp_answer(broadcast, "192.0.2.254"), 60);
	for (size_t len = 0; len < ARP_BYTES; len++)
		expect_ignored(arp_answer(gw_mac, "192.0.2.254"), len);
	na.flags = 0x20; /* unsolicited */
	expect_nd_ignored(&na);
	na = gateway_answers;
	na.dst = "ff02::1";
	expect_nd_ignored(&na);
	na.eth_dst = all_nodes;
	expect_nd_ignored(&na);
	na = gateway_answers;
	na.eth_dst = all_nodes;
	expect_nd_ignored(&na);
	na = gateway_answers;
	na.dst = "2001:db8::9";
	expect_nd_ignored(&na);
	na = gateway_answers;
	na.target = "2001:db8::fd";
	expect_nd_ignored(&na);
	na = gateway_answers;
	na.mac = NULL; /* 7.2.5: an incomplete entry needs the option */
	expect_nd_ignored(&na);
	na = gateway_answers;
	na.src = "ff02::1";
	expect_nd_ignored(&na);
	na.src = "::";
	expect_nd_ignored(&na);
	na.src = "::ffff:1.2.3.4";
	expect_nd_ignored(&na);
	assert_int_equal(resolve("8.8.8.8", NULL), WAITS);
	assert_int_equal(resolve("2001:4860::8888", NULL), WAITS);
	input(arp_answer(gw_mac, "192.0.2.254"), ARP_BYTES);
	input_nd(&gateway_answers);
	/* And once it is known, a second answer, from whomever, changes nothing. */
	expect_ignored(arp_answer(other_mac, "192.0.2.254"), 60);
	na = gateway_answers;
	na.mac = other_mac;
	expect_nd_ignored(&na);
	assert_int_equal(resolve("8.8.8.8", gw_mac), RESOLVED);
	assert_int_equal(resolve("2001:4860::8888", gw_mac), RESOLVED);
}

static void test_truncated_na_is_ignored(void **state)
{
	uint8_t f[ND_BYTES];
	size_t len;

	tick_at(now_ns);
	memcpy(f, nd(&gateway_answers, &len), ND_BYTES);
	for (size_t cut = 0; cut < len; cut++)
		expect_ignored(f, cut);
	for (size_t at = 54; at < len; at++) {
		f[at] ^= 0x01;
		expect_ignored(f, len);
		f[at] ^= 0x01;
	}
	f[21] = 64;
	expect_ignored(f, len);
	assert_int_equal(resolve("2001:4860::8888", NULL), WAITS);
}

static void test_any_bytes(void **state)
{
	uint8_t f[ND_BYTES + 32];
	size_t len;

	srandom((unsigned)eal_test_seed(826));
	for (unsigned turn = 0; turn < 200000; turn++) {
		const uint8_t *base[] = {arp_ask(host_mac, "192.0.2.55", "192.0.2.1"),
			nd(turn % 2 ? &host_asks : &gateway_answers, &len)};

		for (size_t i = 0; i < sizeof(f); i++)
			f[i] = (uint8_t)random();
		memcpy(f, base[turn % 3 == 0 ? 0 : 1], turn % 3 == 0 ? ARP_BYTES : ND_BYTES);
		len = (size_t)random() % (sizeof(f) + 1);
		for (unsigned i = (unsigned)random() % 6; i > 0; i--)
			f[(size_t)random() % sizeof(f)] = (uint8_t)random();
		if (len > 78 && len % 2 == 0 && turn % 3 != 0) {
			store_be16(f + 18, (uint16_t)(len - 54));
			set_checksum(f, len);
		}
		input(f, len);
		if (random() % 64 == 0)
			tick_at(now_ns + NS_IN_S / 4);
	}
	assert_true(counters().answered > 0);
	assert_true(counters().learnt > 0);
	assert_true(counters().input_dropped > 100000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LINK_TEST(test_what_is_ours),
		LINK_TEST(test_arp_is_answered),
		LINK_TEST(test_arp_from_nobody_is_ignored),
		LINK_TEST(test_broken_arp_is_ignored),
		LINK_TEST(test_nd_is_answered),
		LINK_TEST(test_nd_from_nobody_is_ignored),
		LINK_TEST(test_broken_nd_is_ignored),
		LINK_TEST(test_only_wanted_answers_are_learnt),
		LINK_TEST(test_truncated_na_is_ignored),
		LINK_TEST(test_any_bytes),
	};

	start_world();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
