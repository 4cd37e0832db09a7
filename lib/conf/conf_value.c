#include "conf/conf_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void store_uint(const struct conf_key *k, void *base, uint64_t value)
{
	uint8_t *field = (uint8_t *)base + k->offset;
	uint32_t v32 = (uint32_t)value;
	uint16_t v16 = (uint16_t)value;

	switch (k->width_bytes) {
	case 1:
		*field = (uint8_t)value;
		break;
	case 2:
		memcpy(field, &v16, sizeof(v16));
		break;
	case 4:
		memcpy(field, &v32, sizeof(v32));
		break;
	case 8:
		memcpy(field, &value, sizeof(value));
		break;
	default:
		assert(0);
	}
}

char *conf_takes(const struct conf_key *k, char buf[static CONF_TAKES_CHARS])
{
	size_t used = 0;

	if (k->takes) {
		snprintf(buf, CONF_TAKES_CHARS, "%s", k->takes);
		return buf;
	}
	switch (k->kind) {
	case CONF_INT:
		snprintf(buf, CONF_TAKES_CHARS, "an integer from %lld to %lld", k->min, k->max);
		break;
	case CONF_BOOL:
		snprintf(buf, CONF_TAKES_CHARS, "true or false");
		break;
	case CONF_DURATION:
		snprintf(buf, CONF_TAKES_CHARS,
			"a duration from %s to %s with a unit out of ms, s, m, h and d, as \"%s\"",
			k->min_text, k->max_text, k->def);
		break;
	case CONF_CHOICE:
		for (const struct conf_choice *c = k->choices; c->name; c++) {
			const char *sep = c == k->choices ? "" : c[1].name ? ", " : " or ";
			used += (size_t)snprintf(
				buf + used, CONF_TAKES_CHARS - used, "%s\"%s\"", sep, c->name);
		}
		break;
	default:
		snprintf(buf, CONF_TAKES_CHARS, "a group, { ... }");
		break;
	}
	return buf;
}

bool conf_is_sequence(const config_setting_t *s)
{
	return config_setting_is_array(s) || config_setting_is_list(s);
}

static bool is_integer(const config_setting_t *s)
{
	return config_setting_type(s) == CONFIG_TYPE_INT ||
	       config_setting_type(s) == CONFIG_TYPE_INT64;
}

static bool duration_in_range(const struct conf_key *k, const char *text, uint64_t *out_ns)
{
	uint64_t ns, min_ns, max_ns;

	if (time_duration_parse(text, &ns) != 0 || time_duration_parse(k->min_text, &min_ns) != 0 ||
		time_duration_parse(k->max_text, &max_ns) != 0)
		return false;
	if (ns < min_ns || ns > max_ns)
		return false;
	*out_ns = ns;
	return true;
}

static const struct conf_choice *choice_find(const struct conf_key *k, const char *text)
{
	for (const struct conf_choice *c = k->choices; c->name; c++) {
		if (strcmp(c->name, text) == 0)
			return c;
	}
	return NULL;
}

/* The value of a string key, as the file or the default has it. */
static bool text_store(const struct conf_key *k, const char *text, void *base)
{
	const struct conf_choice *c;
	uint64_t ns;

	switch (k->kind) {
	case CONF_DURATION:
		if (!duration_in_range(k, text, &ns))
			return false;
		store_uint(k, base, ns);
		return true;
	case CONF_CHOICE:
		c = choice_find(k, text);
		if (!c)
			return false;
		store_uint(k, base, c->value);
		return true;
	default:
		return k->parse(k, text, base) == 0;
	}
}

static void default_store(const struct conf_key *k, void *base)
{
	bool is_stored = true;

	if (!k->def || k->preset)
		return;
	if (k->kind == CONF_INT)
		store_uint(k, base, strtoull(k->def, NULL, 10));
	else if (k->kind == CONF_BOOL)
		store_uint(k, base, (strcmp(k->def, "true") == 0) != k->inverted);
	else
		is_stored = text_store(k, k->def, base);
	assert(is_stored);
	(void)is_stored;
}

static void read_int(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	char takes[CONF_TAKES_CHARS];
	long long v;

	if (!is_integer(s)) {
		conf_fault_type(ctx, s, conf_takes(k, takes));
		return;
	}
	v = config_setting_get_int64(s);
	if (v < k->min || v > k->max)
		conf_fault_value(ctx, k, s, conf_takes(k, takes));
	else
		store_uint(k, base, (uint64_t)v);
}

