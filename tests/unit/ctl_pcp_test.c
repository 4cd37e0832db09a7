/* ctl_pcp_test.c - what a peer is answered by PCP, row by row of RFC 6887 and of what clients rely
 * on.
 */
#include "ctl_portmap.h"

#include <netinet/in.h>

#define UDP	IPPROTO_UDP
#define TCP	IPPROTO_TCP
#define LONG_S	1800
#define SHORT_S 30

/* Byte by byte. */
static void a_mapping(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 40042, 7200);
	uint8_t want[MAP_BYTES] = {2, 0x81, 0, 0, 0, 0, 0x1c, 0x20, 0, 0, 0, 7};
	const struct lease *lease;

	noon_ns += 7 * NS_IN_S;
	ask(alice, m.bytes, m.len);
	lease = lease_of(alice, LEASE_PROTO_UDP, 6881);
	assert_int_equal(lease->opener, LEASE_BY_PCP);
	assert_int_equal(lease->public_port, 40042);
	memcpy(want + 24, m.bytes + 24, 36);
	memcpy(want + 44, lease->public_addr.bytes, 16);
	assert_int_equal(heard.len, sizeof(want));
	assert_memory_equal(heard.msg, want, sizeof(want));
	/* The same again, at once. */
	ask_quickly(alice, m.bytes, m.len);
	assert_int_equal(heard.len, sizeof(want));
	assert_memory_equal(heard.msg, want, sizeof(want));
}

static void what_is_malformed(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 40042, 7200);
	uint8_t want[MAP_BYTES] = {2, 0x81, 0, 3, 0, 0, 7, 8};

	for (size_t len = 2; len < MAP_BYTES; len++) {
		memset(want + 24, 0, 36);
		if (len > 24)
			memcpy(want + 24, m.bytes + 24, len - 24);
		/* Not kept: reserved bytes, of which there are none but zeros here. */
		ask_quickly(alice, m.bytes, len);
		assert_int_equal(heard.len, MAP_BYTES);
		assert_memory_equal(heard.msg, want, MAP_BYTES);
	}
	m.len = 1104;
	pcp_refused(alice, &m, PORTMAP_PCP_MALFORMED_REQUEST, LONG_S);
	m.len = 61;
	pcp_refused(alice, &m, PORTMAP_PCP_MALFORMED_REQUEST, LONG_S);
	assert_int_equal(lease_count(server->leases, alice), 0);
}

