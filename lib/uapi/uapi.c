#include "uapi/uapi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- values --------------------------------------------------------------------------------------
 *
 * Each takes text with its NUL, and returns 0 or -EINVAL. */

static int parse_number(const char *text, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (text[0] == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
		if (value > max)
			return -EINVAL;
	}
	*out = value;
	return 0;
}

static int parse_true(const char *text, bool *out)
{
	if (strcmp(text, "true") != 0)
		return -EINVAL;
	*out = true;
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_key(const char *text, uint8_t out[static CRYPTO_KEY_BYTES])
{
	if (strlen(text) != 2 * CRYPTO_KEY_BYTES)
		return -EINVAL;
	for (unsigned i = 0; i < CRYPTO_KEY_BYTES; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

char *uapi_key_format(
	const uint8_t key[static CRYPTO_KEY_BYTES], char buf[static UAPI_KEY_TEXT_CHARS])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < CRYPTO_KEY_BYTES; i++) {
		buf[2 * i] = digits[key[i] >> 4];
		buf[2 * i + 1] = digits[key[i] & 15];
	}
	buf[2 * CRYPTO_KEY_BYTES] = '\0';
	return buf;
}

/* --- of the whole device -------------------------------------------------------------------------
 */

static int parse_private_key(struct uapi_request *r, const char *value)
{
	r->sets_private_key = true;
	return parse_key(value, r->private_key);
}

static int parse_listen_port(struct uapi_request *r, const char *value)
{
	uint64_t port = 0;
	int err = parse_number(value, UINT16_MAX, &port);

	r->sets_listen_port = true;
	r->listen_port = (uint16_t)port;
	return err;
}

static int parse_fwmark(struct uapi_request *r, const char *value)
{
	uint64_t mark = 0;
	int err = parse_number(value, UINT32_MAX, &mark);

	r->sets_fwmark = true;
	r->fwmark = (uint32_t)mark;
	return err;
}

static int parse_replace_peers(struct uapi_request *r, const char *value)
{
	return parse_true(value, &r->replaces_peers);
}

/* --- of the peer that the last public_key named --------------------------------------------------
 */

/* Memory is wiped before it is given back: it holds preshared keys. */
static int grow_peers(struct uapi_request *r)
{
	uint32_t room = r->room == 0 ? 16 : r->room * 2;
	struct uapi_peer *more = calloc(room, sizeof(more[0]));

	if (more == NULL)
		return -ENOMEM;
	if (r->n_peers > 0) {
		memcpy(more, r->peers, r->n_peers * sizeof(more[0]));
		crypto_wipe(r->peers, r->n_peers * sizeof(more[0]));
	}
	free(r->peers);
	r->peers = more;
	r->room = room;
	return 0;
}

static int parse_public_key(struct uapi_request *r, const char *value)
{
	int err = 0;

	if (r->n_peers == UAPI_PEERS_MAX)
		return -E2BIG;
	if (r->n_peers == r->room)
		err = grow_peers(r);
	return err != 0 ? err : parse_key(value, r->peers[r->n_peers++].public_key);
}

static int parse_preshared_key(struct uapi_peer *peer, const char *value)
{
	peer->sets_preshared_key = true;
	return parse_key(value, peer->preshared_key);
}

static int parse_endpoint(struct uapi_peer *peer, const char *value)
{
	peer->sets_endpoint = true;
	return ip_endpoint_parse(value, &peer->endpoint);
}

static int parse_keepalive(struct uapi_peer *peer, const char *value)
{
	uint64_t interval_s = 0;
	int err = parse_number(value, UINT16_MAX, &interval_s);

	peer->sets_keepalive = true;
	peer->persistent_keepalive_s = (uint16_t)interval_s;
	return err;
}

static int parse_replace_allowed_ips(struct uapi_peer *peer, const char *value)
{
	peer->n_allowed_ips = 0;
	return parse_true(value, &peer->replaces_allowed_ips);
}

static int parse_allowed_ip(struct uapi_peer *peer, const char *value)
{
	if (peer->n_allowed_ips == UAPI_ALLOWED_IPS_MAX)
		return -E2BIG;
	return ip_prefix_parse(value, &peer->allowed_ips[peer->n_allowed_ips++]);
}

static int parse_remove(struct uapi_peer *peer, const char *value)
{
	return parse_true(value, &peer->removes);
}

static int parse_update_only(struct uapi_peer *peer, const char *value)
{
	return parse_true(value, &peer->updates_only);
}

static int parse_protocol_version(struct uapi_peer *peer, const char *value)
{
	return strcmp(value, "1") == 0 ? 0 : -EINVAL;
}

/* --- lines ---------------------------------------------------------------------------------------
 */

static int parse_set_line(struct uapi_request *r, const char *key, const char *value)
{
	static const struct {
		const char *key;
		int (*parse)(struct uapi_request *r, const char *value);
	} of_device[] = {
		{"private_key", parse_private_key},
		{"listen_port", parse_listen_port},
		{"fwmark", parse_fwmark},
		{"replace_peers", parse_replace_peers},
	};
	static const struct {
		const char *key;
		int (*parse)(struct uapi_peer *peer, const char *value);
	} of_peer[] = {
		{"preshared_key", parse_preshared_key},
		{"endpoint", parse_endpoint},
		{"persistent_keepalive_interval", parse_keepalive},
		{"replace_allowed_ips", parse_replace_allowed_ips},
		{"allowed_ip", parse_allowed_ip},
		{"remove", parse_remove},
		{"update_only", parse_update_only},
		{"protocol_version", parse_protocol_version},
	};

	if (strcmp(key, "public_key") == 0)
		return parse_public_key(r, value);
	/* "After public_key, keys are of that peer": none of the device may follow. */
	for (size_t i = 0; r->n_peers == 0 && i < sizeof(of_device) / sizeof(of_device[0]); i++)
		if (strcmp(key, of_device[i].key) == 0)
			return of_device[i].parse(r, value);
	for (size_t i = 0; r->n_peers > 0 && i < sizeof(of_peer) / sizeof(of_peer[0]); i++)
		if (strcmp(key, of_peer[i].key) == 0)
			return of_peer[i].parse(&r->peers[r->n_peers - 1], value);
	return -EINVAL;
}

static int parse_line(struct uapi_request *r, char *text)
{
	char *equals = strchr(text, '=');

	if (equals == NULL)
		return -EINVAL;
	*equals = '\0';
	if (r->kind == UAPI_SET)
		return parse_set_line(r, text, equals + 1);
	if (r->kind == UAPI_GET || strcmp(equals + 1, "1") != 0)
		return -EINVAL;
	if (strcmp(text, "get") == 0)
		r->kind = UAPI_GET;
	else if (strcmp(text, "set") == 0)
		r->kind = UAPI_SET;
	return r->kind == UAPI_NONE ? -EINVAL : 0;
}

bool uapi_request_line(struct uapi_request *r, const char *line, size_t len)
{
	char text[UAPI_LINE_BYTES_MAX + 1]; /* wiped */

	if (len == 0) {
		if (r->kind == UAPI_NONE && r->err == 0)
			r->err = -EINVAL;
		return true;
	}
	if (r->err != 0)
		return false;
	if (len > UAPI_LINE_BYTES_MAX || memchr(line, '\0', len) != NULL) {
		r->err = -EINVAL;
		return false;
	}
	memcpy(text, line, len);
	text[len] = '\0';
	r->err = parse_line(r, text);
	crypto_wipe(text, sizeof(text));
	return false;
}

void uapi_request_fini(struct uapi_request *r)
{
	if (r->peers != NULL)
		crypto_wipe(r->peers, r->n_peers * sizeof(r->peers[0]));
	free(r->peers);
	crypto_wipe(r, sizeof(*r));
}
