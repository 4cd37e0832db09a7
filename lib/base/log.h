/* log.h - one line to standard error, with a level; used by loops and app, never by leaf libraries.
 *
 * Lines are "<level> <text>\n", written with one write(2), so lines of several threads never mix.
 * Never called per packet. Secrets are never passed in.
 * Threads: any.
 */
#ifndef PORTIER_BASE_LOG_H
#define PORTIER_BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* From here on each line begins with the journal's priority, "<6>text", in the place of the level,
 * if standard error is the stream that systemd opened for it (JOURNAL_STREAM says so). */
void log_begin_journal(void);

/* Lines above this level are not written. Set at boot and by a reload; default LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