static void who_asks(void **state)
{
	struct pcp m = pcp_map(bob, UDP, 6881, 40042, 7200);

	/* Bob's address in alice's packet. */
	pcp_refused(alice, &m, PORTMAP_PCP_ADDRESS_MISMATCH, LONG_S);
	m = pcp_map(alice, UDP, 6881, 40042, 7200);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':false}"));
	pcp_refused(alice, &m, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	json_decref(
		call(&operator, "peer.set", "{'peer':'alice','portmap':true,'forwarding':false}"));
	pcp_refused(alice, &m, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	assert_int_equal(lease_count(server->leases, UINT32_MAX), 0);
}

static void opcodes(void **state)
{
	struct pcp announce = pcp_map(alice, 0, 0, 0, 0), peer = pcp_map(alice, UDP, 6881, 0, 7200);
	static const uint8_t want[24] = {2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3};

	noon_ns += 3 * NS_IN_S;
	announce.bytes[1] = PORTMAP_PCP_ANNOUNCE;
	ask_quickly(alice, announce.bytes, 24);
	assert_int_equal(heard.len, 24);
	assert_memory_equal(heard.msg, want, 24);

	peer.bytes[1] = PORTMAP_PCP_PEER;
	ask_quickly(alice, peer.bytes, 80);
	assert_int_equal(heard.len, 80);
	assert_memory_equal(heard.msg, ((uint8_t[]){2, 0x82, 0, 4, 0, 0, 7, 8}), 8);
	assert_memory_equal(heard.msg + 24, peer.bytes + 24, 56);
}

static void lifetimes(void **state)
{
	static const struct {
		uint32_t asked_s, granted_s;
	} cases[] = {{1, 120}, {119, 120}, {120, 120}, {7200, 7200}, {86400, 86400}, {86401, 86400},
		{0xffffffff, 86400}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pcp m = pcp_map(alice, UDP, 6881, 0, cases[i].asked_s);

		assert_int_equal(pcp_granted(alice, &m).lifetime_s, cases[i].granted_s);
		assert_true(lease_of(alice, LEASE_PROTO_UDP, 6881)->expires_ns ==
			    noon_ns + cases[i].granted_s * NS_IN_S);
	}
}

static void protocols(void **state)
{
	struct pcp m = pcp_map(alice, 132, 6881, 0, 7200); /* SCTP */

	pcp_refused(alice, &m, PORTMAP_PCP_UNSUPP_PROTOCOL, LONG_S);
	/* All protocols, or all ports: neither can be opened. */
	m = pcp_map(alice, 0, 0, 0, 7200);
	pcp_refused(alice, &m, PORTMAP_PCP_UNSUPP_PROTOCOL, LONG_S);
	m = pcp_map(alice, UDP, 0, 0, 7200);
	pcp_refused(alice, &m, PORTMAP_PCP_UNSUPP_PROTOCOL, LONG_S);
	assert_int_equal(lease_count(server->leases, alice), 0);
}

static void one_mapping_by_either_protocol(void **state)
{
	struct pcp m = pcp_map(alice, TCP, 6881, 0, 7200);
	uint16_t port = pcp_granted(alice, &m).public_port;

	assert_int_equal(natpmp_map(alice, PORTMAP_NATPMP_TCP, 6881, 0, 3600), port);
	assert_int_equal(natpmp_map(alice, PORTMAP_NATPMP_UDP, 6881, 0, 3600), port);
	assert_int_equal(pcp_granted(alice, &m).public_port, port);
	assert_int_equal(lease_count(server->leases, alice), 2);
}

static void a_deletion_is_zeros(uint32_t peer_idx, const struct pcp *m)
{
	struct pcp_reply r = pcp_granted(peer_idx, m);

	assert_int_equal(r.lifetime_s, 0);
	assert_int_equal(r.public_port, 0);
	assert_true(ip_is_none(&r.public_addr));
	assert_int_equal(heard.len, MAP_BYTES);
}

static void deletion(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 1001, 40042, 7200);

	pcp_granted(alice, &m);
	natpmp_map(alice, PORTMAP_NATPMP_TCP, 1001, 0, 3600);
	natpmp_map(alice, PORTMAP_NATPMP_UDP, 1002, 0, 3600);
	m = pcp_map(alice, UDP, 1001, 40042, 0);
	a_deletion_is_zeros(alice, &m);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 1001));
	/* What is not there is shut already; options mean nothing here. */
	put_filter(&m, 128, 0, "192.0.2.1");
	a_deletion_is_zeros(alice, &m);
	/* All of a protocol, then all. */
	m = pcp_map(alice, UDP, 0, 0, 0);
	a_deletion_is_zeros(alice, &m);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 1002));
	assert_non_null(lease_of(alice, LEASE_PROTO_TCP, 1001));
	m = pcp_map(alice, 0, 99, 0, 0); /* the port is to be ignored */
	a_deletion_is_zeros(alice, &m);
	assert_int_equal(lease_count(server->leases, alice), 0);
}

/* Clients lose their nonces, and use one for several mappings. */
static void another_nonce_is_adopted(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200);
	uint16_t port = pcp_granted(alice, &m).public_port;

	m.bytes[24] ^= 0xff;
	assert_int_equal(pcp_granted(alice, &m).public_port, port);
	assert_memory_equal(
		lease_of(alice, LEASE_PROTO_UDP, 6881)->nonce, m.bytes + 24, LEASE_NONCE_BYTES);
	m.bytes[25] ^= 0xff;
	store_be32(m.bytes + 4, 0);
	a_deletion_is_zeros(alice, &m);
	assert_null(lease_of(alice, LEASE_PROTO_UDP, 6881));
}

