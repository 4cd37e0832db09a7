/* portmap.h - NAT-PMP and PCP messages: bytes to requests, answers to bytes.
 *
 * Spec:    RFC 6886 (NAT-PMP, version 0), RFC 6887 with erratum 3891 (PCP, version 2).
 * Purity:  no state, no clock. Threads: any.
 * Total:   every function is defined for any bytes of any length. Answers are built into memory of
 *          their own, zeroed first: nothing of a request is in an answer but what is put there.
 */
#ifndef PORTIER_PORTMAP_H
#define PORTIER_PORTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"

#define PORTMAP_PORT	    5351 /* of the gateway */
#define PORTMAP_CLIENT_PORT 5350 /* where clients hear announcements */
#define PORTMAP_MSG_BYTES   1100 /* the longest PCP message */

enum portmap_kind {
	PORTMAP_NO_REQUEST = 0, /* too short for an opcode, or an answer: not to be answered */
	PORTMAP_NATPMP,
	PORTMAP_PCP,
	PORTMAP_OTHER_VERSION, /* a request; portmap_pcp_refuse_version */
};

enum portmap_kind portmap_classify(const uint8_t *msg, size_t len);

/* --- NAT-PMP -----------------------------------------------------------------------------------*/

enum portmap_natpmp_op {
	PORTMAP_NATPMP_ADDRESS = 0,
	PORTMAP_NATPMP_UDP = 1,
	PORTMAP_NATPMP_TCP = 2,
};

enum portmap_natpmp_result {
	PORTMAP_NATPMP_OK = 0,
	PORTMAP_NATPMP_UNSUPP_VERSION = 1,
	PORTMAP_NATPMP_NOT_AUTHORIZED = 2,
	PORTMAP_NATPMP_NETWORK_FAILURE = 3,
	PORTMAP_NATPMP_NO_RESOURCES = 4,
	PORTMAP_NATPMP_UNSUPP_OPCODE = 5,
};

struct portmap_natpmp_request {
	uint8_t op;	     /* 0 to 127 */
	bool is_whole;	     /* as long as its op needs */
	uint16_t inner_port; /* these three: of a mapping; zero where the message ended before */
	uint16_t suggested_port;
	uint32_t lifetime_s;
};

/* Of a message that portmap_classify called NATPMP. */
void portmap_natpmp_parse(const uint8_t *msg, size_t len, struct portmap_natpmp_request *out);

struct portmap_natpmp_answer {
	uint8_t op; /* of the request */
	enum portmap_natpmp_result result;
	uint32_t epoch_s;
	struct ip_addr public_addr; /* op 0; anything but IPv4 is written as 0.0.0.0 */
	uint16_t inner_port, public_port;
	uint32_t lifetime_s;
};

/* Returns the length: 12 for op 0, 16 for a mapping, 8 otherwise, whatever the result. */
size_t portmap_natpmp_build(
	const struct portmap_natpmp_answer *a, uint8_t out[static PORTMAP_MSG_BYTES]);

/* --- PCP ---------------------------------------------------------------------------------------*/

#define PORTMAP_PCP_NONCE_BYTES 12
/* As many as fit into one message. */
#define PORTMAP_PCP_FILTERS_MAX 43

enum portmap_pcp_op {
	PORTMAP_PCP_ANNOUNCE = 0,
	PORTMAP_PCP_MAP = 1,
	PORTMAP_PCP_PEER = 2,
};

enum portmap_pcp_result {
	PORTMAP_PCP_OK = 0,
	PORTMAP_PCP_UNSUPP_VERSION = 1,
	PORTMAP_PCP_NOT_AUTHORIZED = 2,
	PORTMAP_PCP_MALFORMED_REQUEST = 3,
	PORTMAP_PCP_UNSUPP_OPCODE = 4,
	PORTMAP_PCP_UNSUPP_OPTION = 5,
	PORTMAP_PCP_MALFORMED_OPTION = 6,
	PORTMAP_PCP_NETWORK_FAILURE = 7,
	PORTMAP_PCP_NO_RESOURCES = 8,
	PORTMAP_PCP_UNSUPP_PROTOCOL = 9,
	PORTMAP_PCP_USER_EX_QUOTA = 10,
	PORTMAP_PCP_CANNOT_PROVIDE_EXTERNAL = 11,
	PORTMAP_PCP_ADDRESS_MISMATCH = 12,
	PORTMAP_PCP_EXCESSIVE_REMOTE_PEERS = 13,
};

struct portmap_pcp_filter {
	struct ip_addr addr; /* as sent: host bits may be set */
	uint8_t len_bits;    /* of the 16 bytes, so 96 and more for IPv4; 0: clear all before it */
	uint16_t port;	     /* of the remote side; 0: any */
};

struct portmap_pcp_map {
	uint8_t nonce[PORTMAP_PCP_NONCE_BYTES];
	uint8_t proto; /* IP protocol; 0: all */
	uint16_t inner_port, suggested_port;
	struct ip_addr suggested_addr;
};

struct portmap_pcp_request {
	enum portmap_pcp_result result; /* OK, or what is wrong with it: the first fault counts */
	uint8_t op;			/* 0 to 127 */
	uint32_t lifetime_s;
	struct ip_addr client;
	struct portmap_pcp_map map; /* of MAP; zero where the message ended before */
	bool prefers_failure;
	uint8_t n_filters;
	struct portmap_pcp_filter filters[PORTMAP_PCP_FILTERS_MAX]; /* in their order */
	/* Of any other opcode, for the refusal: points into msg, options left out where their place
	 * is known. */
	const uint8_t *body;
	size_t body_len;
};

/* Of a message that portmap_classify called PCP; msg outlives *out. */
void portmap_pcp_parse(const uint8_t *msg, size_t len, struct portmap_pcp_request *out);

struct portmap_pcp_answer {
	const struct portmap_pcp_request *request;
	enum portmap_pcp_result result;
	uint32_t lifetime_s; /* OK: of the mapping. Else ignored: it follows from the result. */
	uint32_t epoch_s;
	uint16_t public_port; /* of MAP and OK; otherwise what was suggested is said again */
	struct ip_addr public_addr;
	bool echoes_options; /* those of the request were applied */
};

/* Returns the length, which is that of a whole message whatever the result. */
size_t portmap_pcp_build(const struct portmap_pcp_answer *a, uint8_t out[static PORTMAP_MSG_BYTES]);
/* To a request of another version: what we speak is 2 (RFC 6887, section 9). For a NAT-PMP client
 * the same bytes are its result 1. */
size_t portmap_pcp_refuse_version(
	uint8_t op, uint32_t epoch_s, uint8_t out[static PORTMAP_MSG_BYTES]);
/* The unsolicited announcement of section 14.1.3. */
size_t portmap_pcp_announce(uint32_t epoch_s, uint8_t out[static PORTMAP_MSG_BYTES]);

#endif
