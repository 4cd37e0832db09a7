/* lease_inner_test.c - leases by their inner side: look-ups, symmetric numbers, what may be
 * amended. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lease/lease.h"

#include <errno.h>
#include <string.h>

#include "lease_requests.h"

static struct lease_request symmetric(uint32_t peer, uint8_t protos)
{
	struct lease_request req = make_request(peer, protos, 0);

	req.is_symmetric = true;
	return req;
}

static const struct lease *grant_symmetric(
	struct lease_table *t, uint32_t peer, uint8_t protos, uint64_t now, int want)
{
	struct lease_request req = symmetric(peer, protos);
	const struct lease *l = NULL;

	assert_int_equal(lease_grant(t, &req, now, &l), want);
	assert_int_equal(l->inner_port, l->public_port);
	return l;
}

static const struct lease *find_symmetric(struct lease_table *t, uint32_t peer, uint8_t protos)
{
	struct ip_addr inner = inner_addr(peer);

	return lease_find_symmetric(t, peer, &inner, protos);
}

static void an_inner_endpoint_leads_to_its_lease(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50099, 100);
	const struct lease *tcp = grant(t, 1, LEASE_PROTO_TCP, 80, 0);
	const struct lease *both = grant(t, 1, LEASE_PROTO_BOTH, 81, 0);
	struct ip_addr inner = inner_addr(1), other = inner_addr(2);

	assert_ptr_equal(lease_find_inner(t, 1, &inner, LEASE_PROTO_TCP, 80), tcp);
	assert_ptr_equal(lease_find_inner(t, 1, &inner, LEASE_PROTO_BOTH, 80), tcp);
	assert_ptr_equal(lease_find_inner(t, 1, &inner, LEASE_PROTO_UDP, 81), both);
	assert_null(lease_find_inner(t, 1, &inner, LEASE_PROTO_UDP, 80));
	assert_null(lease_find_inner(t, 1, &inner, LEASE_PROTO_TCP, 82));
	assert_null(lease_find_inner(t, 1, &other, LEASE_PROTO_TCP, 80));
	assert_null(lease_find_inner(t, 2, &inner, LEASE_PROTO_TCP, 80));
	close_id(t, tcp->id, 0);
	assert_null(lease_find_inner(t, 1, &inner, LEASE_PROTO_TCP, 80));
	lease_table_destroy(t);
}

static void a_symmetric_number_is_asked_for_again_and_again(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50099, 100);
	const struct lease *udp = grant_symmetric(t, 1, LEASE_PROTO_UDP, 0, 0), *tcp;
	struct lease_request req = symmetric(1, LEASE_PROTO_UDP);
	const struct lease *l;

	assert_ptr_equal(grant_symmetric(t, 1, LEASE_PROTO_UDP, 1, 1), udp);
	/* The companion, and whatever is suggested. */
	tcp = grant_symmetric(t, 1, LEASE_PROTO_TCP, 1, 0);
	assert_int_equal(tcp->public_port, udp->public_port);
	req.public_port = udp->public_port == 50000 ? 50001 : 50000;
	assert_int_equal(lease_grant(t, &req, 2, &l), 1);
	assert_ptr_equal(l, udp);
	assert_ptr_equal(find_symmetric(t, 1, LEASE_PROTO_TCP), tcp);
	assert_ptr_equal(find_symmetric(t, 1, LEASE_PROTO_UDP), udp);
	/* By its port, too, once the client knows it. */
	req = make_request(1, LEASE_PROTO_UDP, udp->inner_port);
	assert_int_equal(lease_grant(t, &req, 2, &l), 1);
	assert_ptr_equal(l, udp);
	/* Another peer has another. */
	assert_null(find_symmetric(t, 2, LEASE_PROTO_BOTH));
	l = grant_symmetric(t, 2, LEASE_PROTO_UDP, 2, 0);
	assert_int_not_equal(l->public_port, udp->public_port);
	lease_table_destroy(t);
}

static void a_symmetric_number_comes_back_from_quarantine(void **state)
{
	struct lease_table *t = make_table(125, 50000, 50099, 100);
	struct lease was = *grant_symmetric(t, 1, LEASE_PROTO_UDP, 0, 0);
	const struct lease *l;

	close_id(t, was.id, 0);
	assert_null(find_symmetric(t, 1, LEASE_PROTO_UDP));
	l = grant_symmetric(t, 1, LEASE_PROTO_TCP, MINUTE, 0);
	assert_int_equal(l->public_port, was.public_port);
	assert_true(ip_equal(&l->public_addr, &was.public_addr));
	lease_table_destroy(t);
}