static void another_nonce_is_refused_when_strict(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200), other = m, all;
	uint16_t port;

	server->conf.pcp_nonce_strict = true;
	other.bytes[35] ^= 1;
	port = pcp_granted(alice, &m).public_port;
	pcp_refused(alice, &other, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	store_be32(other.bytes + 4, 0);
	pcp_refused(alice, &other, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	all = pcp_map(alice, 0, 0, 0, 0);
	all.bytes[35] ^= 1;
	a_deletion_is_zeros(alice, &all);
	assert_int_equal(pcp_granted(alice, &m).public_port, port);
	/* One that never had a nonce takes the first. */
	natpmp_map(alice, PORTMAP_NATPMP_TCP, 6881, 0, 3600);
	m.bytes[36] = other.bytes[36] = TCP;
	assert_int_equal(pcp_granted(alice, &m).public_port, port);
	pcp_refused(alice, &other, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	server->conf.pcp_nonce_strict = false;
}

static void prefer_failure(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 40042, 7200), his;
	struct pcp_reply r;

	put_option(&m, 2, NULL, 0);
	r = pcp_granted(alice, &m);
	assert_int_equal(r.public_port, 40042);
	/* It was applied. */
	assert_int_equal(heard.len, MAP_BYTES + 4);
	assert_memory_equal(heard.msg + MAP_BYTES, ((uint8_t[]){2, 0, 0, 0}), 4);
	/* The one it has is no alternative either. */
	store_be16(m.bytes + 42, 40043);
	pcp_refused(alice, &m, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL, LONG_S);
	assert_int_equal(lease_of(alice, LEASE_PROTO_UDP, 6881)->public_port, 40042);

	his = pcp_map(bob, UDP, 6881, 40042, 7200);
	put_option(&his, 2, NULL, 0);
	pcp_refused(bob, &his, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL, LONG_S);
	store_be16(his.bytes + 42, 80);
	pcp_refused(bob, &his, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL, LONG_S);
	assert_int_equal(lease_count(server->leases, bob), 0);
	/* Without it another port is given: that result is for this option alone. */
	his.len = MAP_BYTES;
	assert_int_not_equal(pcp_granted(bob, &his).public_port, 40042);

	/* An address that is not the peer's. */
	store_be16(m.bytes + 42, 40042);
	memcpy(m.bytes + 44, address("198.51.100.77").bytes, 16);
	pcp_refused(alice, &m, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL, LONG_S);
	memcpy(m.bytes + 44, r.public_addr.bytes, 16);
	pcp_granted(alice, &m);
	memcpy(m.bytes + 44, address("0.0.0.0").bytes, 16);
	pcp_granted(alice, &m);
}

static void check_sources(const char *want)
{
	const struct lease *lease = lease_of(alice, LEASE_PROTO_UDP, 6881);
	char text[512] = "", one[IP_TEXT_CHARS];

	for (unsigned i = 0; i < lease->n_sources; i++) {
		strcat(text, i > 0 ? " " : "");
		strcat(text, ip_prefix_format(&lease->sources[i], one));
	}
	assert_string_equal(text, want);
}

static void filters(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200);
	size_t len;

	put_filter(&m, 120, 0, "192.0.2.77"); /* host bits are cut */
	put_option(&m, 200, "?", 1);
	pcp_granted(alice, &m);
	check_sources("192.0.2.0/24");
	/* Said again as it was sent, and the option that was ignored is not. */
	assert_int_equal(heard.len, MAP_BYTES + 24);
	assert_memory_equal(heard.msg + MAP_BYTES, m.bytes + MAP_BYTES, 24);
	/* The same again changes nothing. */
	pcp_granted(alice, &m);
	check_sources("192.0.2.0/24");
	/* A renewal without filters leaves them; another one adds up. */
	m = pcp_map(alice, UDP, 6881, 0, 7200);
	pcp_granted(alice, &m);
	check_sources("192.0.2.0/24");
	natpmp_map(alice, PORTMAP_NATPMP_UDP, 6881, 0, 3600);
	check_sources("192.0.2.0/24");
	put_filter(&m, 128, 0, "203.0.113.9");
	pcp_granted(alice, &m);
	check_sources("192.0.2.0/24 203.0.113.9");
	/* Clear, then one. */
	m = pcp_map(alice, UDP, 6881, 0, 7200);
	put_filter(&m, 0, 7, "1.2.3.4");
	len = m.len;
	put_filter(&m, 112, 0, "198.18.0.0");
	pcp_granted(alice, &m);
	check_sources("198.18.0.0/16");
	m.len = len;
	pcp_granted(alice, &m);
	check_sources("");
}

/* Scoped on every worker before the asker is told so. */
static void a_filter_waits_for_the_workers(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200);
	unsigned n;

	pcp_granted(alice, &m);
	put_filter(&m, 128, 0, "203.0.113.9");
	n = heard.n;
	server->is_withholding = true;
	tell(alice, m.bytes, m.len);
	tell(alice, m.bytes, m.len);
	for (unsigned i = 0; i < 100; i++)
		pump(server);
	assert_int_equal(heard.n, n);
	server->is_withholding = false;
	hear_until(n + 2);
	/* From here on it is a renewal. */
	ask_quickly(alice, m.bytes, m.len);
}

