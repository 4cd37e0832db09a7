#include "conf/conf_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fault_add(struct conf_ctx *ctx, unsigned line, const char *fmt, va_list ap)
{
	if (ctx->n_faults == CONF_FAULTS_MAX) {
		ctx->n_unlisted++;
		return;
	}
	unsigned i = ctx->n_faults++;
	/* Stable by line: what has the same line keeps the order in which it was found. */
	for (; i > 0 && ctx->faults[i - 1].line > line; i--)
		ctx->faults[i] = ctx->faults[i - 1];
	ctx->faults[i].line = line;
	vsnprintf(ctx->faults[i].text, sizeof(ctx->faults[i].text), fmt, ap);
}

void conf_fault(struct conf_ctx *ctx, const config_setting_t *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fault_add(ctx, at ? config_setting_source_line(at) : 0, fmt, ap);
	va_end(ap);
}

void conf_fault_line(struct conf_ctx *ctx, unsigned line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fault_add(ctx, line, fmt, ap);
	va_end(ap);
}

char *conf_key_path(const config_setting_t *s, char buf[static CONF_KEY_PATH_CHARS])
{
	const config_setting_t *chain[16];
	unsigned n = 0;
	size_t used = 0;

	buf[0] = '\0';
	/* Deeper than any known key: the top is left out, the culprit stays. */
	for (; s && !config_setting_is_root(s) && n < 16; s = config_setting_parent(s))
		chain[n++] = s;
	while (n-- > 0 && used < CONF_KEY_PATH_CHARS) {
		const char *name = config_setting_name(chain[n]);
		int w = name ? snprintf(buf + used, CONF_KEY_PATH_CHARS - used, "%s%s",
				       used ? "." : "", name)
			     : snprintf(buf + used, CONF_KEY_PATH_CHARS - used, "[%d]",
				       config_setting_index(chain[n]));
		if (w < 0)
			break;
		used += (size_t)w;
	}
	return buf;
}

/* A private key in the wrong place must not reach a log, even with a character missing. */
static bool looks_like_key(const char *text)
{
	size_t len = strlen(text);

	if (len < 40 || len > 48 || text[0] == '/')
		return false;
	return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789+/=\n ") == len;
}

static char *string_text(const char *text, char buf[static CONF_VALUE_CHARS])
{
	size_t n = 0;

	if (looks_like_key(text)) {
		snprintf(buf, CONF_VALUE_CHARS, "(a key, not shown)");
		return buf;
	}
	buf[n++] = '"';
	for (; *text && n < CONF_VALUE_CHARS - 5; text++)
		buf[n++] = (char)(*text >= ' ' && *text <= '~' ? *text : '?');
	snprintf(buf + n, CONF_VALUE_CHARS - n, "%s", *text ? "...\"" : "\"");
	return buf;
}

char *conf_value_text(const config_setting_t *s, char buf[static CONF_VALUE_CHARS])
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		snprintf(buf, CONF_VALUE_CHARS, "%lld", config_setting_get_int64(s));
		break;
	case CONFIG_TYPE_FLOAT:
		snprintf(buf, CONF_VALUE_CHARS, "%g", config_setting_get_float(s));
		break;
	case CONFIG_TYPE_BOOL:
		snprintf(
			buf, CONF_VALUE_CHARS, "%s", config_setting_get_bool(s) ? "true" : "false");
		break;
	case CONFIG_TYPE_STRING:
		return string_text(config_setting_get_string(s), buf);
	default:
		snprintf(buf, CONF_VALUE_CHARS, "(%d entries)", config_setting_length(s));
		break;
	}
	return buf;
}

static const char *type_text(const config_setting_t *s)
{
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "an integer";
	case CONFIG_TYPE_FLOAT:
		return "a number with a fraction";
	case CONFIG_TYPE_BOOL:
		return "a boolean";
	case CONFIG_TYPE_STRING:
		return "a string";
	case CONFIG_TYPE_ARRAY:
		return "an array [ ]";
	case CONFIG_TYPE_LIST:
		return "a list ( )";
	default:
		return "a group { }";
	}
}

void conf_fault_type(struct conf_ctx *ctx, const config_setting_t *s, const char *takes)
{
	char path[CONF_KEY_PATH_CHARS];

	conf_fault(ctx, s, "%s is %s; it takes %s", conf_key_path(s, path), type_text(s), takes);
}

void conf_fault_value(struct conf_ctx *ctx, const struct conf_key *k, const config_setting_t *s,
	const char *takes)
{
	char path[CONF_KEY_PATH_CHARS], value[CONF_VALUE_CHARS];

	if (k->hidden)
		conf_fault(
			ctx, s, "%s is not accepted; it takes %s", conf_key_path(s, path), takes);
	else
		conf_fault(ctx, s, "%s = %s is not accepted; it takes %s", conf_key_path(s, path),
			conf_value_text(s, value), takes);
}
