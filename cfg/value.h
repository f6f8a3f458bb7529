/* cfg/value.h -- the text of one value: numbers, sizes, durations, addresses, lists.
 *
 * Pure functions over NUL-terminated text without blanks at its ends. The reading ones answer OK or
 * ERR_PEER (not of that form, or too large for it) and write nothing then; whether a value stands
 * in the range of its key is for cfg/assign.c to say.  Any thread.
 */
#ifndef CFG_VALUE_H
#define CFG_VALUE_H

#include "cfg/cfg.h"

/* Bytes of the longest text that value_print_* writes, with its NUL. */
#define VALUE_PRINT_BYTES 64

/* The largest count of value_rate(). */
#define RATE_COUNT_MAX 1000000u

/* true, yes, on, 1 and false, no, off, 0, in any case of letters. */
MUST_USE enum err value_bool(const char *text, bool *value);

/* Decimal digits only. */
MUST_USE enum err value_number(const char *text, uint64_t *value);

/* Bytes: digits, then nothing, B, K, KB, KiB, M, MB, MiB, G, GB or GiB, in any case, with or
 * without a blank between. A K is 1024. */
MUST_USE enum err value_size(const char *text, uint64_t *bytes);

/* Microseconds: one or more of digits and us, ms, s, m, min, h, d or w; digits alone are seconds.
 * `*has_bare_m` says that an `m` was among them, which mosquitto reads as months in one key. */
MUST_USE enum err value_duration(const char *text, uint64_t *us, bool *has_bare_m);

/* A count and a time: 1000/s, 1000/10s, 60/min; what stands behind the slash is as for
 * value_duration(), or a unit alone. Both are more than 0, the time at most an hour. */
MUST_USE enum err value_rate(const char *text, struct cfg_rate *rate);

/* Permissions of a file as chmod(1) takes them: 1 to 4 octal digits, at most 0777. */
MUST_USE enum err value_mode(const char *text, uint32_t *mode);

/* A numeric address without a port: 127.0.0.1, ::1, [::1], localhost (which is 127.0.0.1). Fills
 * ip, is_v6 and is_loopback of `*address` and leaves the rest alone. */
MUST_USE enum err value_ip(const char *text, struct cfg_address *address);

/* 127.0.0.1:1883, [::1]:1883, localhost:1883, an address alone (port 1883), a port alone (on
 * 127.0.0.1), or unix:/run/x.sock. Fills all of `*address` but its text; a path points into
 * `text`. */
MUST_USE enum err value_bind(const char *text, struct cfg_address *address);

/* Bytes of the longest host of value_server(), with its NUL. */
#define VALUE_HOST_BYTES 254

/* A remote host: name, IPv4 or [IPv6], then `:port` or nothing (1883), after `mqtt://` or nothing.
 * `host` gets the host without brackets and must have VALUE_HOST_BYTES. */
MUST_USE enum err value_server(const char *text, char *host, uint16_t *port, bool *is_v6);

/* Whether `name` can be that of a cluster, a link or a listener: [0-9a-zA-Z][-0-9a-zA-Z_]*, at
 * most CFG_NAME_BYTES_MAX. */
bool value_is_name(const char *name);

/* The next element of a list: separated by commas, `\,` is a comma that belongs to the element,
 * blanks around an element do not. Changes the text in place. `*rest` starts as the whole text and
 * becomes NULL behind the last element; the elements may be empty. NULL when none is left. */
char *value_list_next(char **rest);

/* Whether two listeners cannot have these addresses both: the port is the same, and one of them
 * takes what the other does. */
bool value_addresses_meet(const struct cfg_address *a, const struct cfg_address *b);

/* Writes what value_size() would read: the largest unit that fits without a remainder. */
void value_print_size(char *to, uint64_t bytes);

/* Writes what value_duration() would read. */
void value_print_duration(char *to, uint64_t us);

/* Writes "127.0.0.1:1883" or "[::1]:1883". */
void value_print_address(char *to, const struct cfg_address *address);

#endif