static void too_many_filters(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200);
	char text[32];

	for (unsigned i = 0; i < LEASE_SOURCES_MAX + 1; i++) {
		snprintf(text, sizeof(text), "192.0.2.%u", i);
		put_filter(&m, 128, 0, text);
	}
	pcp_refused(alice, &m, PORTMAP_PCP_EXCESSIVE_REMOTE_PEERS, LONG_S);
	assert_int_equal(lease_count(server->leases, alice), 0);
	m.len -= 24;
	pcp_granted(alice, &m);
	assert_int_equal(lease_of(alice, LEASE_PROTO_UDP, 6881)->n_sources, LEASE_SOURCES_MAX);
	/* One more, and nothing changes. */
	m = pcp_map(alice, UDP, 6881, 0, 120);
	put_filter(&m, 128, 0, "192.0.2.99");
	pcp_refused(alice, &m, PORTMAP_PCP_EXCESSIVE_REMOTE_PEERS, LONG_S);
	assert_int_equal(lease_of(alice, LEASE_PROTO_UDP, 6881)->n_sources, LEASE_SOURCES_MAX);
	assert_true(lease_of(alice, LEASE_PROTO_UDP, 6881)->expires_ns == noon_ns + 7200 * NS_IN_S);
}

/* What would not be applied is not accepted: the client would believe that it is protected. */
static void options_that_are_refused(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200);
	static const uint8_t third_party[16] = {[10] = 0xff, 0xff, 10, 0, 0, 3};

	put_filter(&m, 128, 443, "192.0.2.1");
	pcp_refused(alice, &m, PORTMAP_PCP_UNSUPP_OPTION, LONG_S);
	m.len = MAP_BYTES;
	put_option(&m, 1, third_party, sizeof(third_party));
	pcp_refused(alice, &m, PORTMAP_PCP_UNSUPP_OPTION, LONG_S);
	m.len = MAP_BYTES;
	put_option(&m, 99, NULL, 0);
	pcp_refused(alice, &m, PORTMAP_PCP_UNSUPP_OPTION, LONG_S);
	m.len = MAP_BYTES;
	put_filter(&m, 90, 0, "192.0.2.1");
	pcp_refused(alice, &m, PORTMAP_PCP_MALFORMED_OPTION, LONG_S);
	assert_int_equal(lease_count(server->leases, alice), 0);
	/* From 128 on they may be ignored. */
	m.len = MAP_BYTES;
	put_option(&m, 128, "x", 1);
	pcp_granted(alice, &m);
	assert_int_equal(heard.len, MAP_BYTES);
}

static void no_room(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 1, 0, 7200);

	json_decref(call(&operator, "peer.set", "{'peer':'alice','max_leases':1}"));
	pcp_granted(alice, &m);
	m = pcp_map(alice, UDP, 2, 40042, 7200);
	pcp_refused(alice, &m, PORTMAP_PCP_USER_EX_QUOTA, SHORT_S);
	json_decref(call(&operator, "peer.set", "{'peer':'bob','max_leases':1000}"));
	for (uint16_t i = 0; i < MAX_LEASES - 1; i++)
		natpmp_map(bob, PORTMAP_NATPMP_UDP, (uint16_t)(10000 + i), 0, 3600);
	m = pcp_map(bob, UDP, 2, 40042, 7200);
	pcp_refused(bob, &m, PORTMAP_PCP_NO_RESOURCES, SHORT_S);
}

/* RFC 6887, 7.4: an error that passes, so it is told for half a minute. */
static void no_address(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 1, 0, 7200);

	pcp_refused(alice, &m, PORTMAP_PCP_NETWORK_FAILURE, SHORT_S);
	assert_int_equal(lease_count(server->leases, alice), 0);
}