static void read_bool(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	char takes[CONF_TAKES_CHARS];

	if (config_setting_type(s) != CONFIG_TYPE_BOOL)
		conf_fault_type(ctx, s, conf_takes(k, takes));
	else
		store_uint(k, base, (config_setting_get_bool(s) != 0) != k->inverted);
}

static void read_text(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	char takes[CONF_TAKES_CHARS];

	if (config_setting_type(s) != CONFIG_TYPE_STRING)
		conf_fault_type(ctx, s, conf_takes(k, takes));
	else if (!text_store(k, config_setting_get_string(s), base))
		conf_fault_value(ctx, k, s, conf_takes(k, takes));
}

static void read_texts(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	char path[CONF_KEY_PATH_CHARS];
	int n;

	if (!conf_is_sequence(s)) {
		char takes[CONF_TAKES_CHARS];

		snprintf(takes, sizeof(takes), "an array of strings, [ \"...\" ]");
		conf_fault_type(ctx, s, takes);
		return;
	}
	n = config_setting_length(s);
	if (n < k->min || n > k->max) {
		conf_fault(ctx, s, "%s has %d %s; it takes %lld to %lld", conf_key_path(s, path), n,
			n == 1 ? "entry" : "entries", k->min, k->max);
		return;
	}
	for (int i = 0; i < n; i++)
		read_text(ctx, k, config_setting_get_elem(s, (unsigned)i), base);
}

static void read_key(
	struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s, void *base)
{
	switch (k->kind) {
	case CONF_INT:
		read_int(ctx, k, s, base);
		break;
	case CONF_BOOL:
		read_bool(ctx, k, s, base);
		break;
	case CONF_TEXTS:
		read_texts(ctx, k, s, base);
		break;
	case CONF_GROUP:
		conf_read_group(ctx, s, k->name, k->sub, base);
		break;
	case CONF_CUSTOM:
		k->read(ctx, k, s, base);
		break;
	default:
		read_text(ctx, k, s, base);
		break;
	}
}

static void read_absent(struct conf_ctx *ctx, const config_setting_t *group,
	const char *absent_name, const struct conf_key *k, void *base)
{
	char path[CONF_KEY_PATH_CHARS], takes[CONF_TAKES_CHARS];

	if (k->kind == CONF_GROUP) {
		conf_read_group(ctx, NULL, k->name, k->sub, base);
		return;
	}
	if (!k->required) {
		default_store(k, base);
		return;
	}
	if (group)
		conf_key_path(group, path);
	else
		snprintf(path, sizeof(path), "%s", absent_name);
	conf_fault(ctx, group, "%s%s%s is missing; it takes %s", path, path[0] ? "." : "", k->name,
		conf_takes(k, takes));
}

/* Levenshtein, one row; names past 63 characters are near to nothing. */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > 63 || b_len > 63)
		return 64;
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

/* A part of a name is nearer to it than any other word: keepalive, persistent_keepalive_s. */
static unsigned name_distance(const char *unknown, const char *known)
{
	if (strlen(unknown) > 3 && strstr(known, unknown))
		return 1;
	return edit_distance(unknown, known);
}

static void fault_unknown(
	struct conf_ctx *ctx, const config_setting_t *s, const struct conf_key *keys)
{
	char path[CONF_KEY_PATH_CHARS];
	const char *nearest = keys->name;
	unsigned best = UINT32_MAX;

	for (const struct conf_key *k = keys; k->name; k++) {
		unsigned d = name_distance(config_setting_name(s), k->name);

		if (d < best) {
			best = d;
			nearest = k->name;
		}
	}
	conf_fault(ctx, s, "%s is not a known key; the nearest known key is \"%s\"",
		conf_key_path(s, path), nearest);
}

static bool is_known(const char *name, const struct conf_key *keys)
{
	for (; keys->name; keys++) {
		if (strcmp(keys->name, name) == 0)
			return true;
	}
	return false;
}

void conf_read_group(struct conf_ctx *ctx, const config_setting_t *group, const char *absent_name,
	const struct conf_key *keys, void *base)
{
	if (group && !config_setting_is_group(group)) {
		conf_fault_type(ctx, group, "a group, { ... }");
		return;
	}
	for (int i = 0; group && i < config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);

		if (!is_known(config_setting_name(s), keys))
			fault_unknown(ctx, s, keys);
	}
	for (const struct conf_key *k = keys; k->name; k++) {
		const config_setting_t *s =
			group ? config_setting_get_member(group, k->name) : NULL;

		if (s)
			read_key(ctx, k, s, base);
		else
			read_absent(ctx, group, absent_name, k, base);
	}
}
