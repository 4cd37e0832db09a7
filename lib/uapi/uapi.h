/* uapi.h - the text protocol of the WireGuard tools: what wg(8) asks a userspace WireGuard.
 *
 * Spec:    https://www.wireguard.com/xplatform/, "Configuration Protocol": a request is lines of
 *          key=value, begun by get=1 or set=1 and ended by an empty line.
 * Threads: none shared; each object belongs to one thread.
 * Memory:  a request grows with its peers, to at most UAPI_PEERS_MAX; keys are wiped by fini.
 * Foreign: the parser takes any bytes. From the first fault of a request on, the rest of it is
 *          read and left out, so that the next request is found.
 */
#ifndef PORTIER_UAPI_H
#define PORTIER_UAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "crypto/crypto.h"

#define UAPI_LINE_BYTES_MAX  256u /* the longest that means something has 78 */
#define UAPI_PEERS_MAX	     65536u
#define UAPI_ALLOWED_IPS_MAX 6 /* of one peer in one request */

enum uapi_kind {
	UAPI_NONE = 0,
	UAPI_GET,
	UAPI_SET,
};

/* What a set request says of one peer, in the order of the request. A key that comes twice counts
 * as it came last. */
struct uapi_peer {
	uint8_t public_key[CRYPTO_KEY_BYTES];
	uint8_t preshared_key[CRYPTO_KEY_BYTES]; /* zero: none */
	struct ip_endpoint endpoint;
	struct ip_prefix allowed_ips[UAPI_ALLOWED_IPS_MAX];
	uint8_t n_allowed_ips;
	uint16_t persistent_keepalive_s;
	bool removes, updates_only, replaces_allowed_ips;
	bool sets_preshared_key, sets_endpoint, sets_keepalive;
};

/* {0} is empty. */
struct uapi_request {
	enum uapi_kind kind;
	int err; /* 0, or the first fault: -EINVAL a line that is not of the protocol; -E2BIG more
		  * peers, or allowed_ips of one, than there is room for; -ENOMEM */
	bool replaces_peers, sets_private_key, sets_listen_port, sets_fwmark;
	uint8_t private_key[CRYPTO_KEY_BYTES];
	uint16_t listen_port;
	uint32_t fwmark;
	struct uapi_peer *peers;
	uint32_t n_peers;
	uint32_t room; /* private */
};

/* The next line of a request, without its newline. True: it was the last; then err, kind and the
 * rest tell what was asked, until fini. An empty line where a request would begin is one with
 * -EINVAL. */
bool uapi_request_line(struct uapi_request *r, const char *line, size_t len);
/* Wipes and frees; empty again. */
void uapi_request_fini(struct uapi_request *r);

/* A key as the protocol writes it: 64 hexadecimal digits. Returns buf. */
#define UAPI_KEY_TEXT_CHARS 65
char *uapi_key_format(
	const uint8_t key[static CRYPTO_KEY_BYTES], char buf[static UAPI_KEY_TEXT_CHARS]);

#endif