/* The operator's own may be asked for, but neither scoped nor shut. */
static void the_operators_own(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200);
	struct lease before;

	json_decref(call(&operator, "lease.open",
		"{'peer':'alice','to_port':6881,'public_port':40050,'ttl_s':1000}"));
	before = *lease_of(alice, LEASE_PROTO_UDP, 6881);
	assert_int_equal(pcp_granted(alice, &m).lifetime_s, 1000);
	put_filter(&m, 128, 0, "192.0.2.1");
	pcp_refused(alice, &m, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	m = pcp_map(alice, UDP, 6881, 0, 0);
	pcp_refused(alice, &m, PORTMAP_PCP_NOT_AUTHORIZED, LONG_S);
	m = pcp_map(alice, 0, 0, 0, 0);
	a_deletion_is_zeros(alice, &m);
	assert_memory_equal(lease_of(alice, LEASE_PROTO_UDP, 6881), &before, sizeof(before));
}

/* --- over IPv6
 * ----------------------------------------------------------------------------------*/

/* A request from this address of alice's, and its answer. */
static struct pcp_reply ask_from(const char *source, struct pcp *m)
{
	struct ip_addr six = address(source);
	struct ctl_portmap_request r = {
		.from = {.peer_idx = alice,
			.peer = {six, 54321},
			.gateway = {address("2001:1::1"), PORTMAP_PORT}},
		.msg = m->bytes,
		.len = m->len,
	};
	unsigned n = heard.n;

	memcpy(m->bytes + 8, six.bytes, 16);
	ctl_portmap_take(server->ctl, &r);
	hear_until(n + 1);
	assert_true(ip_equal(&heard.to.peer.addr, &six));
	assert_true(ip_equal(&heard.to.gateway.addr, &r.from.gateway.addr));
	assert_memory_equal(heard.msg + 24, m->bytes + 24, 18);
	return (struct pcp_reply){.result = heard.msg[3],
		.lifetime_s = load_be32(heard.msg + 4),
		.public_port = load_be16(heard.msg + 42),
		.public_addr = ip_from_v6(heard.msg + 44)};
}

static void grants_hole(const char *source, struct pcp *m, uint16_t port)
{
	struct ip_addr six = address(source);
	struct pcp_reply r = ask_from(source, m);

	assert_int_equal(r.result, PORTMAP_PCP_OK);
	assert_int_equal(r.lifetime_s, 7200);
	assert_int_equal(r.public_port, port);
	assert_true(ip_equal(&r.public_addr, &six));
}

/* On the very address and port that ask, whatever is suggested. */
static void pinholes(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 0, 7200),
		   any = pcp_map(alice, TCP, 81, 40001, 7200);
	struct ip_addr six = address("fd00::2"), routed = address("2001:db8:2::9");
	struct ip_addr suggested = address("198.51.100.1");
	const struct lease *lease;
	struct pcp_reply r;
	struct pcp none;
	unsigned n;

	json_decref(call(&operator, "peer.set", "{'peer':'alice','routes':['2001:db8:2::/64']}"));
	grants_hole("fd00::2", &m, 6881);
	lease = lease_find_inner(server->leases, alice, &six, LEASE_PROTO_UDP, 6881);
	assert_non_null(lease);
	assert_int_equal(lease->opener, LEASE_BY_PCP);
	grants_hole("2001:db8:2::9", &m, 6881);
	assert_non_null(lease_find_inner(server->leases, alice, &routed, LEASE_PROTO_UDP, 6881));
	memcpy(any.bytes + 44, suggested.bytes, 16);
	grants_hole("fd00::2", &any, 81);
	/* Again: renewed, and answered at once. */
	noon_ns += 60 * NS_IN_S;
	n = heard.n;
	grants_hole("fd00::2", &m, 6881);
	assert_int_equal(heard.n, n + 1);
	assert_int_equal(lease_count(server->leases, alice), 3);

	/* The IPv4 mapping of the same port, with the same nonce. */
	none = pcp_map(alice, UDP, 6881, 0, 7200);
	assert_in_range(pcp_granted(alice, &none).public_port, FIRST_PORT, LAST_PORT);

	/* Only the asker's own goes. */
	none = pcp_map(alice, UDP, 6881, 0, 0);
	r = ask_from("fd00::2", &none);
	assert_int_equal(r.result, PORTMAP_PCP_OK);
	assert_int_equal(r.public_port, 0);
	assert_null(lease_find_inner(server->leases, alice, &six, LEASE_PROTO_UDP, 6881));
	assert_non_null(lease_find_inner(server->leases, alice, &routed, LEASE_PROTO_UDP, 6881));
	assert_non_null(lease_of(alice, LEASE_PROTO_UDP, 6881));
	none = pcp_map(alice, 0, 0, 0, 0);
	ask_from("fd00::2", &none);
	assert_null(lease_find_inner(server->leases, alice, &six, LEASE_PROTO_TCP, 81));
	assert_int_equal(lease_count(server->leases, alice), 2);
}

