/* conf_doc_test.c - config/portier.conf tells the truth: it has each key that conf knows, with its
 * default and its range, and no other.
 */
#include "conf_files.h"

/* --- config/portier.conf ---------------------------------------------------------------------- */

static void test_documented_as_shipped(void **state)
{
	static char text[TEXT_CHARS];
	struct conf *c;

	documented_read(text, false);
	c = load_good(text);
	assert_int_equal(c->n_peers, 0);
	conf_destroy(c);
}

/* The comment above a key, in one line. */
static void comment_above(const char *text, unsigned line, char out[static 4096])
{
	const char *lines[2048];
	unsigned n = 0, first = line - 1;
	size_t used = 0;

	for (const char *p = text; p && n < 2048; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		lines[n++] = p;
	assert_true(line <= n);
	while (first > 0 && lines[first - 1][strspn(lines[first - 1], " \t")] == '#')
		first--;
	out[0] = '\0';
	for (unsigned i = first; i < line - 1; i++) {
		const char *p = lines[i] + strspn(lines[i], " \t#");

		used += (size_t)snprintf(
			out + used, 4096 - used, "%.*s ", (int)strcspn(p, "\n"), p);
		assert_true(used < 4096);
	}
}

/* What the comment of a key has to say, as the table has it. */
static void doc_of_key(
	const struct conf_key *k, char default_doc[static 256], char range_doc[static 256])
{
	bool is_bare = k->kind == CONF_INT || k->kind == CONF_BOOL || k->preset;
	const char *quote = is_bare ? "" : "\"";
	size_t used = 0;

	snprintf(default_doc, 256, "%s", k->required ? "Required." : "Default: none");
	if (k->def)
		snprintf(default_doc, 256, "Default: %s%s%s.", quote, k->def, quote);
	range_doc[0] = '\0';
	if (k->kind == CONF_INT)
		snprintf(range_doc, 256, "Range: %lld to %lld.", k->min, k->max);
	if (k->kind == CONF_DURATION)
		snprintf(range_doc, 256, "Range: %s to %s.", k->min_text, k->max_text);
	if (k->kind == CONF_TEXTS)
		snprintf(range_doc, 256, "%lld to %lld entries.", k->min, k->max);
	for (const struct conf_choice *c = k->choices; c && c->name; c++)
		used += (size_t)snprintf(range_doc + used, 256 - used, "%s\"%s\"%s",
			c == k->choices ? "One of " : ", ", c->name, c[1].name ? "" : ".");
}

/* Without the key, or with another value for it, the file means the same or another thing. */
static void check_default(const char *text, const struct conf_key *k, unsigned line)
{
	static char without[TEXT_CHARS];
	struct conf *full = load_good(text), *less;
	const char *p = text;
	size_t head, len = strlen(text);

	for (unsigned i = 1; i < line; i++)
		p = strchr(p, '\n') + 1;
	head = (size_t)(p - text);
	assert_true(len + 2 <= sizeof(without));
	memcpy(without, text, head);
	without[head] = '#';
	memcpy(without + head + 1, p, len - head + 1);
	less = load_good(without);
	for (unsigned i = 0; i < full->n_peers; i++)
		assert_memory_equal(&full->peers[i], &less->peers[i], sizeof(less->peers[i]));
	full->peers = less->peers = (free(full->peers), free(less->peers), NULL);
	full->leases = less->leases = (free(full->leases), free(less->leases), NULL);
	if (memcmp(full, less, sizeof(*full)) != 0)
		fail_msg("the documented value of %s is not its default", k->name);
	conf_destroy(full);
	conf_destroy(less);
}

static unsigned check_documented(
	const char *text, const config_setting_t *group, const struct conf_key *keys)
{
	char doc[4096], default_doc[256], range_doc[256];
	unsigned n = 0;

	for (const struct conf_key *k = keys; k->name; k++) {
		const config_setting_t *s = config_setting_get_member(group, k->name);
		unsigned line = s ? config_setting_source_line(s) : 0;

		if (!s)
			fail_msg("portier.conf lacks %s", k->name);
		n++;
		if (k->kind == CONF_GROUP) {
			n += check_documented(text, s, k->sub);
			continue;
		}
		comment_above(text, line, doc);
		doc_of_key(k, default_doc, range_doc);
		if (!strstr(doc, default_doc) || !strstr(doc, range_doc))
			fail_msg("%s: \"%s %s\" is not in: %s", k->name, default_doc, range_doc,
				doc);
		if (k->live != (strstr(doc, "Reloaded.") != NULL))
			fail_msg("%s: \"Reloaded.\" stands, and only stands, where it is so",
				k->name);
		/* Examples of peers show values other than the defaults. */
		if (k->def && !k->preset && strcmp(k->name, "forwarding") != 0 &&
			strcmp(k->name, "portmap") != 0 && keys != conf_lease_keys)
			check_default(text, k, line);
	}
	return n;
}

static void test_documented_keys(void **state)
{
	static char text[TEXT_CHARS];
	config_t tree;
	const config_setting_t *root, *peer;
	unsigned n;

	documented_read(text, true);
	conf_destroy(load_good(text)); /* each key in the file is known */
	config_init(&tree);
	assert_int_equal(config_read_string(&tree, text), CONFIG_TRUE);
	root = config_root_setting(&tree);
	n = check_documented(text, root, conf_root_keys);
	n += check_documented(text, config_lookup(&tree, "ports.[0]"), conf_port_keys);
	peer = config_lookup(&tree, "peers.[0]");
	n += check_documented(text, peer, conf_peer_keys);
	n += check_documented(text,
		config_setting_get_elem(config_setting_get_member(peer, "leases"), 0),
		conf_lease_keys);
	assert_true(n > 80);
	config_destroy(&tree);
}

/* --- values ----------------------------------------------------------------------------------- */

static void assert_addr(const struct ip_addr *a, const char *want)
{
	char text[IP_TEXT_CHARS];

	assert_string_equal(ip_addr_format(a, text), want);
}

static void check_example_peer(const struct conf *c)
{
	const struct conf_peer *p = &c->peers[0];
	const struct conf_lease *l = &c->leases[0];
	uint8_t key[CRYPTO_KEY_BYTES];
	char text[IP_TEXT_CHARS];

	assert_int_equal(c->n_peers, 1);
	assert_string_equal(p->name, "alice");
	assert_int_equal(crypto_key_parse("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", key), 0);
	assert_memory_equal(p->public_key, key, sizeof(key));
	assert_int_equal(crypto_key_parse(PSK_TEXT, key), 0);
	assert_memory_equal(p->preshared_key, key, sizeof(key));
	assert_addr(&p->address4, "100.64.0.2");
	assert_addr(&p->address6, "fd00::2");
	assert_string_equal(ip_endpoint_format(&p->endpoint, text), "203.0.113.9:51820");
	assert_true(p->forwarding);
	assert_true(p->portmap);
	assert_int_equal(p->max_leases, 4);
	assert_int_equal(p->persistent_keepalive_s, 0);
	assert_int_equal(p->filter, 0);
	assert_int_equal(p->max_sessions, 4096);
	assert_int_equal(p->n_routes, 1);
	assert_string_equal(ip_prefix_format(&p->routes[0], text), "2001:db8:2::/56");
	assert_int_equal(c->n_leases, 1);
	assert_int_equal(l->peer_idx, 0);
	assert_int_equal(l->protos, 3);
	assert_addr(&l->public_addr, "198.51.100.5");
	assert_int_equal(l->public_port, 20000);
	assert_addr(&l->inner_addr, "100.64.0.2");
	assert_int_equal(l->inner_port, 8080);
	assert_int_equal(l->n_sources, 2);
	assert_string_equal(ip_prefix_format(&l->sources[1], text), "2001:db8:1::/48");
	assert_int_equal(l->max_pps, 20000);
	assert_int_equal(l->max_new_flows, 100);
	assert_string_equal(l->label, "web");
}

static void check_nat(const struct conf *c)
{
	char text[IP_TEXT_CHARS];

	assert_true(c->mss_clamp);
	assert_false(c->peer_to_peer);
	assert_int_equal(c->n_nat_pool, 2);
	assert_string_equal(ip_prefix_format(&c->nat_pool[1], text), "203.0.113.160/28");
	assert_int_equal(c->nat_port_first, 1024);
	assert_int_equal(c->nat_port_last, 19999);
	assert_int_equal(c->nat_block_ports, 256);
	assert_int_equal(c->nat_max_blocks, 8);
	assert_int_equal(c->nat_max_sessions, 131072);
	assert_int_equal(c->nat_sessions_per_peer, 2048);
	assert_int_equal(c->nat_new_per_s, 500);
	assert_int_equal(c->nat_filter, 0);
	assert_int_equal(c->nat_udp_ns, 300 * NS_IN_S);
	assert_int_equal(c->nat_tcp_established_ns, 7440 * NS_IN_S);
	assert_int_equal(c->nat_tcp_transitory_ns, 240 * NS_IN_S);
	assert_int_equal(c->nat_icmp_ns, 60 * NS_IN_S);
	assert_int_equal(c->nat_rest_ns, 120 * NS_IN_S);
	assert_int_equal(c->nat_fragment_ns, 2 * NS_IN_S);
	assert_int_equal(c->n_nat_exempt, 1);
	assert_string_equal(ip_prefix_format(&c->nat_exempt[0], text), "10.0.0.0/8");
	assert_int_equal(c->n_nat_blocked, 2);
	assert_int_equal(c->nat_blocked[0].protos, 1);
	assert_int_equal(c->nat_blocked[0].port, 25);
	assert_int_equal(c->nat_blocked[1].protos, 3);
	assert_int_equal(c->nat_blocked[1].port, 445);
}

/* conf_take_live compares every key that is not a peer's or a port's own. */
static void check_live(const struct conf_key *keys, const char *group)
{
	char name[64];

	for (const struct conf_key *k = keys; k->name; k++) {
		snprintf(name, sizeof(name), "%s%s%s", group, group[0] ? "." : "", k->name);
		if (k->kind == CONF_GROUP)
			check_live(k->sub, name);
		else if (!conf_live_knows(k, name))
			fail_msg("a reload does not see %s: name it in conf_live.c", name);
	}
}

static void test_live_keys(void **state)
{
	check_live(conf_root_keys, "");
}

static void test_values(void **state)
{
	static char text[TEXT_CHARS];
	struct conf *c;
	const struct conf_port *p;

	documented_read(text, true);
	c = load_good(text);
	assert_int_equal(c->n_lcores, 2);
	assert_false(c->no_huge);
	assert_int_equal(c->n_eal_args, 1);
	assert_string_equal(c->eal_args[0], "--file-prefix=portier");
	assert_int_equal(c->n_ports, 1);
	p = &c->ports[0];
	assert_string_equal(p->name, "wan0");
	assert_string_equal(p->device, "0000:01:00.0");
	assert_true(p->is_tunnel && p->is_public && p->answer_ping);
	assert_int_equal(p->n_ifaddrs, 2);
	assert_addr(&p->ifaddrs[0].addr, "192.0.2.1");
	assert_int_equal(p->ifaddrs[0].len_bits, 120);
	assert_int_equal(p->ifaddrs[1].len_bits, 64);
	assert_addr(&p->gateway4, "192.0.2.254");
	assert_addr(&p->gateway6, "fe80::1");
	assert_memory_equal(c->private_key, private_key, sizeof(private_key));
	assert_string_equal(c->private_key_file, work_path("private.key"));
	assert_int_equal(c->n_inner_addrs, 2);
	assert_addr(&c->inner_addrs[1], "fd00::1");
	assert_int_equal(c->rekey_after_ns, 120 * NS_IN_S);
	assert_int_equal(c->reject_after_ns, 180 * NS_IN_S);
	assert_int_equal(c->n_pool, 1);
	assert_int_equal(c->pool[0].len_bits, 124);
	assert_int_equal(c->lease_port_first, 20000);
	assert_int_equal(c->lease_port_last, 59999);
	assert_int_equal(c->max_ttl_ns, 24 * 3600 * NS_IN_S);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	check_nat(c);
	check_example_peer(c);
	conf_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documented_as_shipped),
		cmocka_unit_test(test_documented_keys),
		cmocka_unit_test(test_live_keys),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