static void a_suggestion_is_honoured(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50099, 100);
	struct lease_request req = symmetric(1, LEASE_PROTO_UDP);
	const struct lease *l;

	req.public_port = 50042;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_int_equal(l->public_port, 50042);
	assert_int_equal(l->inner_port, 50042);
	req = symmetric(2, LEASE_PROTO_UDP);
	req.public_port = 50042;
	assert_int_equal(lease_grant(t, &req, 0, &l), -EADDRINUSE);
	req.public_port = 80;
	assert_int_equal(lease_grant(t, &req, 0, &l), -ERANGE);
	lease_table_destroy(t);
}

/* Two numbers that lead to one inner port could not be told apart on the way out. */
static void no_second_number_leads_to_the_same_port(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50001, 100);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 50000), sym;
	const struct lease *l;

	req.public_port = 50001;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	sym = symmetric(1, LEASE_PROTO_UDP);
	assert_int_equal(lease_grant(t, &sym, 0, &l), -ENOSPC);
	sym.public_port = 50000;
	assert_int_equal(lease_grant(t, &sym, 0, &l), -EADDRINUSE);
	/* To another peer that port is nothing. */
	grant_symmetric(t, 2, LEASE_PROTO_UDP, 0, 0);
	lease_table_destroy(t);
}

static void a_number_with_another_end_is_not_symmetric(void **state)
{
	struct lease_table *t = make_table(128, 50000, 50000, 100);
	struct lease was = *grant_symmetric(t, 1, LEASE_PROTO_UDP, 0, 0);
	const struct lease *l;

	close_id(t, was.id, 0);
	l = grant(t, 1, LEASE_PROTO_UDP, 80, 0); /* the only number there is */
	assert_int_equal(l->public_port, was.public_port);
	assert_null(find_symmetric(t, 1, LEASE_PROTO_UDP));
	close_id(t, l->id, 0);
	/* And back again. */
	l = grant_symmetric(t, 1, LEASE_PROTO_UDP, 0, 0);
	assert_ptr_equal(find_symmetric(t, 1, LEASE_PROTO_UDP), l);
	close_id(t, l->id, 0);
	assert_int_equal(lease_peer_forget(t, 1, 0), 0);
	assert_null(find_symmetric(t, 1, LEASE_PROTO_UDP));
	lease_table_destroy(t);
}

static void sources_and_nonce_may_change(void **state)
{
	static const uint8_t nonce[LEASE_NONCE_BYTES] = "eleven more";
	struct lease_table *t = make_table(128, 50000, 50099, 100);
	struct lease_request req = make_request(1, LEASE_PROTO_TCP, 80);
	const struct ip_prefix prefix = {v4(192, 0, 2, 0), 120};
	const struct lease *l;
	uint64_t expires_ns;

	req.opener = LEASE_BY_PCP;
	req.nonce[0] = 7;
	assert_int_equal(lease_grant(t, &req, 0, &l), 0);
	assert_int_equal(l->opener, LEASE_BY_PCP);
	assert_int_equal(l->nonce[0], 7);
	expires_ns = l->expires_ns;
	assert_int_equal(lease_amend(t, l->id, &prefix, 1, nonce), 0);
	assert_int_equal(l->n_sources, 1);
	assert_memory_equal(&l->sources[0], &prefix, sizeof(prefix));
	assert_memory_equal(l->nonce, nonce, sizeof(nonce));
	assert_true(l->expires_ns == expires_ns);
	assert_int_equal(lease_amend(t, l->id, l->sources, l->n_sources, nonce), 0);
	assert_memory_equal(&l->sources[0], &prefix, sizeof(prefix));
	assert_int_equal(lease_amend(t, l->id, NULL, 0, nonce), 0);
	assert_int_equal(l->n_sources, 0);
	assert_int_equal(lease_amend(t, l->id + 1, NULL, 0, nonce), -ENOENT);
	lease_table_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_inner_endpoint_leads_to_its_lease),
		cmocka_unit_test(a_symmetric_number_is_asked_for_again_and_again),
		cmocka_unit_test(a_symmetric_number_comes_back_from_quarantine),
		cmocka_unit_test(a_suggestion_is_honoured),
		cmocka_unit_test(no_second_number_leads_to_the_same_port),
		cmocka_unit_test(a_number_with_another_end_is_not_symmetric),
		cmocka_unit_test(sources_and_nonce_may_change),
	};

	random_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