static void pinholes_that_are_refused(void **state)
{
	struct pcp m = pcp_map(alice, UDP, 6881, 6882, 7200);
	struct ip_addr other = address("fd00::3");

	/* No alternative: its own number or none. */
	put_option(&m, 2, NULL, 0);
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL);
	store_be16(m.bytes + 42, 6881);
	memcpy(m.bytes + 44, other.bytes, 16);
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL);
	assert_int_equal(lease_count(server->leases, alice), 0);
	other = address("fd00::2");
	memcpy(m.bytes + 44, other.bytes, 16);
	grants_hole("fd00::2", &m, 6881);
	store_be16(m.bytes + 42, 6882);
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL);

	m = pcp_map(alice, UDP, 6882, 0, 7200);
	put_option(&m, 1, other.bytes, 16);
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_UNSUPP_OPTION);
	m = pcp_map(alice, 132, 6882, 0, 7200);
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_UNSUPP_PROTOCOL);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','max_leases':1}"));
	m = pcp_map(alice, UDP, 6882, 0, 7200);
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_USER_EX_QUOTA);
	json_decref(call(&operator, "peer.set", "{'peer':'alice','portmap':false}"));
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_NOT_AUTHORIZED);
	/* An address that is not the asker's never gets here: inside the tunnel it is spoofed. */
}

static void pinholes_have_filters(void **state)
{
	struct pcp m = pcp_map(alice, TCP, 80, 0, 7200);
	struct ip_addr six = address("fd00::2");
	struct ip_prefix want = prefix("2001:db8:9::/48");
	const struct lease *lease;

	put_filter(&m, 48, 0, "2001:db8:9::1");
	grants_hole("fd00::2", &m, 80);
	lease = lease_find_inner(server->leases, alice, &six, LEASE_PROTO_TCP, 80);
	assert_int_equal(lease->n_sources, 1);
	assert_true(ip_prefix_equal(&lease->sources[0], &want));
	m = pcp_map(alice, TCP, 80, 0, 7200);
	put_filter(&m, 120, 0, "203.0.113.0");
	assert_int_equal(ask_from("fd00::2", &m).result, PORTMAP_PCP_MALFORMED_OPTION);
	m = pcp_map(alice, TCP, 80, 0, 7200);
	put_filter(&m, 0, 0, "::");
	grants_hole("fd00::2", &m, 80);
	assert_int_equal(lease->n_sources, 0);
}

/* PCP is answered, NAT-PMP is told to speak it. */
static void natpmp_over_ipv6(void **state)
{
	struct ctl_portmap_request r = {
		.from = {.peer_idx = alice,
			.peer = {address("fd00::2"), 54321},
			.gateway = {address("2001:1::1"), PORTMAP_PORT}},
		.msg = (const uint8_t[]){0, 0},
		.len = 2,
	};

	ctl_portmap_take(server->ctl, &r);
	assert_int_equal(heard.len, 24);
	assert_memory_equal(heard.msg, ((uint8_t[]){2, 0x80, 0, 1}), 4);
}

#define answered(f) cmocka_unit_test_setup_teardown(f, portmap_setup, portmap_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		answered(a_mapping),
		answered(what_is_malformed),
		answered(who_asks),
		answered(opcodes),
		answered(lifetimes),
		answered(protocols),
		answered(one_mapping_by_either_protocol),
		answered(deletion),
		answered(another_nonce_is_adopted),
		answered(another_nonce_is_refused_when_strict),
		answered(prefer_failure),
		answered(filters),
		answered(a_filter_waits_for_the_workers),
		answered(too_many_filters),
		answered(options_that_are_refused),
		answered(no_room),
		cmocka_unit_test_setup_teardown(
			no_address, portmap_setup_without_address, portmap_teardown),
		answered(the_operators_own),
		answered(pinholes),
		answered(pinholes_that_are_refused),
		answered(pinholes_have_filters),
		answered(natpmp_over_ipv6),
	};

	return cmocka_run_group_tests(tests, portmap_group_setup, NULL);
}
