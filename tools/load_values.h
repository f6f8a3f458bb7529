/* tools/load_values.h -- what stands behind an option: numbers, times, places, lists.
 *
 * Each function reads a text into its last argument. false: the text is none of that kind, which
 * was said to stderr, with the name of the option.
 */
#ifndef TOOLS_LOAD_VALUES_H
#define TOOLS_LOAD_VALUES_H

#include "tools/load_options.h"

/* Says to stderr what is wrong.  Always false, to be returned. */
bool load_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole number from `min` to `max`. */
bool load_read_number(const char *name, const char *text, uint64_t min, uint64_t max,
                      uint64_t *value);
/* See load_read_number. */
bool load_read_u32(const char *name, const char *text, uint32_t min, uint32_t max, uint32_t *value);
/* The number of a port, as it was written. */
bool load_read_port(const char *name, const char *text, const char **port);
/* Seconds, with fractions, of at least `min`. */
bool load_read_seconds(const char *name, const char *text, double min, uint64_t *us);
/* mqttv311 or 311. */
bool load_read_version(const char *text, enum protocol *protocol);
/* Process ids, separated by commas. */
bool load_read_pids(const char *text, struct load_procs *procs);
/* A topic without wildcards. */
bool load_read_prefix(const char *text, struct load_options *o);
/* HOST:PORT of subscribers; the host of IPv6 is in brackets. */
bool load_read_place(const char *text, struct load_options *o);
/* Processors: numbers and ranges, separated by commas, each below LOAD_CPUS_MAX. */
bool load_read_cpus(const char *text, uint64_t *cpus);
/* no, auto, or the broker's processors, a colon, and ours. */
bool load_read_pin(const char *text, struct load_pin *pin);
/* Cuts a text into words at blanks, in place; what is between double quotes is one word. At most
 * `max` words, and a NULL behind them; the result is how many. */
uint32_t load_split_words(char *text, char **words, uint32_t max);

#endif
